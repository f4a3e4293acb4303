"""Federated algorithms: a file each, and this table."""

from lab.algorithms.afl import Afl
from lab.algorithms.fedadagrad import FedAdagrad
from lab.algorithms.fedadam import FedAdam
from lab.algorithms.fedavg import FedAvg
from lab.algorithms.fedavgm import FedAvgM
from lab.algorithms.feddyn import FedDyn
from lab.algorithms.fednova import FedNova
from lab.algorithms.fedprox import FedProx
from lab.algorithms.fedyogi import FedYogi
from lab.algorithms.qffl import Qffl
from lab.algorithms.scaffold import Scaffold
from lab.parts import Algorithm

ALGORITHMS = Algorithm.enter(
    FedAvg, FedAvgM, FedAdagrad, FedAdam, FedYogi, FedProx, Scaffold, FedNova, FedDyn, Qffl, Afl
)

__all__ = ["ALGORITHMS", "FedAvg"]
