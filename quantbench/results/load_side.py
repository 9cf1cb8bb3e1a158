"""One of the two results that are compared: a results.csv, or a results folder, where records and samples count."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from quantbench.console import unguarded
from quantbench.errors import UserError
from quantbench.results.record import Row, check_types
from quantbench.results.rows_csv import rows_from_csv
from quantbench.results.store import SAMPLES, read_records, samples_path

LARGEST_CSV = 64 * 2**20  # bytes; a row has some 500
TEXTS = ("sample", "target")  # whatever they look like
LARGEST_SAMPLES = 2**27  # an answer has some 100


@dataclass(frozen=True)
class Side:
    """The rows of one side, one a metric: a second metric of the same cell is a row of its own."""

    path: Path
    rows: tuple[Row, ...]
    has_samples: bool  # whether per-sample scores may lie beside the records
    problems: tuple[str, ...] = ()  # a line on each file that is no record
    checksums: Mapping[str, str] = field(default_factory=dict)  # sha256 of the samples' file by cell, where known

    def samples(self, cell: str) -> pd.DataFrame | None:
        """The per-sample scores of a cell, the sample's id as the index; None where there are none.

        Raises:
            UserError: the file is damaged.
        """
        path = samples_path(self.path, cell)
        if not self.has_samples or not path.is_file():
            return None
        try:
            if path.stat().st_size > LARGEST_SAMPLES:
                raise ValueError("it is larger than any that quantbench writes")
            content = path.read_bytes()
            if cell in self.checksums and hashlib.sha256(content).hexdigest() != self.checksums[cell]:
                raise ValueError("its checksum is not the one in the record")
            table = pd.read_csv(io.BytesIO(content), converters=dict.fromkeys(TEXTS, unguarded), low_memory=False)
            for name in table.select_dtypes(exclude="number").columns.difference(list(TEXTS)):
                table[name] = table[name].map(lambda value: unguarded(value) if isinstance(value, str) else value)
            if not len(table) or table["sample"].duplicated().any():
                raise ValueError("a sample occurs twice, or there is none")
            return table.set_index("sample").sort_index()
        except (OSError, ValueError, KeyError) as error:  # pandas' own errors are ValueErrors
            said = " ".join(str(error).split())
            raise UserError(
                f"{path}: not a table of per-sample scores ({said}); run the cell again with force=true"
            ) from error


def read_side(path: Path) -> Side:
    """The results that a path names.

    Raises:
        UserError: there is nothing there, or nothing that can be read; one line says what.
    """
    if not path.is_dir():
        return Side(path, _from_csv(path), False)
    if (path / "cells").is_dir():
        records, problems = read_records(path)
        if records:
            checksums = {row.cell: details[SAMPLES] for row, details in records if SAMPLES in details}
            return Side(path, _by_metric(row for row, _ in records), True, tuple(problems), checksums)
    if (path / "results.csv").exists():
        return Side(path, _from_csv(path / "results.csv"), False)
    raise UserError(f"{path}: neither records nor a results.csv; `quantbench run results_dir={path}` writes them")


def _from_csv(path: Path) -> tuple[Row, ...]:
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a file; give a results.csv or a results folder")
    if path.is_file() and path.stat().st_size > LARGEST_CSV:
        raise UserError(
            f"{path}: larger than any results.csv ({LARGEST_CSV // 2**20} MB); give that of a results folder"
        )
    rows = rows_from_csv(path)
    for row in rows:
        try:
            check_types(row)
            _check(row)
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}, the row of cell {row.cell[:40]!r}: {error}; repair the file") from error
    return _by_metric(rows)


def _check(row: Row) -> None:
    """Refuse what a file of foreign origin may say and no run does; raises ValueError."""
    if row.change_low is not None and row.change_high is not None and row.change_low > row.change_high:
        raise ValueError("change_low is above change_high")
    if row.status == "ok" and row.metric and (row.fp32 is None or row.quantized is None or (row.samples or 0) < 1):
        raise ValueError("its status is ok, but fp32, quantized or samples is missing")


def _by_metric(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows, and behind each one of its second metric, if it has one."""
    found = []
    for row in rows:
        found.append(row)
        if row.secondary_metric and row.status == "ok":
            found.append(
                replace(
                    row,
                    metric=row.secondary_metric,
                    fp32=row.secondary_fp32,
                    quantized=row.secondary_quantized,
                    change=row.secondary_change,
                    change_low=row.secondary_change_low,
                    change_high=row.secondary_change_high,
                    p_value=None,
                    secondary_metric=None,
                )
            )
    return tuple(found)
