"""How a page draws what an attack found, by the name of its score in a stored glimpse."""

from collections.abc import Callable

from lab.displays import counts, pictures, table, text
from lab.store import Job, Sight

DISPLAYS: dict[str, Callable[[list[Sight], Job], None]] = {
    "likeness": pictures.show,
    "headcount": counts.show,
    "dossier": table.show,
    "wording": text.show,
}


def show(sights: list[Sight], job: Job) -> None:
    """sights: what was stored of an attack so far, at least one"""
    for name, display in DISPLAYS.items():
        if name in sights[-1].body:
            display(sights, job)


__all__ = ["DISPLAYS", "show"]
