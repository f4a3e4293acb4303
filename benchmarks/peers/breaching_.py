"""breaching's inverting gradients, by its own settings but for the steps: `breaching_.py CASES`.

CASES.npz holds the updates of one net; CASES.pictures.npz is what comes of it.  torchvision's
compiled operations do not load beside a CPU build of PyTorch; breaching only needs them declared.
Measured with breaching 0.1.2 beside torch 2.13.0 and torchvision 0.28.0, which pip must be told to
install with --no-deps, or it brings another PyTorch.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import types
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

DECLARED = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    DECLARED.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

WARM_UP = 150  # steps that are not timed


def net(shape: tuple[int, int, int], classes: int, channels: int, hidden: int) -> nn.Sequential:
    """Leaklab's cnn, in its order of parameters."""
    colours, height, width = shape
    many = 2 * channels
    return nn.Sequential(
        nn.Conv2d(colours, channels, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(channels, many, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(many * (height // 4) * (width // 4), hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


def parts(module: nn.Module, flat: torch.Tensor) -> list[torch.Tensor]:
    sizes = [part.numel() for part in module.parameters()]
    return [
        piece.view_as(part).clone()
        for piece, part in zip(flat.split(sizes), module.parameters(), strict=True)
    ]


def invert(settings: dict, sent: np.ndarray, gradient: np.ndarray, seed: int) -> np.ndarray:
    import breaching

    shape = tuple(settings["shape"])
    module = net(shape, settings["classes"], settings["channels"], settings["hidden"])
    steps = f"optim.max_iterations={settings['iterations']}"
    chosen = breaching.get_attack_config("invertinggradients", overrides=[steps])
    setup = {"dtype": torch.float, "device": torch.device("cpu")}
    attack = breaching.attacks.prepare_attack(module, nn.CrossEntropyLoss(), chosen, setup)
    metadata = types.SimpleNamespace(shape=shape, modality="vision", classes=settings["classes"])
    about = {"num_data_points": settings["batch"], "labels": None, "local_hyperparams": None}
    payload = [{"parameters": parts(module, torch.from_numpy(sent)), "buffers": [],
                "metadata": metadata}]  # fmt: skip
    shared = [{"gradients": parts(module, torch.from_numpy(gradient)), "buffers": None,
               "metadata": about}]  # fmt: skip
    torch.manual_seed(seed)
    found, _ = attack.reconstruct(payload, shared, {})
    return found["data"].clamp(0, 1).numpy()


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable()
    torch.set_num_threads(1)
    path = Path(sys.argv[1])
    with np.load(path) as held:
        settings = json.loads(str(held["settings"]))
        sent, gradients = held["sent"], held["gradients"]
    pictures, seconds = [], []
    invert(settings | {"iterations": WARM_UP}, sent[0], gradients[0], 0)
    for seed in range(len(sent)):
        began = time.process_time()
        pictures.append(invert(settings, sent[seed], gradients[seed], seed))
        seconds.append(time.process_time() - began)
    np.savez(path.with_suffix(".pictures.npz"), pictures=np.stack(pictures))
    print(json.dumps({"seconds": seconds}))  # noqa: T201


if __name__ == "__main__":
    main()
