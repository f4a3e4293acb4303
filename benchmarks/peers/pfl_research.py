"""Apple's pfl-research, simulated in one process.  github.com/apple/pfl-research"""

from __future__ import annotations

from functools import cache, partial
from itertools import chain

import torch
import torch.nn.functional as F
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from task import Task
from torch import nn
from torch_net import net, predict


class Net(nn.Module):
    """The net with the two methods that pfl asks for."""

    def __init__(self, settings: dict) -> None:
        super().__init__()
        self.inner = net(settings)

    def loss(self, inputs, labels, eval=False):
        return F.cross_entropy(self.inner(inputs), labels)

    @torch.no_grad()
    def metrics(self, inputs, labels, eval=True):
        return {"loss": Weighted(float(self.loss(inputs, labels)), len(labels))}


class Lap(TrainingProcessCallback):
    """Notes when a round ends."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def on_train_begin(self, *, model):
        self.task.lap()
        return Metrics()

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
        self.task.lap()
        return False, Metrics()


def main() -> None:
    task = Task.given()
    torch.set_num_threads(task.threads)
    settings, (rounds, asked) = task.settings, task.cohorts.shape

    @cache
    def held(client: int) -> PyTorchTensorDataset:
        inputs, labels = task.floats(client), task.labels[client]
        return PyTorchTensorDataset((torch.from_numpy(inputs), torch.from_numpy(labels)))

    module, order = Net(settings), chain.from_iterable(task.cohorts.tolist())
    users = FederatedDataset(held, lambda: next(order))
    model = PyTorchModel(
        module,
        local_optimizer_create=torch.optim.SGD,
        central_optimizer=torch.optim.SGD(module.parameters(), lr=1.0),
    )
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=rounds,
            evaluation_frequency=10**6,
            train_cohort_size=asked,
            val_cohort_size=0,
        ),
        backend=SimulatedBackend(
            training_data=users, val_data=users, postprocessors=[WeightByDatapoints()]
        ),
        model=model,
        model_train_params=NNTrainHyperParams(
            local_num_epochs=1,
            local_learning_rate=settings["rate"],
            local_batch_size=settings["batch"],
        ),
        model_eval_params=NNEvalHyperParams(local_batch_size=512),
        callbacks=[Lap(task)],
    )
    task.answer(partial(predict, module.inner))


if __name__ == "__main__":
    main()
