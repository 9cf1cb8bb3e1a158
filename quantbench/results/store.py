"""One file a cell, written by atomic rename; results.csv is derived from them.

results_dir/cells/<hash>.json               the record; its presence says that the cell is finished
results_dir/cells/<hash>.samples.csv        one line a sample, there before the record, which has its digest
results_dir/histograms/<name>.safetensors   the histograms of one calibration, which many cells share
results_dir/runs/<run>.jsonl                which cells a run asked for
results_dir/results.csv                     one line a record
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbench.errors import UserError
from quantbench.results import histograms
from quantbench.results.files import Unwritable, encoded, remove_leftovers, unwritable, write_files, write_text
from quantbench.results.record import COLUMNS, SCHEMA, Record, Row, check_types

if TYPE_CHECKING:
    import pandas as pd

    from quantbench.quant.histogram import Histogram

FOLDERS = ("", "cells", "histograms", "tables", "figures")  # where files are written by atomic rename
SAMPLES = "samples_sha256"  # in a record: the digest of the file of its samples


def record_path(results: Path, cell: str) -> Path:
    """Where the record of a cell lies."""
    return results / "cells" / f"{cell}.json"


def samples_path(results: Path, cell: str) -> Path:
    """Where the per-sample scores of a cell lie."""
    return results / "cells" / f"{cell}.samples.csv"


def histograms_path(results: Path, name: str) -> Path:
    """Where the histograms that a record names lie."""
    return results / "histograms" / f"{name}.safetensors"


def check_writable(results: Path) -> None:
    """Create the results folder.

    Raises:
        Unwritable: it cannot be created or written.
    """
    try:
        (results / "cells").mkdir(parents=True, exist_ok=True)
        for folder in FOLDERS:
            remove_leftovers(results / folder)
        with tempfile.TemporaryFile(dir=results / "cells"):
            pass
    except OSError as error:
        advice = "free some space or choose another results_dir"
        raise Unwritable(f"results_dir={results}: cannot write there ({error.strerror}); {advice}") from error


def write_record(results: Path, record: Record) -> None:
    """Write the histograms, the samples and the record, each whole or not at all.

    Samples and record take their places together, once both are on disk: a full disk leaves those that were there.

    Raises:
        Unwritable: the folder cannot be written (full, read-only).
    """
    cell, details = record.row.cell, record.details
    if record.histograms and not read_histograms(results, details["histograms"]):
        histograms.write(histograms_path(results, details["histograms"]), record.histograms)
    files = []
    if record.samples is None:
        _remove(samples_path(results, cell))
    else:
        samples = encoded(_as_csv(record.samples))
        details = {**details, SAMPLES: hashlib.sha256(samples).hexdigest()}
        files.append((samples_path(results, cell), samples))
    content = {"schema": SCHEMA, "row": asdict(record.row), **details}
    write_files(*files, (record_path(results, cell), encoded(json.dumps(content, indent=1))))


def read_histograms(results: Path, name: str | None) -> dict[str, Histogram]:
    """The histograms that a record names; none where it names none or their file is missing or damaged."""
    return {} if name is None else histograms.read(histograms_path(results, name))


def read_row(results: Path, cell: str) -> Row | None:
    """The row of a finished cell; None where there is no record of this schema.

    Raises:
        UserError: the record is damaged, or its samples are not those that it was made with, as after a run with
            `force` that was killed between the two.
    """
    try:
        row, details = _read_record(record_path(results, cell))
    except (FileNotFoundError, _OtherSchema):
        return None
    path = samples_path(results, cell)
    try:
        if SAMPLES in details and hashlib.sha256(path.read_bytes()).hexdigest() != details[SAMPLES]:
            raise UserError(f"{path}: not the scores that the record was made with; run the cell again")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run the cell again") from error
    return row


def read_rows(results: Path) -> tuple[list[Row], list[str]]:
    """The rows of all finished cells, oldest first, and a line on each record that could not be read."""
    records, problems = read_records(results)
    return [row for row, _ in records], problems


def read_records(results: Path) -> tuple[list[tuple[Row, dict[str, Any]]], list[str]]:
    """The row and the details of every finished cell, oldest first, and a line on each record that cannot be read."""
    records, problems = [], []
    for path in sorted((results / "cells").glob("[!.]*.json")):
        try:
            records.append(_read_record(path))
        except (UserError, FileNotFoundError) as error:
            problems.append(str(error))
    return sorted(records, key=lambda record: (record[0].started or "", record[0].cell)), problems


class _OtherSchema(UserError):
    """A record that another version wrote."""


def _read_record(path: Path) -> tuple[Row, dict[str, Any]]:
    """Raises FileNotFoundError, _OtherSchema, or UserError where the file is no whole record."""
    try:
        details = json.loads(path.read_bytes())
        if details.pop("schema") != SCHEMA:
            raise _OtherSchema(f"{path}: a record of another version; it is left out")
        row = Row(**details.pop("row"))
        check_types(row)
        if row.cell != path.stem:
            raise ValueError(f"it is that of cell {row.cell}")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a readable record ({error}); delete it and run the cell again") from error
    return row, details


def derive_csv(results: Path) -> tuple[list[Row], list[str]]:
    """Derive results.csv from the records; returns the rows and a line on each record that could not be read.

    One process at a time reads the records and writes the file, so that the last one has seen them all.

    Raises:
        Unwritable: the folder cannot be written.
    """
    import pandas as pd
    from filelock import FileLock

    try:
        with FileLock(results / ".results.lock"):
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
    line = json.dumps(entry).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise unwritable(path, error) from error


def read_run(results: Path, run: str) -> list[dict[str, Any]]:
    """What a run noted, in order; nothing where it noted nothing. A line that a full disk cut off is left out."""
    path = results / "runs" / f"{run}.jsonl"
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        with suppress(ValueError):
            entries.append(json.loads(line))
    return entries


def _as_csv(table: pd.DataFrame) -> str:
    """A table as CSV; a text may hold any line ends."""
    texts = (value for name in table.select_dtypes(exclude="number") for value in table[name])
    # The writer puts quotes only around the line ends that it writes itself, and readers take each for one.
    ends = "\r\n" if any(isinstance(text, str) and "\r" in text for text in texts) else "\n"
    return table.to_csv(index=False, lineterminator=ends)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
