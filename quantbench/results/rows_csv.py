"""The rows of a results.csv, for a report where no records are at hand."""

from __future__ import annotations

import csv
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

from quantbench.console import clean, unguarded
from quantbench.errors import UserError
from quantbench.results.record import Row

# What a table cannot do without; a file of an earlier version may lack any other column.
NEEDED = (
    *(
        "cell",
        "suite",
        "model",
        "task",
        "metric",
        "samples",
        "fp32",
        "quantized",
        "change",
        "change_low",
        "change_high",
    ),
    *("calib", "calib_options", "granularity", "weight_bits", "activation_bits", "mapping", "fold_bn"),
    *("skip_layers", "seed", "status"),
)


def rows_from_csv(path: Path) -> list[Row]:
    """The rows of a results.csv, in its order. Columns that a Row does not have are passed over.

    Raises:
        UserError: there is no such file, it is not a results.csv, or a value in it cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            lines = [(reader.line_num, line) for line in reader]
            columns = reader.fieldnames or ()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; `quantbench run` writes a results.csv") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error}); give the results.csv of a results folder") from error
    if missing := [name for name in NEEDED if name not in columns]:
        said = "the file is empty" if not columns else f"it has no column {', '.join(missing)}"
        raise UserError(f"{path}: {said}; give the results.csv of a results folder")
    if twice := [name for name in dict.fromkeys(columns) if list(columns).count(name) > 1]:
        raise UserError(f"{path}: it has two columns {clean(twice[0])[:80]}; remove one of them")
    if not lines:
        raise UserError(f"{path}: no row to report; `quantbench run` writes some")
    return [_row(path, number, line) for number, line in lines]


def _row(path: Path, number: int, line: dict[str, Any]) -> Row:
    if None in line or None in line.values():
        raise UserError(
            f"{path}, line {number}: it has not as many values as the first line has names; repair the file"
        )
    values = {}
    for column in fields(Row):
        if column.name in line:
            try:
                values[column.name] = _value(line[column.name], str(column.type))
            except ValueError:
                raise UserError(
                    f"{path}, line {number}: {column.name}={clean(line[column.name])[:80]} is not what stands there "
                    f"({column.type.replace(' | None', ', or empty')}); repair the file"
                ) from None
    return Row(**values)


def _value(text: str, kind: str) -> Any:
    """A value of a column, whose kind is written as in Row: `float | None`."""
    if not text.strip() and kind.endswith("| None"):
        return None
    if kind.startswith("str"):
        return unguarded(text)
    text = text.strip()
    if kind.startswith("bool"):
        return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _refuse()
    number = float(text)
    if kind.startswith("int"):
        return int(number) if math.isfinite(number) and number == int(number) else _refuse()
    return None if math.isnan(number) else number


def _refuse() -> None:
    raise ValueError
