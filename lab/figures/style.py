"""What all figures share: colours that everybody can tell apart, type, and margins."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

# Okabe and Ito's palette, without its yellow and black, which vanish in light and in dark.
BLUE, ORANGE, GREEN, RED, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9"
PURPLE = "#CC79A7"
GREY = "#8a8a8a"
# Paul Tol's muted palette, for up to ten classes.
CLASSES = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933",
    "#DDCC77", "#CC6677", "#882255", "#AA4499", "#BBBBBB",
)  # fmt: skip
MARKED = 60  # points of a line that are still told apart
FONT = "Source Sans, Source Sans Pro, sans-serif"


def dress(figure: go.Figure, height: int) -> go.Figure:
    """What all figures share.  The constant uirevision keeps the user's zoom over updates."""
    return figure.update_layout(
        height=height,
        margin={"l": 56, "r": 16, "t": 28, "b": 44},
        font={"family": FONT, "size": 14},
        uirevision="same",
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        hovermode="x unified",
        plot_bgcolor="rgba(0,0,0,0)",  # the paper's colour is the theme's: its letters stay legible
    )


def mode(points: int) -> str:
    """How a line of so many points is drawn: marks that touch only make it thick, and slow."""
    return "lines+markers" if points <= MARKED else "lines"


def on_paper(figure: go.Figure) -> go.Figure:
    """The same on white: a page's theme is drawn by the browser, and a file has none."""
    return go.Figure(figure).update_layout(
        template="plotly_white", paper_bgcolor="white", plot_bgcolor="white"
    )


def buttons(name: str) -> dict[str, Any]:
    """plotly's settings for a figure in a browser: its camera saves an SVG of that name."""
    saved = {"format": "svg", "filename": "leaklab_" + name.replace(" ", "-")}
    return {"displaylogo": False, "responsive": True, "toImageButtonOptions": saved}
