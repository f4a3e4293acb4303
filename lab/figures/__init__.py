"""Pure functions from records to plotly figures."""

from lab.figures.audit import promises, reach
from lab.figures.budget import spending, trade_off
from lab.figures.data_split import dealt, split
from lab.figures.fairness import fairness
from lab.figures.federation import federation
from lab.figures.membership import groups, histogram, roc, rocs
from lab.figures.poisoned_round import judged, moved, obeyed
from lab.figures.property_inference import said
from lab.figures.reconstruction_progress import approach
from lab.figures.run_comparison import compared
from lab.figures.secret_exposure import secrets
from lab.figures.sweep_heatmap import heat
from lab.figures.toys import seats, toy
from lab.figures.tradeoff import frontier
from lab.figures.training_curves import curves, traffic
from lab.figures.update_geometry import cosines, detection, landscape

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
