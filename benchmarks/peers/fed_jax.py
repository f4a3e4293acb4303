"""FedJAX: jitted steps, one client after the other.  Ro et al. 2021, arXiv:2108.02117."""

from __future__ import annotations

import os
import sys

# XLA starts as many threads as it may use cores, so it is told before it is imported.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[2])])

import jax  # noqa: E402

jax.tree_map = jax.tree_util.tree_map  # which newer versions of JAX left out

import fedjax  # noqa: E402
import haiku as hk  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from task import Task  # noqa: E402


def forward(settings: dict, inputs: jnp.ndarray) -> jnp.ndarray:
    """inputs (examples, 28, 28, 1) -> logits.  The initial values are PyTorch's."""

    def start(fan_in: int) -> dict:
        spread = hk.initializers.RandomUniform(-(fan_in**-0.5), fan_in**-0.5)
        return {"w_init": spread, "b_init": spread}

    def dense(outputs: int, inputs: jnp.ndarray) -> jnp.ndarray:
        return hk.Linear(outputs, **start(inputs.shape[-1]))(inputs)

    def pooled(channels: int, inputs: jnp.ndarray) -> jnp.ndarray:
        found = hk.Conv2D(channels, 5, **start(25 * inputs.shape[-1]))(inputs)
        return jax.nn.relu(hk.max_pool(found, 2, 2, "VALID"))

    if settings["kind"] == "cnn":
        inputs = pooled(2 * settings["channels"], pooled(settings["channels"], inputs))
    flat = inputs.reshape(len(inputs), -1)
    return dense(10, jax.nn.relu(dense(settings["hidden"], flat)))


def main() -> None:
    task = Task.given()
    settings, keys = task.settings, hk.PRNGSequence(0)
    net = hk.without_apply_rng(hk.transform(lambda inputs: forward(settings, inputs)))

    def loss(params, batch, rng):
        chances = jax.nn.log_softmax(net.apply(params, batch["x"]))
        return -jnp.take_along_axis(chances, batch["y"][:, None], axis=1).mean()

    def held(client: int) -> fedjax.ClientDataset:
        inputs = task.floats(client).transpose(0, 2, 3, 1)
        return fedjax.ClientDataset({"x": inputs, "y": task.labels[client].astype(np.int32)})

    users = [held(client) for client in range(len(task.labels))]
    algorithm = fedjax.algorithms.fed_avg.federated_averaging(
        jax.grad(loss),
        fedjax.optimizers.sgd(settings["rate"]),
        fedjax.optimizers.sgd(1.0),
        fedjax.ShuffleRepeatBatchHParams(batch_size=settings["batch"], num_epochs=1),
    )
    state = algorithm.init(net.init(next(keys), jnp.zeros((1, 28, 28, 1))))
    task.lap()
    for cohort in task.cohorts.tolist():
        state, _ = algorithm.apply(state, [(c, users[c], next(keys)) for c in cohort])
        jax.block_until_ready(state.params)
        task.lap()
    test = jax.jit(net.apply)
    task.answer(lambda inputs: np.asarray(test(state.params, inputs.transpose(0, 2, 3, 1))))


if __name__ == "__main__":
    main()
