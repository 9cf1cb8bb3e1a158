"""One file a cell, written by atomic rename; results.csv is derived from them.

results_dir/cells/<hash>.json          the record; its presence says that the cell is finished
results_dir/cells/<hash>.samples.csv   one line a sample, written before the record
results_dir/histograms/<name>.npz      the histograms of one calibration, which many cells share
results_dir/runs/<run>.jsonl           which cells a run asked for
results_dir/results.csv                one line a record
"""

from __future__ import annotations

import io
import json
import re
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quantbench.cache import read_arrays
from quantbench.cell import SCHEMA
from quantbench.errors import UserError
from quantbench.files import Unwritable, unwritable, write_bytes, write_text
from quantbench.histograms import NAMES, pack, unpack
from quantbench.locking import locked
from quantbench.quant.histogram import Histogram
from quantbench.record import COLUMNS, Record, Row, check_types
from quantbench.texts import guarded

NAME = re.compile(r"\w+")  # of a file of histograms: no path
LARGEST_HISTOGRAMS = 1 << 26  # bytes of an array
LARGEST_RECORD = 1 << 26
LEFTOVER_SECONDS = 24 * 3600.0


def record_path(results: Path, cell: str) -> Path:
    """Where the record of a cell lies."""
    return results / "cells" / f"{cell}.json"


def samples_path(results: Path, cell: str) -> Path:
    """Where the per-sample scores of a cell lie."""
    return results / "cells" / f"{cell}.samples.csv"


def histograms_path(results: Path, name: str) -> Path:
    """Where the histograms that a record names lie."""
    return results / "histograms" / f"{name}.npz"


def check_writable(results: Path) -> None:
    """Create the results folder.

    Raises:
        Unwritable: it cannot be created or written.
    """
    try:
        (results / "cells").mkdir(parents=True, exist_ok=True)
        _remove_leftovers(results / "cells")
        with tempfile.TemporaryFile(dir=results / "cells"):
            pass
    except OSError as error:
        raise Unwritable(
            f"results_dir={results}: cannot write there ({error.strerror}); choose another results_dir"
        ) from error


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half-written; a young file may belong to one that still runs."""
    for path in folder.glob(".*.partial"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                path.unlink()


def write_record(results: Path, record: Record) -> None:
    """Write the samples, then the record, each whole or not at all.

    Raises:
        Unwritable: the folder cannot be written (full, read-only).
    """
    samples, path = record.samples, samples_path(results, record.row.cell)
    if samples is not None:
        write_text(path, _as_csv(samples))
    else:
        _remove(path)
    if record.histograms and not read_histograms(results, record.details["histograms"]):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **pack(record.histograms))
        write_bytes(histograms_path(results, record.details["histograms"]), buffer.getvalue())
    content = {"schema": SCHEMA, "row": asdict(record.row), **record.details}
    write_text(record_path(results, record.row.cell), json.dumps(content, indent=1))


def read_histograms(results: Path, name: object) -> dict[str, Histogram]:
    """The histograms that a record names; none where it names none or their file is missing or damaged."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return {}
    arrays = read_arrays(histograms_path(results, name), NAMES, LARGEST_HISTOGRAMS)
    try:
        return {} if arrays is None else unpack(arrays)
    except (ValueError, TypeError):
        return {}


def read_row(results: Path, cell: str) -> Row | None:
    """The row of a finished cell; None where there is no record of this schema.

    Raises:
        UserError: the record is damaged.
    """
    try:
        return _read_record(record_path(results, cell))[0]
    except (FileNotFoundError, _OtherSchema):
        return None


def read_rows(results: Path) -> tuple[list[Row], list[str]]:
    """The rows of all finished cells, oldest first, and a line on each file that could not be read."""
    records, problems = read_records(results)
    return [row for row, _ in records], problems


def read_records(results: Path) -> tuple[list[tuple[Row, dict[str, Any]]], list[str]]:
    """The row and the details of every finished cell, oldest first, and a line on each file that is no record."""
    records, problems = [], []
    for path in sorted((results / "cells").glob("[!.]*")):
        if path.name.endswith(".samples.csv"):
            continue
        try:
            records.append(_read_record(path))
        except (UserError, FileNotFoundError) as error:
            problems.append(str(error))
    return sorted(records, key=lambda record: (record[0].started or "", record[0].cell)), problems


class _OtherSchema(UserError):
    """A record that another version wrote."""


def _read_record(path: Path) -> tuple[Row, dict[str, Any]]:
    """Raises FileNotFoundError, _OtherSchema, or UserError where the file is no sound record."""
    if path.suffix != ".json":
        raise UserError(f"{path}: not a file of quantbench; it is left out")
    try:
        if path.is_file() and path.stat().st_size > LARGEST_RECORD:
            raise ValueError("it is larger than any")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a readable record ({error}); delete it and run the cell again") from error
    if not isinstance(content, dict) or "schema" not in content:
        raise UserError(f"{path}: not a record of quantbench; it is left out")
    if content["schema"] != SCHEMA:
        raise _OtherSchema(f"{path}: a record of another version; it is left out")
    try:
        row = Row(**content["row"])
        check_types(row)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: not a complete record ({error}); delete it and run the cell again") from error
    if row.cell != path.stem:
        raise UserError(f"{path}: the record of another cell, {row.cell}; it is left out")
    return row, {key: value for key, value in content.items() if key not in ("schema", "row")}


def derive_csv(results: Path) -> tuple[list[Row], list[str]]:
    """Derive results.csv from the records; returns the rows and a line on each file that could not be read.

    One process at a time reads the records and writes the file, so that the last one has seen them all.

    Raises:
        Unwritable: the folder cannot be written.
    """
    try:
        with locked(results / ".results.lock"):
            rows, problems = read_rows(results)
            table = pd.DataFrame([asdict(row) for row in rows], columns=list(COLUMNS)).convert_dtypes()
            write_text(results / "results.csv", _as_csv(table))
    except OSError as error:
        raise unwritable(results / "results.csv", error) from error
    return rows, problems


def note_in_run(results: Path, run: str, entry: dict[str, Any]) -> None:
    """Append one line to a run's list; a line this short is written in one piece, whoever else writes.

    Raises:
        Unwritable: the folder cannot be written.
    """
    path = results / "runs" / f"{run}.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(json.dumps(entry).encode() + b"\n")
    except OSError as error:
        raise unwritable(path, error) from error


def read_run(results: Path, run: str) -> list[dict[str, Any]]:
    """What a run noted, in order; nothing where it noted nothing. A line that a full disk cut off is left out."""
    path = results / "runs" / f"{run}.jsonl"
    entries = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        with suppress(ValueError, RecursionError):
            entries.append(json.loads(line))
    return [entry for entry in entries if isinstance(entry, dict) and _is_entry(entry)]


def _is_entry(entry: dict[str, Any]) -> bool:
    """Whether a line of a run's list says what such lines say: texts, and flags."""
    return all(isinstance(value, str | bool) for value in entry.values()) and isinstance(entry.get("cell", ""), str)


def _as_csv(table: pd.DataFrame) -> str:
    """A CSV that a spreadsheet may open; `unguarded` gives its texts back."""
    table = table.copy()
    ends = "\n"
    for name in table.select_dtypes(exclude="number"):
        table[name] = table[name].map(lambda value: guarded(value) if isinstance(value, str) else value)
        if table[name].map(lambda value: isinstance(value, str) and "\r" in value).any():
            ends = "\r\n"  # the writer puts quotes around what could end a line, and a \r alone does to its readers
    return table.to_csv(index=False, lineterminator=ends)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
