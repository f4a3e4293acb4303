"""Figures: pure functions from records to plotly figures, for pages and reports alike."""

from lab.figures.audit import promises, reach
from lab.figures.budget import spending, trade_off
from lab.figures.comparison import compared
from lab.figures.contest import judged, moved, obeyed
from lab.figures.fairness import fairness
from lab.figures.federation import federation
from lab.figures.geometry import cosines, detection, landscape
from lab.figures.heat import heat
from lab.figures.leaks import approach
from lab.figures.membership import groups, histogram, roc, rocs
from lab.figures.polled import said
from lab.figures.progress import curves, traffic
from lab.figures.split import dealt, split
from lab.figures.toys import seats, toy
from lab.figures.tradeoff import frontier
from lab.figures.typed import secrets

__all__ = [
    "approach",
    "compared",
    "cosines",
    "curves",
    "dealt",
    "detection",
    "fairness",
    "federation",
    "frontier",
    "groups",
    "heat",
    "histogram",
    "judged",
    "landscape",
    "moved",
    "obeyed",
    "promises",
    "reach",
    "roc",
    "said",
    "seats",
    "rocs",
    "secrets",
    "spending",
    "split",
    "toy",
    "trade_off",
    "traffic",
]
