"""The tables of what optimisation got back from updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any

from rich.table import Table

Rows = Sequence[dict[str, Any]]


def of_breaching(cells: Rows) -> Table:
    head = ("batch", "victims", "ours, dB", "breaching, dB", "gain", "least", "ours s", "theirs s")
    table = Table(*head, title="CNN, colour 32 x 32, the same updates, PSNR")
    for cell in cells:
        ours, theirs = ([row[who] for row in cell["rows"]] for who in ("ours", "breaching"))
        gains = [one["psnr"] - other["psnr"] for one, other in zip(ours, theirs, strict=True)]
        table.add_row(
            str(cell["batch"]),
            str(len(gains)),
            _mean(ours, "psnr"),
            _mean(theirs, "psnr"),
            f"{fmean(gains):+.1f}",
            f"{min(gains):+.1f}",
            _mean(ours, "seconds"),
            _mean(theirs, "seconds"),
        )
    return table


def of_lenet(rows: Rows) -> Table:
    table = Table("victims", "mean dB", "worst", "above 40 dB", "labels right", "longest, s",
                  title="iDLG, LeNet, one example")  # fmt: skip
    table.add_row(
        str(len(rows)),
        _mean(rows, "psnr"),
        f"{min(row['psnr'] for row in rows):.1f}",
        f"{fmean(row['psnr'] >= 40 for row in rows):.0%}",
        f"{fmean(row['labels'] for row in rows):.0%}",
        f"{max(row['seconds'] for row in rows):.1f}",
    )
    return table


def of_steps(rows: Rows) -> Table:
    table = Table("local steps", "victims", "step by step, dB", "as one (100 iterations), dB",
                  "nearest other, dB", "s", title="LeNet, one example, local SGD")  # fmt: skip
    for count, some in groupby(rows, lambda row: row["steps"]):
        group = list(some)
        unrolled, naive = ([row[name] for row in group] for name in ("unrolled", "as one"))
        table.add_row(
            str(count),
            str(len(group)),
            _mean(unrolled, "psnr"),
            _mean(naive, "psnr"),
            _mean(unrolled, "nearest"),
            _mean(unrolled, "seconds"),
        )
    return table


def of_rounds(rows: Rows) -> Table:
    head = ("model", "batch", "rounds before", "accuracy", "dB", "nearest other, dB", "best floor")
    table = Table(*head, title="Five local steps, by training")
    for (kind, batch, rounds), some in groupby(
        rows, lambda row: (row["kind"], row["batch"], row["rounds"])
    ):
        group = list(some)
        accuracy = f"{fmean(row['accuracy'] for row in group):.2f}"
        measured = [_mean(group, name) for name in ("psnr", "nearest", "floor")]
        table.add_row(kind, str(batch), str(rounds), accuracy, *measured)
    return table


def _mean(rows: Rows, name: str) -> str:
    return f"{fmean(row[name] for row in rows):.1f}"


TABLES: dict[str, Callable[[Rows], Table]] = {
    "breaching": of_breaching,
    "lenet": of_lenet,
    "steps": of_steps,
    "rounds": of_rounds,
}
