"""The table that ends a run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from quantbench import console
from quantbench.results import store
from quantbench.results.recipe import recipe, structure
from quantbench.results.record import Row, grouped, is_structure_run

BAD_INPUT, UNEXPECTED = 2, 1
MAKER = "other code, versions, device or instruction set"


def print_summary(results: Path, run: str, *, broken_off: bool = False) -> int:
    """Derive results.csv, print what the run measured and return its exit code.

    0: every cell is there, or stands for a network that is not built yet; 2: a cell failed on bad input or missing
    data, or there is nothing but networks that are not built; 1: a cell failed unexpectedly. Of a run that was
    `broken_off` no cell need be there.
    """
    entries = _by_cell(store.read_run(results, run))
    rows, problems = store.derive_csv(results)
    by_cell = {row.cell: row for row in rows}
    wanted = [by_cell[entry["cell"]] for entry in entries if entry.get("cell") in by_cell]
    measured = [row for row in wanted if row.status == "ok"]
    failed = [row for row in wanted if row.status in ("failed", "error")]
    if measured:
        _print_rows(measured)
    _print_counts(entries, wanted)
    if wanted:
        console.folded(f"rows: {results / 'results.csv'}   per-sample scores: {results / 'cells'}")
    if not entries:
        if not broken_off:
            console.say(f"no cell of this run reached {results.absolute()}")
        return UNEXPECTED
    invalid = [entry["invalid"] for entry in entries if "invalid" in entry]
    for line in (*problems, *invalid, *_reasons(failed)):
        console.say(line)
    if any(entry.get("failed") for entry in entries):
        console.say("what failed before was left as it is: retry=failed tries it again")
    if any(row.status == "error" for row in failed):
        console.say(f"the traceback is in {results / 'cells'}/<cell>.json; please report it")
        return UNEXPECTED
    return BAD_INPUT if invalid or failed or not measured else 0


def _by_cell(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries, each cell once: where it was measured in this run it was not found, even if it came up again."""
    first: dict[str, dict[str, Any]] = {}
    for entry in entries:
        first.setdefault(entry.get("cell", json.dumps(entry)), entry)
    return list(first.values())


def _print_counts(entries: list[dict[str, Any]], wanted: list[Row]) -> None:
    """What was not measured in this run, and why."""
    cells = [entry for entry in entries if "cell" in entry]
    found = sum(bool(entry.get("found")) for entry in cells)
    if found:
        console.folded(f"{found} of {len(cells)} cells were there before; force=true measures again")
    if other := sum(bool(entry.get("other")) for entry in cells):
        console.folded(f"{other} of {len(cells)} cells are of other makers: {MAKER} than here")
    if again := sum(bool(entry.get("again")) for entry in cells):
        console.folded(f"{again} of {len(cells)} cells measured again: {MAKER} had made them; reuse=any keeps them")
    for reason in (entry["dropped"] for entry in entries if "dropped" in entry):
        console.folded(f"left out: {reason}")
    missing = Counter(row.model for row in wanted if row.status == "unsupported")
    if missing:
        names = ", ".join(f"{model} ({count})" for model, count in missing.items())
        console.folded(f"unsupported, because the network is not built yet (cells): {names}")


def _reasons(failed: list[Row]) -> list[str]:
    """One line for the cells of a network that failed alike."""
    alike = grouped(failed, lambda row: (row.model, row.error))
    said = {key: recipe(rows[0]) if len(rows) == 1 else f"{len(rows)} cells" for key, rows in alike.items()}
    return [f"{model}, {what}: {error}" for (model, error), what in said.items()]


def _print_rows(measured: list[Row]) -> None:
    """A table of the rows with a metric, and a line for each of the others."""
    rows = [row for row in measured if not is_structure_run(row)]
    if rows:
        numbers = ("fp32", "quantized", "change", "95 % interval", "agreement", "seconds")
        table = console.table("network", "recipe", *numbers, right=numbers)
        for row in rows:
            console.row(table, row.model, recipe(row), *_numbers(row))
        console.show(table)
        console.folded(_caption(rows))
    for row in measured:
        if is_structure_run(row):
            console.folded(f"{row.model}, {recipe(row)}: {structure(row)}, {row.seconds:.1f} s")


def _numbers(row: Row) -> tuple[str, ...]:
    return (
        _number(row.fp32),
        _number(row.quantized),
        _number(row.change, "+"),
        "unknown" if row.change_low is None else f"{_number(row.change_low, '+')} to {_number(row.change_high, '+')}",
        "" if row.agreement is None else f"{row.agreement:.2f} %",
        f"{row.seconds:.1f}",
    )


def _caption(rows: list[Row]) -> str:
    """What the numbers are: the metric and the number of samples of each task."""
    tasks = dict.fromkeys(f"{row.metric} on {row.samples:,} labelled samples of {row.task}" for row in rows)
    agreement = any(row.agreement is not None for row in rows)
    return f"{'; '.join(tasks)}; interval paired over samples{', agreement of predictions with fp32' * agreement}"


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.2f}"
