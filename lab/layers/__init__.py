"""Layers: what a model is made of, for a whole stack of clients at once.

Each is written twice: as a plain function that autograd can go through, twice if need be (attacks
differentiate gradients), and as an explicit forward and backward pass without autograd, which
trains several times faster.  Tests hold the two against each other.
"""

from lab.layers.activation import Relu, Sigmoid
from lab.layers.convolution import Convolution, colours_last
from lab.layers.dense import Dense, Flatten
from lab.layers.embedding import Embedding, Positions
from lab.layers.generic import Generic
from lab.layers.layer import Descent, Layer, Parameters, Shape, Trained
from lab.layers.norm import GroupNorm
from lab.layers.pooling import MaxPool
from lab.layers.transformer import Block, Last, attended, thought

__all__ = [
    "Block",
    "Convolution",
    "Dense",
    "Descent",
    "Embedding",
    "Flatten",
    "Generic",
    "GroupNorm",
    "Layer",
    "Last",
    "MaxPool",
    "Parameters",
    "Positions",
    "Relu",
    "Shape",
    "Sigmoid",
    "Trained",
    "attended",
    "colours_last",
    "thought",
]
