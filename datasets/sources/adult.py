"""Census records and incomes. Becker and Kohavi 1996, UCI Machine Learning Repository (Adult)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch

from datasets.sources.shared.file_lookup import COMMITTED, arrays, read
from lab.interfaces.columns import Column, rows_of
from lab.interfaces.data import DataSource, Examples
from lab.models.layers import Shape

DIGEST = "9a2fc20f0f4d7c42ca621b5afe54a2e3ab63ad97c38e9438086c8b0964fc5408"
TRAINING = 8_000  # records; the others are for test
# In the order of the file, and as UCI spells them.
NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
ANSWERS = {
    "workclass": "Federal-gov Local-gov Private Self-emp-inc Self-emp-not-inc State-gov "
    "Without-pay",
    "education": "10th 11th 12th 1st-4th 5th-6th 7th-8th 9th Assoc-acdm Assoc-voc Bachelors "
    "Doctorate HS-grad Masters Preschool Prof-school Some-college",
    "marital-status": "Divorced Married-AF-spouse Married-civ-spouse Married-spouse-absent "
    "Never-married Separated Widowed",
    "occupation": "Adm-clerical Armed-Forces Craft-repair Exec-managerial Farming-fishing "
    "Handlers-cleaners Machine-op-inspct Other-service Priv-house-serv Prof-specialty "
    "Protective-serv Sales Tech-support Transport-moving",
    "relationship": "Husband Not-in-family Other-relative Own-child Unmarried Wife",
    "race": "Amer-Indian-Eskimo Asian-Pac-Islander Black Other White",
    "sex": "Female Male",
    "native-country": "Cambodia Canada China Columbia Cuba Dominican-Republic Ecuador El-Salvador "
    "England France Germany Greece Guatemala Haiti Holand-Netherlands Honduras Hong Hungary India "
    "Iran Ireland Italy Jamaica Japan Laos Mexico Nicaragua Outlying-US(Guam-USVI-etc) Peru "
    "Philippines Poland Portugal Puerto-Rico Scotland South Taiwan Thailand Trinadad&Tobago "
    "United-States Vietnam Yugoslavia",
}


class Adult(DataSource):
    """Predicts an income above 50,000 from 14 census answers; 8,000 training records."""

    kind: Literal["adult"] = "adult"
    title: ClassVar[str] = "Adult (census income)"
    source: ClassVar[str] = "Becker and Kohavi 1996, UCI Machine Learning Repository"
    licence: ClassVar[str] = "CC BY 4.0; see datasets/files/README.md"
    shape: ClassVar[Shape] = (104,)
    classes: ClassVar[tuple[str, ...]] = ("up to 50K", "over 50K")
    size: ClassVar[int] = TRAINING
    content: ClassVar[Literal["pictures", "table", "text"]] = "table"

    def columns(self) -> tuple[Column, ...]:
        """Describe the columns: numbers in standard units of the training records, then choices."""
        return _columns(_file()["numbers"])

    def load(self) -> Examples:
        found = _file()
        cells = np.concatenate([found["numbers"], found["answers"]], axis=1)
        rows = rows_of(_columns(found["numbers"]), torch.from_numpy(cells.astype(np.float64)))
        labels = torch.from_numpy(found["label"].astype(np.int64))
        return Examples(rows[:TRAINING], labels[:TRAINING], rows[TRAINING:], labels[TRAINING:])


def _file() -> dict[str, np.ndarray]:
    remedy = "restore datasets/files from the repository"
    return arrays(read("adult_8k_2k.npz", DIGEST, [COMMITTED], remedy))


def _columns(numbers: np.ndarray) -> tuple[Column, ...]:
    """Build the columns.  numbers (records, 6)"""
    centres, spreads = numbers[:TRAINING].mean(axis=0), numbers[:TRAINING].std(axis=0)
    measured = zip(NUMBERS, centres.tolist(), spreads.tolist(), strict=True)
    return (
        *(Column(name, centre=centre, spread=spread, step=1) for name, centre, spread in measured),
        *(Column(name, answers=tuple(told.split())) for name, told in ANSWERS.items()),
    )
