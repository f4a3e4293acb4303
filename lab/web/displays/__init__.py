"""How a page draws what an attack found, by the name of its score in a stored glimpse."""

from collections.abc import Callable

from lab.storage.job import Job, Sight
from lab.web.displays import image_results, label_results, record_results, text_results

DISPLAYS: dict[str, Callable[[list[Sight], Job], None]] = {
    "likeness": image_results.show,
    "headcount": label_results.show,
    "dossier": record_results.show,
    "wording": text_results.show,
}


def show(sights: list[Sight], job: Job) -> None:
    """sights: what was stored of an attack so far, at least one"""
    for name, display in DISPLAYS.items():
        if name in sights[-1].body:
            display(sights, job)


__all__ = ["DISPLAYS", "show"]
