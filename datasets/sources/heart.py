"""Heart disease in four hospitals. Janosi et al. 1988, UCI Machine Learning Repository."""

from __future__ import annotations

import csv
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from datasets.sources.shared.file_lookup import COMMITTED, holdout, read
from lab.interfaces.columns import Column
from lab.interfaces.data import DataSource, Examples
from lab.models.layers import Shape

DIGEST = "de41a66cc39db51e90d54dbb85d6db1e75c889d436abf7b1a8acbfd6dc7ec6f5"
MEASURED = ("age", "trestbps", "chol", "thalch", "oldpeak")
STEPS = {"oldpeak": 0.1}  # others are whole numbers
NAMED = {  # what a finding can say; anything else counts as not measured
    "sex": ("Male",),
    "fbs": ("TRUE",),
    "exang": ("TRUE",),
    "cp": ("typical angina", "atypical angina", "non-anginal", "asymptomatic"),
    "restecg": ("normal", "st-t abnormality", "lv hypertrophy"),
}
OFTEN_MISSING = ("trestbps", "chol", "fbs", "restecg", "thalch", "exang", "oldpeak")
IN_WORDS = {
    "trestbps": "blood pressure",
    "chol": "cholesterol",
    "thalch": "highest heart rate",
    "oldpeak": "ST depression",
    "fbs": "fasting sugar above 120",
    "exang": "angina from exercise",
    "cp": "chest pain",
    "restecg": "ECG at rest",
}
HOSPITALS = ("Cleveland", "Hungary", "Switzerland", "VA Long Beach")
TEST_SHARE = 0.34


class Heart(DataSource):
    """Predicts heart disease from 22 columns; 607 training patients of four real hospitals."""

    kind: Literal["heart"] = "heart"
    title: ClassVar[str] = "Heart disease (four hospitals)"
    source: ClassVar[str] = "Janosi et al. 1988, UCI Machine Learning Repository"
    licence: ClassVar[str] = "CC BY 4.0; see datasets/files/README.md"
    shape: ClassVar[Shape] = (22,)
    classes: ClassVar[tuple[str, ...]] = ("healthy", "ill")
    size: ClassVar[int] = 607
    groups: ClassVar[tuple[str, ...]] = HOSPITALS
    content: ClassVar[Literal["pictures", "table", "text"]] = "table"

    def columns(self) -> tuple[Column, ...]:
        rows = _file()
        train = holdout(_hospital(rows) * 2 + _ill(rows), TEST_SHARE)[0]
        return (
            *(_number(name, rows, train) for name in MEASURED),
            *(_choice(name, answers) for name, answers in NAMED.items()),
            *(Column(_unmeasured(name), ("yes",), blank=True) for name in OFTEN_MISSING),
        )

    def load(self) -> Examples:
        rows = _file()
        hospital, ill = _hospital(rows), _ill(rows)
        train, test = holdout(hospital * 2 + ill, TEST_SHARE)
        columns = torch.from_numpy(_columns(rows, train))
        labels, groups = torch.from_numpy(ill), torch.from_numpy(hospital)
        return Examples(columns[train], labels[train], columns[test], labels[test], groups[train])


def _file() -> list[dict[str, str]]:
    remedy = "restore datasets/files from the repository"
    text = read("heart_four_hospitals.csv", DIGEST, [COMMITTED], remedy).decode()
    return list(csv.DictReader(text.splitlines()))


def _hospital(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([HOSPITALS.index(row["hospital"]) for row in rows])


def _ill(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([int(row["num"]) > 0 for row in rows], dtype=np.int64)


def _number(name: str, rows: list[dict[str, str]], train: np.ndarray) -> Column:
    centre, spread = _units(_values(name, rows), train)
    absent = _unmeasured(name) if name in OFTEN_MISSING else ""
    step = STEPS.get(name, 1.0)
    return Column(IN_WORDS.get(name, name), centre=centre, spread=spread, step=step, missing=absent)


def _choice(name: str, answers: tuple[str, ...]) -> Column:
    given = ("yes",) if answers == ("TRUE",) else tuple(map(_small, answers))
    blank = len(answers) == 1 or name in OFTEN_MISSING
    return Column(IN_WORDS.get(name, name), given, blank=blank)


def _small(answer: str) -> str:
    return answer.lower().replace("st-t", "ST-T").replace("lv", "LV")


def _unmeasured(name: str) -> str:
    return f"{IN_WORDS.get(name, name)} not measured"


def _values(name: str, rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([float(row[name] or "nan") for row in rows])


def _units(values: np.ndarray, train: np.ndarray) -> tuple[float, float]:
    """Return the centre and spread of the training patients."""
    return float(np.nanmean(values[train])), float(np.nanstd(values[train]))


def _columns(rows: list[dict[str, str]], train: np.ndarray) -> np.ndarray:
    """Return numbers in standard units of training patients, answers as 0 or 1.

    -> (patients, 22)
    """
    table: list[Any] = []
    for name in MEASURED:
        values = _values(name, rows)
        centre, spread = _units(values, train)
        table.append(np.nan_to_num((values - centre) / spread))
    for name, answers in NAMED.items():
        table += [[row[name] == answer for row in rows] for answer in answers]
    table += [[row[name] == "" for row in rows] for name in OFTEN_MISSING]
    return np.array(table, dtype=np.float32).T
