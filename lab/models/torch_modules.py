"""The twin: the same architecture as users of PyTorch write it, for libraries that need that."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from lab.common.settings import SettingError
from lab.models.layers import (
    Convolution,
    Dense,
    Flatten,
    GroupNorm,
    Layer,
    MaxPool,
    ParametrisedLayer,
    Relu,
    Sigmoid,
)
from lab.models.layers.norm import SMALL


def torch_module(layers: Sequence[Layer]) -> nn.Sequential:
    """Its parameters bear the names of a network's slots.  Raises SettingError.

    Their values are PyTorch's own until `load_state_dict`.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for place, layer in enumerate(layers):
        name = (
            layer.name if isinstance(layer, ParametrisedLayer) else f"{type(layer).__name__}{place}"
        )
        modules[name] = _module(layer)
    return nn.Sequential(modules)


def _module(layer: Layer) -> nn.Module:
    match layer:
        case Dense():
            return nn.Linear(layer.inputs, layer.outputs)
        case Convolution():
            pad = layer.kernel // 2
            return nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, layer.stride, pad)
        case GroupNorm():
            return nn.GroupNorm(layer.groups, layer.channels, SMALL)
        case MaxPool():
            return nn.MaxPool2d(layer.side)
        case Relu():
            return nn.ReLU()
        case Sigmoid():
            return nn.Sigmoid()
        case Flatten():
            return nn.Flatten()
    name = layer.name if isinstance(layer, ParametrisedLayer) else type(layer).__name__
    raise SettingError(
        f"privacy.backend opacus knows no module for the layer {name}: give privacy.backend engine"
    )
