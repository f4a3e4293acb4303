"""Gallery: the places of a sweep as pictures, private beside reconstructed, on a page or in a file.

The same fragment of HTML stands on the page and in the report; the file is one PNG.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from math import ceil
from pathlib import Path
from textwrap import wrap
from typing import Any

import torch
from jinja2 import Environment
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lab.figures.example_images import data_uri, png, side_by_side
from lab.scoring.reconstruction.image_scorer import GAIN
from lab.sweeps.cell_result import AttackSummary
from lab.sweeps.result_table import ResultTable, TableCell

Pictures = Mapping[str, Mapping[str, Tensor]]  # "private" and "guess" of each run, by its key
FRAGMENT = Path(__file__).parent / "templates" / "leak_gallery.html"
SHOWN = 4  # examples of a place
APART = 3  # pixels between two of them
WHITE = 1.0
WIDTH, HEIGHT, EDGE = 216, 232, 12  # of a place in the file, pixels
SIGNS = {"refused": "∅", "failed": "✖", "waiting": "…"}  # a sign and a word, never a colour alone


def fragment(tally: ResultTable, pictures: Pictures) -> str:
    """HTML without any address, script or text that was not escaped."""
    places = [[_place(entry, pictures) for entry in line] for line in tally.entries]
    return (
        Environment(autoescape=True)
        .from_string(FRAGMENT.read_text(encoding="utf-8"))
        .render(places=places, columns=len(tally.sweep.columns), legend=legend(tally))
    )


def legend(tally: ResultTable) -> str:
    """What stands in the places."""
    seeds = len(tally.sweep.seeds)
    if tally.sweep.infers:
        each = f"Means of {seeds} seeds: t" if seeds > 1 else "T"
        return (
            f"{each}he AUC of the attack, pooled and among examples with the same label; its true-"
            "positive rate at 1 % false positives; the model's accuracy on members and on test "
            "examples. ◐ members stand out, ○ no better than chance, ∅ not to be said."
        )
    several = f", both the mean of {seeds} seeds" if seeds > 1 else ""
    return (
        "Private on the left, reconstructed on the right. In dB: the median PSNR over all examples "
        "of a place, and by how much it is over the best guess without the update (median of the "
        f"differences, example by example){several}. ● exact, ◐ leaks, ○ at most {GAIN:g} dB over "
        "the guess."
    )


def _place(entry: TableCell, pictures: Pictures) -> dict[str, Any]:
    found = _mosaic(entry, pictures)
    return {
        "entry": entry,
        "picture": None if found is None else data_uri(found),
        "lines": told(entry, pictures),
    }


def told(entry: TableCell, pictures: Pictures) -> list[str]:
    """What stands below the pictures of a place: the score, the guess's score, the verdict."""
    if not entry.leaks:
        begun = entry.word == "waiting" and any(_drawable(pictures, key) for key in entry.keys)
        return [f"{SIGNS.get(entry.word, '')} {'at work' if begun else entry.word}".strip()]
    leaks = list(entry.leaks.values())
    lines = [f"{_sign(entry)} {', '.join(dict.fromkeys(leak.word for leak in leaks))}"]
    if tested := [leak for leak in leaks if leak.auc is not None]:
        lines += _inferred(tested)
    medians = [leak.median for leak in leaks if leak.median is not None]
    gains = [leak.gain for leak in leaks if leak.gain is not None]
    if medians:
        lines.insert(0, f"{_mean(medians):.1f} dB, {_mean(gains):+.1f} over a guess")
    there = sum(len(pictures[key]["guess"]) for key in entry.keys if _drawable(pictures, key))
    return lines + ([f"{SHOWN} of {there} shown"] if there > SHOWN else [])


def _inferred(leaks: list[AttackSummary]) -> list[str]:
    """Of membership attacks: how well they do, and how much the model learnt by heart."""
    given = [leak.given for leak in leaks if leak.given is not None]
    rates = [leak.rate for leak in leaks if leak.rate is not None]
    within = f", given the label {_mean(given):.3f}" if given else ""
    found = f"{_mean(rates):.2%}" if len(rates) == len(leaks) else "too few to say"
    learnt, tested = (
        [float(leak.learnt) for leak in leaks],
        [float(leak.accuracy) for leak in leaks],
    )
    return [
        f"AUC {_mean([leak.auc or 0.0 for leak in leaks]):.3f}{within}",
        f"TPR at 1%: {found}",
        f"accuracy {_mean(learnt):.2f} on members, {_mean(tested):.2f} on others",
    ]


def _sign(entry: TableCell) -> str:
    leaks = entry.leaks.values()
    if any(leak.unclear for leak in leaks):
        return "∅"
    if all(leak.exact for leak in leaks):
        return "●"
    return "○" if all(leak.stopped for leak in leaks) else "◐"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _drawable(pictures: Pictures, key: str) -> bool:
    found = pictures.get(key, {})
    return "guess" in found and "private" in found and found["guess"].ndim == 4


def _mosaic(entry: TableCell, pictures: Pictures) -> Tensor | None:
    """The first examples of the place's runs in two columns.  -> (colours, height, width)"""
    pairs = [
        side_by_side(private, guess)
        for key in entry.keys
        if _drawable(pictures, key)
        for private, guess in zip(pictures[key]["private"], pictures[key]["guess"], strict=True)
    ][:SHOWN]
    if not pairs:
        return None
    columns, (colours, height, width) = min(2, len(pairs)), pairs[0].shape
    rows = ceil(len(pairs) / columns)
    size = (rows * (height + APART) - APART, columns * (width + APART) - APART)
    canvas = torch.full((colours, *size), WHITE)
    for place, pair in enumerate(pairs):
        top, left = place // columns * (height + APART), place % columns * (width + APART)
        canvas[:, top : top + height, left : left + width] = pair
    return canvas


def poster(tally: ResultTable, pictures: Pictures) -> bytes:
    """All places in one PNG, a row of the sweep in each row."""
    columns, rows = len(tally.sweep.columns), len(tally.sweep.rows)
    row_height = HEIGHT + 2 * EDGE
    canvas = Image.new("RGB", (columns * WIDTH + EDGE, rows * row_height + EDGE), "white")
    pen, large, small = (
        ImageDraw.Draw(canvas),
        ImageFont.load_default(15),
        ImageFont.load_default(13),
    )
    for row, line in enumerate(tally.entries):
        top = row * row_height + EDGE
        pen.text((EDGE, top), line[0].row, "black", large)
        for column, entry in enumerate(line):
            left = column * WIDTH + EDGE
            _draw(canvas, pen, entry, pictures, (left, top + 24), small)
    target = BytesIO()
    canvas.save(target, "PNG")
    return target.getvalue()


def _draw(
    canvas: Image.Image,
    pen: ImageDraw.ImageDraw,
    entry: TableCell,
    pictures: Pictures,
    corner: tuple[int, int],
    font: Any,
) -> None:
    """One place, its column's name above and its score below."""
    left, top = corner
    pen.text((left, top), entry.column, "black", font)
    found, below = _mosaic(entry, pictures), top + 24
    if found is not None:
        picture = Image.open(BytesIO(png(found))).convert("RGB")
        picture.thumbnail((WIDTH - EDGE, HEIGHT - 100))
        canvas.paste(picture, (left, below - 4))
        below += picture.height + 2
    # The font has no signs; the words say the same.
    words = [line.lstrip(f"{''.join(SIGNS.values())}●◐○ ") for line in told(entry, pictures)]
    wrapped = [part for line in words for part in wrap(line, 30)]
    pen.text((left, below), "\n".join(wrapped), "#444444", font)
