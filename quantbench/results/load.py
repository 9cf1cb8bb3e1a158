"""What gate, comparison and report read: the records of a results folder, or the rows of a results.csv."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbench.console import clean
from quantbench.errors import UserError
from quantbench.results import store
from quantbench.results.record import Row, check_types

if TYPE_CHECKING:
    import pandas as pd

    from quantbench.quant.histogram import Histogram

TEXTS = ("sample", "target")  # columns of the samples that are texts, whatever they look like
# What gate and tables cannot do without; a results.csv may lack any other column.
NEEDED = (
    *("cell", "suite", "model", "task", "metric", "samples", "fp32", "quantized", "change", "change_low"),
    *("change_high", "calib", "calib_options", "granularity", "weight_bits", "activation_bits", "mapping", "fold_bn"),
    *("skip_layers", "seed", "status"),
)


@dataclass(frozen=True)
class Results:
    """What a results folder or a results.csv holds.

    `rows` has one row a cell, oldest first, failed and unsupported ones included. `details` has for each cell what its
    record says beside the row: `config`, `command`, `ranges`, `site_sqnr_db`, `histograms`, `versions`, `threads`, ...;
    it is empty where only a results.csv is known. `problems` has a line on each file that could not be used.
    """

    path: Path
    rows: list[Row]
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def measured(self) -> list[Row]:
        """The rows of the cells that have figures."""
        return [row for row in self.rows if row.status == "ok"]

    @property
    def suite(self) -> str:
        """The suite of the rows, or the name of the folder where they are of several."""
        suites = {row.suite for row in self.rows}
        return suites.pop() if len(suites) == 1 else self.path.resolve().name

    def histograms(self, cell: str) -> dict[str, Histogram]:
        """The histogram of every activation site that the cell was calibrated on; empty where none were kept."""
        return store.read_histograms(self.path, self.details.get(cell, {}).get("histograms"))

    def samples(self, cell: str) -> pd.DataFrame | None:
        """The per-sample scores of a cell, the sample's id as the index; None where there are none.

        Raises:
            UserError: the file is not the one that the record was made with, or is damaged.
        """
        path = store.samples_path(self.path, cell)
        if cell not in self.details or not path.is_file():
            return None
        import pandas as pd

        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != self.details[cell].get(store.SAMPLES):
                raise ValueError("its checksum is not the one in the record")
            table = pd.read_csv(io.BytesIO(content), converters=dict.fromkeys(TEXTS, str), low_memory=False)
            return table.set_index("sample").sort_index()
        except (OSError, ValueError, KeyError) as error:  # pandas' own errors are ValueErrors
            said = " ".join(str(error).split())
            raise UserError(
                f"{path}: not a table of per-sample scores ({said}); run the cell again with force=true"
            ) from error


def load_results(path: Path) -> Results:
    """The records of a results folder, or the rows of its results.csv where it has none, or those of a results.csv.

    Raises:
        UserError: there is nothing there, or nothing that can be read; one line says what.
    """
    if not path.is_dir():
        return Results(path, list(_rows(path)))
    records, problems = store.read_records(path)
    if records:
        return Results(path, [row for row, _ in records], {row.cell: details for row, details in records}, problems)
    if (path / "results.csv").exists():
        return Results(path / "results.csv", list(_rows(path / "results.csv")), {}, problems)
    said = "".join(f"; {problem}" for problem in problems[:3])
    raise UserError(f"{path}: no record and no results.csv; `quantbench run results_dir={path}` writes them{said}")


def _rows(path: Path) -> Iterator[Row]:
    """The rows of a results.csv, in its order. Columns that a Row does not have are passed over."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            lines = [(reader.line_num, line) for line in reader]
            columns = reader.fieldnames or ()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; `quantbench run` writes a results.csv") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unusable(path, error) from error
    if missing := [name for name in NEEDED if name not in columns]:
        raise _unusable(path, f"it has no column {', '.join(missing)}")
    if not lines:
        raise _unusable(path, "it has no row")
    for number, line in lines:
        try:
            yield _row(line)
        except (ValueError, TypeError) as error:
            raise _unusable(path, f"line {number}: {error}") from error


def _unusable(path: Path, why: object) -> UserError:
    said = clean(str(why))
    return UserError(f"{path}: no results.csv of quantbench ({said[:200]}); give that of a results folder")


def _row(line: dict[str, str]) -> Row:
    """The row of a line; raises ValueError or TypeError where it says what no run does."""
    if None in line or None in line.values():
        raise ValueError("it has not as many values as the first line has names")
    kinds = {column.name: str(column.type) for column in fields(Row) if column.name in line}
    row = Row(**{name: _value(name, line[name], kind) for name, kind in kinds.items()})
    check_types(row)
    if row.change_low is not None and row.change_high is not None and row.change_low > row.change_high:
        raise ValueError("change_low is above change_high")
    if row.status == "ok" and row.metric and (row.fp32 is None or row.quantized is None or (row.samples or 0) < 1):
        raise ValueError("its status is ok, but fp32, quantized or samples is missing")
    return row


def _value(name: str, text: str, kind: str) -> Any:
    """A value of a column, whose kind is written as in Row: `float | None`."""
    if kind.startswith("str"):
        return text if text or not kind.endswith("None") else None
    text = text.strip()
    if not text:
        return None
    try:
        if kind.startswith("bool"):
            return {"true": True, "false": False}[text.lower()]
        number = float(text)
        if kind.startswith("int"):  # a spreadsheet may write 20.0
            return int(number) if number == int(number) else text
        return None if math.isnan(number) else number
    except (ValueError, KeyError, OverflowError):
        return text  # which check_types names
