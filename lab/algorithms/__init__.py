"""Federated algorithms: a file each, and this table."""

from lab.algorithms.fedavg import FedAvg
from lab.parts import Algorithm

ALGORITHMS = Algorithm.enter(FedAvg)

__all__ = ["ALGORITHMS", "FedAvg"]
