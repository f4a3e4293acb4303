"""Federated algorithms: a file each, and this table."""

from lab.algorithms.afl import Afl
from lab.algorithms.apfl import Apfl
from lab.algorithms.centralised import Centralised
from lab.algorithms.ditto import Ditto
from lab.algorithms.fedadagrad import FedAdagrad
from lab.algorithms.fedadam import FedAdam
from lab.algorithms.fedasync import FedAsync
from lab.algorithms.fedavg import FedAvg
from lab.algorithms.fedavgm import FedAvgM
from lab.algorithms.fedbuff import FedBuff
from lab.algorithms.feddyn import FedDyn
from lab.algorithms.fednova import FedNova
from lab.algorithms.fedper import FedPer
from lab.algorithms.fedprox import FedProx
from lab.algorithms.fedrep import FedRep
from lab.algorithms.fedyogi import FedYogi
from lab.algorithms.fine_tune import FineTune
from lab.algorithms.ifca import Ifca
from lab.algorithms.local_only import LocalOnly
from lab.algorithms.perfedavg import PerFedAvg
from lab.algorithms.qffl import Qffl
from lab.algorithms.scaffold import Scaffold
from lab.parts import Algorithm

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
