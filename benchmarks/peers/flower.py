"""Flower's simulation, one Ray actor a core or one actor with all of them.  flower.ai"""

from __future__ import annotations

import logging
from functools import lru_cache, partial

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from task import Task
from torch_net import net, predict, train

CORES = 2


class Timed(FedAvg):
    """FedAvg that notes when a round ends."""

    task: Task

    def aggregate_train(self, server_round, replies):
        found = super().aggregate_train(server_round, replies)
        self.task.lap()
        return found


@lru_cache(maxsize=1)
def task_of(path: str, threads: int) -> Task:
    return Task.read(path, threads)


def client_app(path: str, threads: int) -> ClientApp:
    app = ClientApp()

    @app.train()
    def fit(message: Message, context: Context) -> Message:
        torch.set_num_threads(threads)
        task, client = task_of(path, threads), int(context.node_config["partition-id"])
        module = net(task.settings)
        module.load_state_dict(message.content["arrays"].to_torch_state_dict())
        inputs, labels = task.floats(client), task.labels[client]
        train(module, torch.from_numpy(inputs), torch.from_numpy(labels), task.settings)
        content = {
            "arrays": ArrayRecord(module.state_dict()),
            "metrics": MetricRecord({"num-examples": len(labels)}),
        }
        return Message(content=RecordDict(content), reply_to=message)

    return app


def main() -> None:
    task, server = Task.given(), ServerApp()
    clients, (rounds, asked) = len(task.labels), task.cohorts.shape
    module = net(task.settings)

    @server.main()
    def serve(grid: Grid, context: Context) -> None:
        strategy = Timed(
            fraction_train=asked / clients,
            fraction_evaluate=0.0,
            min_available_nodes=clients,
        )
        strategy.task = task
        task.lap()
        result = strategy.start(grid, ArrayRecord(module.state_dict()), num_rounds=rounds)
        module.load_state_dict(result.arrays.to_torch_state_dict())

    run_simulation(
        server,
        client_app(task.path, task.threads),
        num_supernodes=clients,
        backend_config={
            "client_resources": {"num_cpus": task.threads, "num_gpus": 0.0},
            "init_args": {
                "num_cpus": CORES,
                "include_dashboard": False,
                "logging_level": logging.ERROR,
            },
        },
    )
    task.answer(partial(predict, module))


if __name__ == "__main__":
    import flower  # under its own name, so that Ray's workers find what they unpickle

    flower.main()
