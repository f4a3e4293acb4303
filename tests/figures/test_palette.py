"""The palette: series that nobody mixes up, on white and on black.

Colour blindness is simulated as in Machado, Oliveira and Fernandes 2009, doi:10.1109/TVCG.2009.113,
table 1, severity 1.0: matrices on linear RGB.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from lab.figures import run_comparison, tradeoff
from lab.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY

SERIES = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE)
GROUNDS = {"light": "#ffffff", "dark": "#171614"}  # of a page, in each theme
EYES = {
    "usual": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colour: str) -> np.ndarray:
    """'#rrggbb' -> linear light of red, green and blue  (3,)"""
    parts = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def as_seen(colour: str, eyes: str) -> np.ndarray:
    """In CIE Lab.  -> (3,)"""
    light = np.clip(np.array(EYES[eyes]) @ linear(colour), 0, 1)
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    found: np.ndarray = rgb2lab(shown)
    return found


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it, from 1 to 21."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    low, high = sorted(float(linear(colour) @ weights) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_contrast_and_sight_are_measured_as_their_definitions_say() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    red, green = (as_seen(colour, "deuteranopia") for colour in ("#b40000", "#6b6b00"))
    usual = [as_seen(colour, "usual") for colour in ("#b40000", "#6b6b00")]
    assert deltaE_ciede2000(red, green) < deltaE_ciede2000(*usual) / 2
    assert as_seen("#8a8a8a", "tritanopia") == pytest.approx(as_seen(GREY, "usual"), abs=0.1)


@pytest.mark.parametrize("eyes", EYES)
def test_every_two_series_look_different_to_everybody(eyes: str) -> None:
    """CIEDE2000 of 10: seen at a glance; 2 is just noticeable."""
    apart = {
        (one, other): float(deltaE_ciede2000(as_seen(one, eyes), as_seen(other, eyes)))
        for one, other in combinations(SERIES, 2)
    }
    assert {pair: gap for pair, gap in apart.items() if gap < 10} == {}


@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
@pytest.mark.parametrize("colour", [*SERIES, GREY])
def test_no_series_vanishes_on_a_page(colour: str, ground: str) -> None:
    """Below 3 are orange and sky blue on white: darker ones would look like red and blue."""
    least = 2.2 if colour in (ORANGE, SKY) else 3.0
    assert contrast(colour, ground) >= least


def test_series_that_may_be_many_come_from_the_palette_and_have_a_second_sign() -> None:
    assert {*run_comparison.COLOURS, *tradeoff.COLOURS} <= {*SERIES, GREY}
    for colours, signs in (
        (run_comparison.COLOURS, run_comparison.DASHES),
        (tradeoff.COLOURS, tradeoff.SYMBOLS),
    ):
        assert len(set(zip(colours, signs, strict=True))) == len(colours)
