"""Figures: pure functions from records to plotly figures, for pages and reports alike."""

from lab.figures.federation import federation
from lab.figures.leaks import approach, histogram, roc
from lab.figures.progress import curves, traffic

__all__ = ["approach", "curves", "federation", "histogram", "roc", "traffic"]
