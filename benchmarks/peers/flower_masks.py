"""Flower's SecAgg+: its workflow and its client mod, called in one process.  flower.ai

`flower_masks.py CLIENTS PARAMS SHARES THRESHOLD LOST REPEATS`; no network, no Ray, no training.
"""

from __future__ import annotations

import json
import logging
import sys
import time

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import Code, FitIns, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Stage
from flwr.common.secure_aggregation.secaggplus_constants import Key as Field
from flwr.compat.common import recorddict_compat as compat
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.supercore.task_identity import TaskIdentity

WEIGHT = 1000  # the heaviest that it allows by default, and its most exact


class Proxy:
    """A client as its strategies know them."""

    def __init__(self, node: int) -> None:
        self.node_id, self.cid = node, str(node)


class Everybody(FedAvg):
    """All clients in every round; keeps what was aggregated."""

    def __init__(self, nodes: list[int]) -> None:
        super().__init__()
        self.nodes, self.mean = nodes, np.zeros(0)

    def configure_fit(self, server_round, parameters, client_manager):
        return [(Proxy(node), FitIns(parameters, {})) for node in self.nodes]

    def aggregate_fit(self, server_round, results, failures):
        (self.mean,) = parameters_to_ndarrays(results[0][1].parameters)
        return results[0][1].parameters, {}


class Room:
    """All clients in this process; the lost ones fall silent after they have shared their keys."""

    def __init__(self, rows: np.ndarray, lost: set[int]) -> None:
        self.rows, self.lost = rows, lost
        self.contexts = {
            node: Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})
            for node in range(1, len(rows) + 1)
        }

    def send_and_receive(self, messages, *, timeout=None):
        return [self.answer(message) for message in messages]

    def answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        told = ConfigRecord(dict(message.content.config_records[RECORD_KEY_CONFIGS]))
        message.content = RecordDict({**message.content, RECORD_KEY_CONFIGS: told})
        stage = told[Field.STAGE]  # which the mod takes out, so each client has its own
        if node in self.lost and stage in (Stage.COLLECT_MASKED_VECTORS, Stage.UNMASK):
            return Message(Error(0, "lost"), reply_to=message)
        return secaggplus_mod(message, self.contexts[node], self.train)

    def train(self, message: Message, context: Context) -> Message:
        update = ndarrays_to_parameters([self.rows[context.node_id - 1]])
        result = FitRes(Status(Code.OK, ""), update, WEIGHT, {})
        return Message(compat.fitres_to_recorddict(result, keep_input=False), reply_to=message)


def main() -> None:
    clients, params, shares, threshold, lost, repeats = map(int, sys.argv[1:])
    logging.disable(logging.CRITICAL)
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    rows = np.random.default_rng(0).uniform(-1, 1, (clients, params)).astype(np.float32)
    here = rows[lost:].mean(axis=0, dtype=np.float64)
    seconds, error = [], 0.0
    for _ in range(repeats):
        strategy = Everybody(list(range(1, clients + 1)))
        bare = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
        context = LegacyContext(bare, strategy=strategy)
        context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: 1})
        sent = ndarrays_to_parameters([np.zeros(params, np.float32)])
        record: ArrayRecord = compat.parameters_to_arrayrecord(sent, True)
        context.state.array_records[MAIN_PARAMS_RECORD] = record
        room = Room(rows, set(range(1, lost + 1)))
        workflow = SecAggPlusWorkflow(shares, threshold)
        began = time.perf_counter()
        workflow(room, context)
        seconds.append(time.perf_counter() - began)
        if strategy.mean.shape != here.shape:
            raise SystemExit("Flower broke the round off")
        error = max(error, float(np.abs(strategy.mean - here).max()))
    print(json.dumps({"seconds": seconds, "error": error}))  # noqa: T201


if __name__ == "__main__":
    main()
