"""The tables that `make bench` prints."""

from __future__ import annotations

from typing import Any

from rich.table import Table

NAMES = ("sequential", "Flower", "pfl", "FedJAX")


def of_rounds(found: dict[str, Any]) -> Table:
    """A row a figure, a column a workload: terminals are narrow."""
    rows = found["workloads"].values()
    machine = f"{found['machine']['cpu']}, {found['gflops']:.0f} Gflop/s in matrix products"
    table = Table("", *(row["about"] for row in rows), title="One round", caption=machine)
    for label, told in {
        "seconds a round, best": "{seconds:.4f}",
        "  median": "{median:.4f}",
        "  best, with its test": "{with_test:.4f}",
        "  best in bfloat16": "{bfloat16[seconds]:.4f}, accuracy {bfloat16[accuracy]:.3f}",
        "samples a second": "{samples_per_second:,.0f}",
        "test accuracy": "{accuracy:.3f} after {rounds}",
        "share of matrix-product rate": "{share_of_products:.0%} of {gflop:.2f} Gflop",
        "launch to first round, s": "{launch:.2f}",
        "peak memory, MB": "{megabytes:.0f}",
    }.items():
        table.add_row(label, *(told.format(**row) for row in rows))
    table.add_section()
    for name in NAMES:
        if any(name in row["peers"] for row in rows):
            table.add_row(f"x faster than {name}", *(_beside(row, name) for row in rows))
    return table


def _beside(row: dict[str, Any], name: str) -> str:
    peer = row["peers"].get(name, {})
    if "best" not in peer:
        return "did not run"
    rounded = peer["best"] / row["bfloat16"]["seconds"]
    told = f"{peer['best']:.3f} s, {peer['threads']} threads, accuracy {peer['accuracy']:.3f}"
    return f"[bold]{row['ratios'][name]:.1f}[/bold], bfloat16 {rounded:.1f} ({told})"


def of_private(rows: list[dict[str, Any]]) -> Table:
    table = Table("net", "batch", "plain ms", "private ms", "private/plain", "Opacus ghost ms",
                  "x faster", "Opacus hooks ms", "x faster",
                  title="One step of example-level DP-SGD, one thread")  # fmt: skip
    for row in rows:
        own = row["private"]
        table.add_row(
            row["net"],
            str(row["batch"]),
            f"{row['plain']:.2f}",
            f"{own:.2f}",
            f"{own / row['plain']:.2f}",
            f"{row['ghost']:.2f}",
            f"{row['ghost'] / own:.1f}",
            f"{row['hooks']:.2f}",
            f"{row['hooks'] / own:.1f}",
        )
    return table
