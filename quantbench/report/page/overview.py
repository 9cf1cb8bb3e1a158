"""What a folder of records amounts to: how many cells, what went wrong, and where it was measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from quantbench.results.load import Results
from quantbench.results.recipe import recipe
from quantbench.results.record import Row, grouped

NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Failure:
    """Cells of one network that gave no figures for the same reason. `traceback` is that of the first of them."""

    model: str
    reason: str
    rows: tuple[Row, ...]
    traceback: str

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """The hash and the recipe of each cell."""
        return tuple((row.cell, recipe(row)) for row in self.rows)


@dataclass(frozen=True)
class Fact:
    """One thing that records say of where they were measured: each value with the rows that have it, in their order."""

    name: str
    values: tuple[tuple[str, tuple[Row, ...]], ...]

    @property
    def differs(self) -> bool:
        """Whether the records do not all say the same."""
        return len(self.values) > 1


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 cell, 2 cells."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def counts(results: Results) -> str:
    """One line: how many networks and cells there are, and how many cells have no figures."""
    by_status = {status: sum(row.status == status for row in results.rows) for status in ("ok", "unsupported")}
    failed = len(results.rows) - sum(by_status.values())
    parts = [f"{by_status['ok']:,} measured", f"{failed:,} failed", f"{by_status['unsupported']:,} not supported"]
    networks = len({row.model for row in results.rows})
    return f"{counted(networks, 'network')}, {counted(len(results.rows), 'cell')}: {', '.join(parts)}"


def origin(results: Results) -> str:
    """One line: on which samples, when and where the cells were measured."""
    tasks = dict.fromkeys(
        f"{row.task} ({row.metric or 'no accuracy'}, {row.samples or 0:,} samples)" for row in results.measured
    )
    if not tasks:
        return "No cell was measured."
    facts = environment(results)
    if any(fact.differs for fact in facts):
        return f"{', '.join(tasks)}; measured {dates(results)} in environments that differ (see Environment)."
    known = {fact.name: fact.values[0][0] for fact in facts}
    where = f"{known['device']} ({known['instruction set']}), torch {known['torch']}, revision {known['git revision']}"
    return f"{', '.join(tasks)}; measured {dates(results)} on {where}."


def makers(results: Results) -> str:
    """One line where rows are of several makers: how many are of others than the last one measured; empty otherwise."""
    rows = results.measured
    if len({row.maker for row in rows}) < 2:
        return ""
    last = max(rows, key=lambda row: row.started or "").maker
    others = sum(row.maker != last for row in rows)
    verb = "is" if others == 1 else "are"
    return (
        f"{others:,} of {counted(len(rows), 'row')} {verb} of other makers than the last one measured: other code, "
        "versions, device or instruction set."
    )


def dates(results: Results) -> str:
    """From when to when the cells were measured, in UTC and to the minute."""
    moments = sorted(row.started[:16].replace("T", " ") for row in results.rows if row.started)
    if not moments:
        return "at an unknown time"
    first, last = moments[0], moments[-1]
    if first == last:
        return f"{first} UTC"
    return f"{first} to {last[11:] if last[:10] == first[:10] else last} UTC"


def failures(results: Results) -> list[Failure]:
    """The cells that were tried and gave no figures, those with the same reason together."""
    return _reasons(results, [row for row in results.rows if row.status not in ("ok", "unsupported")])


def unsupported(results: Results) -> list[Failure]:
    """The networks that cannot be measured yet."""
    return _reasons(results, [row for row in results.rows if row.status == "unsupported"])


def environment(results: Results) -> list[Fact]:
    """Device, versions and the like, as every measured cell recorded them; of all cells where none was measured."""
    rows = results.measured or results.rows
    versions = {row.cell: section(results, row, "versions") for row in rows}
    names = dict.fromkeys(name for found in versions.values() for name in found)
    said = {
        "device": [row.device for row in rows],
        "device name": [row.device_name for row in rows],
        "instruction set": [row.isa for row in rows],
        "threads": [results.details.get(row.cell, {}).get("threads") for row in rows],
        "code that computes": [row.code for row in rows],
        "git revision": [row.git for row in rows],
        **{name: [versions[row.cell].get(name) for row in rows] for name in names},
        "torch": [row.torch for row in rows],  # with the build, which versions leaves out
    }
    return [_fact(name, rows, values) for name, values in said.items()]


def section(results: Results, row: Row, name: str) -> dict[str, Any]:
    """What a record says below one of its keys; empty where it says nothing that can be used."""
    found = results.details.get(row.cell, {}).get(name)
    return found if isinstance(found, dict) else {}


def _fact(name: str, rows: Iterable[Row], values: Iterable[object]) -> Fact:
    found: dict[str, list[Row]] = {}
    for row, value in zip(rows, values, strict=True):
        found.setdefault(NOT_RECORDED if value is None else str(value), []).append(row)
    return Fact(name, tuple((said, tuple(having)) for said, having in found.items()))


def _reasons(results: Results, rows: Iterable[Row]) -> list[Failure]:
    alike = grouped(rows, lambda row: (row.model, row.error or "no reason recorded"))
    return [
        Failure(model, reason, tuple(same), str(results.details.get(same[0].cell, {}).get("traceback") or ""))
        for (model, reason), same in alike.items()
    ]
