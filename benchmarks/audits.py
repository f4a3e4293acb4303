"""Bounds on epsilon, on mechanisms whose epsilon is known: how much they prove, how often they err.

`python -m benchmarks.audits [PART...]`.  Beside them, what is published and picks the best of many
bounds on the canaries that it counts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lab.common.random_streams import random_stream
from lab.privacy.accounting.accountants import GaussianReleases, calibrate_noise
from lab.privacy.audit_bounds import FAMILY, METHODS, plug_in
from lab.privacy.audit_bounds.clopper_pearson import upper

RESULTS = Path(__file__).parent / "results" / "audits.json"
DELTA, CONFIDENCE, RUNS = 1e-5, 0.95, 400
EPSILONS, CANARIES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0), (1000, 5000)
PLANS = ((0.1, 300), (0.01, 500), (0.1, 1))  # sampling rate, releases
SAMPLED_RUNS = 50
Scores = tuple[np.ndarray, np.ndarray]  # of canaries that were in, and out
Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]  # (canaries,) members -> scores


def gaussian(epsilon: float) -> Draw:
    from dp_accounting import gaussian_mechanism

    gap = 1 / gaussian_mechanism.get_sigma_gaussian(epsilon, DELTA) if epsilon else 0.0
    return lambda generator, member: generator.normal(size=len(member)) + gap * member


def laplace(epsilon: float) -> Draw:
    return lambda generator, member: generator.laplace(size=len(member)) + epsilon * member


def sampled(rate: float, noise: float, times: int) -> Draw:
    """Each canary's log-likelihood ratio, summed over all releases."""

    def drawn(generator: np.random.Generator, member: np.ndarray) -> np.ndarray:
        scores = np.zeros(len(member))
        for _ in range(times):
            there = member & (generator.random(len(member)) < rate)
            seen = generator.normal(size=len(member)) * noise + there
            scores += np.log1p(rate * np.expm1((2 * seen - 1) / (2 * noise**2)))
        return scores

    return drawn


def runs(draw: Draw, canaries: int, count: int, *name: str | int) -> list[Scores]:
    found = []
    for each in range(count):
        generator = random_stream(each, "audits", canaries, *name)
        member = generator.random(canaries) < 0.5
        scores = draw(generator, member)
        found.append((scores[member], scores[~member]))
    return found


def judged(
    drawn: list[Scores], epsilon: float, claim: tuple[GaussianReleases, ...] = ()
) -> dict[str, dict[str, float]]:
    """Mean bound, share of bounds beyond the truth, and milliseconds a bound, of each method."""
    rows = {}
    for name, method in METHODS.items():
        started = process_time()
        found = [method(*scores, claim, DELTA, CONFIDENCE).epsilon for scores in drawn]
        rows[name] = _row(found, epsilon, started)
    return rows


def _row(found: list[float], epsilon: float, started: float) -> dict[str, float]:
    return {
        "mean": round(float(np.mean(found)), 3),
        "beyond": float(np.mean(np.array(found) > epsilon)),
        "milliseconds": round(1000 * (process_time() - started) / len(found), 2),
    }


def of_mechanisms() -> list[dict[str, Any]]:
    """Gaussian and Laplace, at each epsilon, from few canaries and from many."""
    places = [
        (kind, each, canaries)
        for kind in ("gaussian", "laplace")
        for each in EPSILONS
        for canaries in CANARIES
    ]
    rows = []
    for kind, each, canaries in track(places, "mechanisms", transient=True):
        draw = gaussian(each) if kind == "gaussian" else laplace(each)
        drawn = runs(draw, canaries, RUNS, kind, str(each))
        started = process_time()
        points = [plug_in(*scores, DELTA).epsilon for scores in drawn]
        best = {
            "plug-in (a point)": _row(points, each, started),
            "best of all guesses": _best([most_guesses(*scores) for scores in drawn], each),
            "best of all thresholds": _best([most_thresholds(*scores) for scores in drawn], each),
        }
        found = judged(drawn, each) | best
        rows.append({"mechanism": kind, "epsilon": each, "canaries": canaries, "methods": found})
    return rows


def of_samples() -> list[dict[str, Any]]:
    """Poisson-sampled Gaussian mechanisms, whose whole plan but the noise is known."""
    rows = []
    for rate, times in track(PLANS, "sampled mechanisms", transient=True):
        for each in (2.0, 4.0, 8.0):
            noise = calibrate_noise(GaussianReleases(rate, 1.0, times), each, DELTA)
            drawn = runs(
                sampled(rate, noise, times), CANARIES[-1], SAMPLED_RUNS, str(rate), times, str(each)
            )
            claim = (GaussianReleases(rate, noise, times),)
            place = {"rate": rate, "times": times, "epsilon": each, "noise": noise}
            rows.append(place | {"methods": judged(drawn, each, claim)})
    return rows


def most_guesses(inside: np.ndarray, outside: np.ndarray) -> float:
    """What is published: the largest of all numbers of guesses, on the canaries that it counts."""
    from scipy.special import betaincinv

    ranked = np.argsort(np.concatenate([-inside, -outside])) < len(inside)
    made = np.arange(1, len(ranked) + 1)
    right = np.cumsum(ranked)
    # Without delta the bound on accuracy is Clopper and Pearson's.
    accuracy = betaincinv(np.maximum(right, 1e-9), made - right + 1.0, 1 - CONFIDENCE)
    return float(max(0.0, np.log(accuracy / (1 - accuracy)).max()))


def most_thresholds(inside: np.ndarray, outside: np.ndarray) -> float:
    """The same for Clopper and Pearson's intervals, one for each kind of error."""
    limits = np.sort(np.concatenate([inside, outside]))
    missed = np.searchsorted(np.sort(inside), limits, side="right")
    alarms = len(outside) - np.searchsorted(np.sort(outside), limits, side="right")
    ends = [
        upper(count, size, (1 - CONFIDENCE) / 2)
        for count, size in ((missed, len(inside)), (alarms, len(outside)))
    ]
    ratios = np.maximum((1 - DELTA - ends[0]) / ends[1], (1 - DELTA - ends[1]) / ends[0])
    return float(np.log(max(1.0, ratios.max())))


def _best(found: list[float], epsilon: float) -> dict[str, float]:
    return {
        "mean": round(float(np.mean(found)), 3),
        "beyond": float(np.mean(np.array(found) > epsilon)),
    }


def shown(rows: list[dict[str, Any]], title: str) -> Table:
    names = list(rows[0]["methods"])
    table = Table("mechanism", "epsilon", *names, title=title)
    for row in rows:
        told = row.get("mechanism") or f"rate {row['rate']:g}, {row['times']} releases"
        many = f", {row['canaries']:,} canaries" if "canaries" in row else ""
        cells = [
            f"{each['mean']:.2f} ({each['beyond']:.1%})"
            if row.get("mechanism") != "laplace" or name not in FAMILY
            else f"not Gaussian ({each['beyond']:.0%})"
            for name, each in row["methods"].items()
        ]
        table.add_row(told + many, f"{row['epsilon']:g}", *cells)
    return table


PARTS = {"mechanisms": of_mechanisms, "samples": of_samples}


def main() -> None:
    reader = argparse.ArgumentParser(prog="benchmarks.audits", description=__doc__)
    reader.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    for part in reader.parse_args().parts:
        found = PARTS[part]()
        told = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        told |= {part: found, "delta": DELTA, "confidence": CONFIDENCE}
        RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        Console(width=180).print(shown(found, f"{part}: mean bound (bounds beyond the truth)"))


if __name__ == "__main__":
    main()
