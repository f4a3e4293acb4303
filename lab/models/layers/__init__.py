"""Layers: what a model is made of, for a whole stack of clients at once.

Each is written twice: as a plain function that autograd can go through, twice if need be (attacks
differentiate gradients), and as an explicit forward and backward pass without autograd, which
trains several times faster.  Tests hold the two against each other.
"""

from lab.models.layers.activation import Relu, Sigmoid
from lab.models.layers.convolution import Convolution, colours_last
from lab.models.layers.dense import Dense, Flatten
from lab.models.layers.embedding import Embedding, Positions
from lab.models.layers.generic import Generic
from lab.models.layers.layer import Layer, LayerGradient, Parameters, ParametrisedLayer, Shape
from lab.models.layers.norm import GroupNorm
from lab.models.layers.pooling import MaxPool
from lab.models.layers.transformer import Block, Last, attended, thought

__all__ = [
    "Block",
    "Convolution",
    "Dense",
    "LayerGradient",
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
    "ParametrisedLayer",
    "attended",
    "colours_last",
    "thought",
]
