"""The table that ends a run."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.table import Table

from quantbench import console, store
from quantbench.record import Row

BAD_INPUT, UNEXPECTED = 2, 1
WIDE = 110  # columns that hold a row with its recipe beside it


def print_summary(results: Path, run: str) -> int:
    """Derive results.csv, print what the run measured and return its exit code.

    0: every cell is there; 2: a cell failed on bad input or missing data; 1: a cell failed unexpectedly.
    """
    entries = store.read_run(results, run)
    rows, problems = store.read_rows(results)
    csv = store.write_csv(results, rows) if rows else None
    by_cell = {row.cell: row for row in rows}
    wanted = [by_cell[entry["cell"]] for entry in entries if entry.get("cell") in by_cell]
    measured = [row for row in wanted if row.status == "ok"]
    if measured:
        console.show(_table(measured))
        print(_caption(measured))
    found = sum(bool(entry.get("found")) for entry in entries)
    if found:
        print(f"{found} of {len(entries)} measured before; force=true measures again")
    if csv:
        print(f"rows: {csv}   per-sample scores: {csv.parent / 'cells'}")
    invalid = [entry["invalid"] for entry in entries if "invalid" in entry]
    failures = [f"{row.model}, {_recipe(row)}: {row.error}" for row in wanted if row.status != "ok"]
    for line in (*problems, *invalid, *failures):
        print(f"quantbench: {line}", file=sys.stderr)
    if any(row.status == "error" for row in wanted):
        print(f"quantbench: the traceback is in {results / 'cells'}/<cell>.json; please report it", file=sys.stderr)
        return UNEXPECTED
    return BAD_INPUT if invalid or failures else 0


def _table(rows: list[Row]) -> Table:
    """One row a cell; on a narrow terminal the recipe stands below the network's name."""
    together = console.width() < WIDE
    names = ("network and recipe",) if together else ("network", "recipe")
    numbers = ("fp32", "quantized", "change", "95 % interval", "agreement", "seconds")
    table = console.table(*names, *numbers, right=numbers)
    for column in table.columns[len(names) :]:
        column.no_wrap = True
    for row in rows:
        seconds = sum(s or 0.0 for s in (row.seconds_fp32, row.seconds_calibrate, row.seconds_quantized))
        console.row(
            table,
            *((f"{row.model}\n{_recipe(row)}",) if together else (row.model, _recipe(row))),
            _number(row.fp32),
            _number(row.quantized),
            _number(row.change, "+"),
            f"{_number(row.change_low, '+')} to {_number(row.change_high, '+')}",
            f"{_number(row.agreement)} %",
            f"{seconds:.1f}",
        )
    return table


def _caption(rows: list[Row]) -> str:
    """What the numbers are: the metric and the number of samples of each task."""
    tasks = dict.fromkeys(f"{row.metric} on {row.samples:,} samples of {row.task}" for row in rows)
    return f"{'; '.join(tasks)}; interval paired over samples, agreement of predictions with fp32"


def _recipe(row: Row) -> str:
    """A scheme in a few words: `int8 w per_channel, int8 a entropy`."""
    weights = f"w{row.weight_bits} {row.weight_granularity}"
    if row.activation_bits is None:
        activations = "activations float"
    else:
        percentile = "" if row.percentile is None else f" {row.percentile:g}"
        activations = f"a{row.activation_bits} {row.calib}{percentile}"
    extras = [word for word, on in ((row.mapping, row.mapping != "scale"), ("bn folded", row.fold_bn)) if on]
    return ", ".join([weights, activations, *(str(word) for word in extras)])


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.2f}"
