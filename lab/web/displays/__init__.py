"""How a page draws what an attack found, by the kind of its score."""

from collections.abc import Callable

from lab.storage.job import Job, StoredProgress
from lab.web.displays import image_results, label_results, record_results, text_results

DISPLAYS: dict[str, Callable[[list[StoredProgress], Job], None]] = {
    "images": image_results.show,
    "labels": label_results.show,
    "records": record_results.show,
    "text": text_results.show,
}


def show(sights: list[StoredProgress], job: Job) -> None:
    """sights: what was stored of an attack so far, at least one"""
    kind = sights[-1].body.get("score", {}).get("kind")
    if kind in DISPLAYS:
        DISPLAYS[kind](sights, job)


__all__ = ["DISPLAYS", "show"]
