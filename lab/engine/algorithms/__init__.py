"""Federated algorithms, one a file, and their table."""

from lab.engine.algorithms.afl import Afl
from lab.engine.algorithms.apfl import Apfl
from lab.engine.algorithms.centralised import Centralised
from lab.engine.algorithms.ditto import Ditto
from lab.engine.algorithms.fedadagrad import FedAdagrad
from lab.engine.algorithms.fedadam import FedAdam
from lab.engine.algorithms.fedasync import FedAsync
from lab.engine.algorithms.fedavg import FedAvg
from lab.engine.algorithms.fedavgm import FedAvgM
from lab.engine.algorithms.fedbuff import FedBuff
from lab.engine.algorithms.feddyn import FedDyn
from lab.engine.algorithms.fednova import FedNova
from lab.engine.algorithms.fedper import FedPer
from lab.engine.algorithms.fedprox import FedProx
from lab.engine.algorithms.fedrep import FedRep
from lab.engine.algorithms.fedyogi import FedYogi
from lab.engine.algorithms.fine_tune import FineTune
from lab.engine.algorithms.ifca import Ifca
from lab.engine.algorithms.local_only import LocalOnly
from lab.engine.algorithms.perfedavg import PerFedAvg
from lab.engine.algorithms.qffl import Qffl
from lab.engine.algorithms.scaffold import Scaffold
from lab.interfaces.federated_algorithm import Algorithm

ONE_MODEL = (
    FedAvg,
    FedAvgM,
    FedAdagrad,
    FedAdam,
    FedYogi,
    FedProx,
    Scaffold,
    FedNova,
    FedDyn,
    Qffl,
    Afl,
)
PERSONALISED = (Ditto, FedPer, FedRep, FineTune, PerFedAvg, Apfl, Ifca)
ASYNCHRONOUS = (FedBuff, FedAsync)
BASELINES = (Centralised, LocalOnly)
ALGORITHMS = Algorithm.enter(*ONE_MODEL, *PERSONALISED, *ASYNCHRONOUS, *BASELINES)

__all__ = ["ALGORITHMS", "FedAvg"]
