"""Sheets: rows as CSV and Parquet, for spreadsheets and other programs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow
from pyarrow import csv, parquet

Rows = Sequence[Mapping[str, Any]]
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with one of these first, spreadsheets compute a text


def comma_separated(rows: Rows) -> bytes:
    """CSV with a header.  No text in it is a formula."""
    target = io.BytesIO()
    csv.write_csv(_table([{name: inert(row[name]) for name in row} for row in rows]), target)
    return target.getvalue()


def columnar(rows: Rows) -> bytes:
    """Parquet."""
    target = io.BytesIO()
    parquet.write_table(_table(rows), target)
    return target.getvalue()


def inert(value: Any) -> Any:
    """A text that a spreadsheet would compute gets an apostrophe, as OWASP has it; else itself."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _table(rows: Rows) -> pyarrow.Table:
    """Lists as JSON, so that every format holds them."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pyarrow.Table.from_pylist(
        [{name: _flat(row.get(name)) for name in names} for row in rows]
    )


def _flat(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, dict)) else value
