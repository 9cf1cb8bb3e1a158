"""Which row of one side belongs to which of the other: the two that measure the same thing.

The name of a cell's files will not do: its hash differs where a path, the batch size or the device does, and a network
that was trained again has another. What is measured is the network by name, the task, the metric, the number of
samples and the recipe.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import PurePath

from quantbench.errors import UserError, nearest
from quantbench.results.recipe import named, shown
from quantbench.results.record import Row

RECIPE = (
    *("calib", "calib_options", "calibration_samples", "seed"),
    *("granularity", "weight_bits", "activation_bits", "mapping", "fold_bn", "skip_layers"),
    *("residual_adds", "gelu_bound", "method", "method_options", "backend", "backend_options"),
)
MATCHED = ("model", "task", "model_options", "task_options", *RECIPE)
SIZES = ("metric", "samples")
# What does not say what is measured, but tells two rows of one side apart in a message.
OTHERS = ("suite", "batch_size", "device", "torch", "git", "cell")
Key = tuple[object, ...]


@dataclass(frozen=True)
class Pair:
    """Two rows that measure the same."""

    baseline: Row
    new: Row


@dataclass(frozen=True)
class Alone:
    """A row without a counterpart that has figures, and why."""

    row: Row
    why: str


@dataclass(frozen=True)
class Matching:
    """All rows of both sides, each in one of the three."""

    pairs: tuple[Pair, ...]
    missing: tuple[Alone, ...]  # measured in the baseline, and not in the new results
    added: tuple[Alone, ...]  # not measured in the baseline


def match(
    baseline: Iterable[Row],
    new: Iterable[Row],
    ignore: Collection[str] = (),
    sides: tuple[str, str] = ("the baseline", "the new results"),
) -> Matching:
    """Pair the rows of both sides, one a metric: a second metric of the same cell is a row of its own.

    Args:
        baseline: its rows.
        new: those of the new results.
        ignore: columns of MATCHED or SIZES that may differ between rows of a pair.
        sides: what a message calls the two.

    Raises:
        UserError: two measured rows of one side measure the same, or `ignore` names no such column.
    """
    for column in ignore:
        if column not in (*MATCHED, *SIZES):
            raise UserError(f"--ignore {column}: {nearest(column, (*MATCHED, *SIZES))}")
    recipe = tuple(column for column in MATCHED if column not in ignore)
    full = recipe + tuple(column for column in SIZES if column not in ignore)
    before, now = list(_by_metric(_without_places(baseline))), list(_by_metric(_without_places(new)))
    old = _measured(before, full, sides[0])
    measured = _measured(now, full, sides[1])
    pairs = [Pair(row, measured[key]) for key, row in old.items() if key in measured]
    missing = [Alone(row, _why(row, now, recipe)) for key, row in old.items() if key not in measured]
    added = [Alone(row, _why(row, before, recipe)) for key, row in measured.items() if key not in old]
    accounted = {_key(row, recipe) for row in (*old.values(), *measured.values())}
    added += [Alone(row, _reason(row)) for row in now if not is_measured(row) and _key(row, recipe) not in accounted]
    return Matching(tuple(pairs), tuple(missing), tuple(added))


def _without_places(rows: Iterable[Row]) -> list[Row]:
    """The rows, networks from folders called by the folder's own name, unless two of them would be called alike."""
    rows = list(rows)
    places = {row.model for row in rows if row.model.startswith((".", "/", "~"))}
    names = {place: PurePath(place).name for place in places}
    taken = [*names.values(), *({row.model for row in rows} - places)]
    return [replace(row, model=names[row.model]) if taken.count(names.get(row.model, "")) == 1 else row for row in rows]


def _by_metric(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, and behind each one of its second metric, if it has one."""
    for row in rows:
        yield row
        if row.secondary_metric and row.status == "ok":
            yield replace(
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


def is_measured(row: Row) -> bool:
    """Whether a row has the two figures that are compared."""
    return row.status == "ok" and row.metric is not None and row.fp32 is not None and row.quantized is not None


def change(row: Row) -> float:
    """What quantization cost a measured row, quantized - fp32 in points: a results.csv of others may not say it."""
    assert row.fp32 is not None and row.quantized is not None
    return row.quantized - row.fp32


def _key(row: Row, columns: Iterable[str]) -> Key:
    """What a row says in these columns; an older file that lacks an option means that it was off."""
    return tuple(value if (value := getattr(row, column)) not in ("", False) else None for column in columns)


def _measured(rows: Iterable[Row], columns: tuple[str, ...], side: str) -> dict[Key, Row]:
    found: dict[Key, Row] = {}
    for row in rows:
        if not is_measured(row):
            continue
        key = _key(row, columns)
        if twin := found.get(key):
            raise UserError(
                f"{side} measured {named(row)} ({row.metric}) twice, in the cells {shown(twin.cell)} and "
                f"{shown(row.cell)}, which differ in {_differences(twin, row)}: remove one of them"
            )
        found[key] = row
    return found


def _differences(row: Row, other: Row) -> str:
    known = [column.name for column in fields(Row) if column.name in (*OTHERS, *MATCHED, *SIZES)]
    differing = [column for column in known if getattr(row, column) != getattr(other, column)]
    return ", ".join(differing) or "nothing"


def _why(row: Row, others: Iterable[Row], recipe: tuple[str, ...]) -> str:
    """Why a measured row has no counterpart among the rows of the other side."""
    alike = [other for other in others if _key(other, recipe) == _key(row, recipe)]
    for other in alike:
        if is_measured(other) and other.metric == row.metric:
            return f"measured on {other.samples} samples there, here on {row.samples}"
    for other in alike:
        if not is_measured(other):
            return _reason(other)
    return "no such row there"


def _reason(row: Row) -> str:
    if row.status == "ok":
        return "measured without a metric: no sample has a label"
    return f"{shown(row.status)}: {shown(row.error or 'no reason given')}"
