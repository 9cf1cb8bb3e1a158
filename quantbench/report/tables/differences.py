"""Our changes held against the published ones, where network, weights and samples are the paper's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from quantbench.report.baseline import Baseline
from quantbench.report.networks import NetworkRows
from quantbench.report.published import Published, counterparts, published
from quantbench.report.tables import entries
from quantbench.report.tables.columns import table3_columns, table4_columns, table5_columns
from quantbench.report.tables.table import Item, Table
from quantbench.results.record import Row

ROUNDING = 0.1  # points of relative change: figures are published with two decimals, versions of libraries differ

Line = tuple[Item, ...]


@dataclass(frozen=True)
class _Place:
    """A figure of the paper with the network's published fp32, and our network as the same table shows it."""

    table: str
    column: str
    figure: Published
    fp32: Published | None
    network: NetworkRows
    row: Row | None  # None where we have no figure
    status: str  # why


def differences_table(found: Sequence[NetworkRows]) -> Table:
    """One line for each figure of the paper's tables 3 to 5 that we have too, for networks that are the paper's own."""
    places = [place for network in found if network.is_papers for place in _places(network)]
    return Table(
        name="differences",
        title="Differences from the paper",
        caption="Relative changes against fp32 in percent, ours and the paper's, and their difference in points; ± is "
        "half of the paired 95 % interval of ours. A figure agrees where the difference is within ± and "
        f"{ROUNDING:g} points of rounding. Only networks with the paper's weights, evaluated on all samples, whose "
        f"fp32 is the published one (‡ where it is not) are compared. {entries.CONFIDENCE_LEGEND}",
        columns=(
            "network",
            "table",
            "column",
            "fp32",
            "published fp32",
            "change %",
            "published change %",
            "difference",
            "±",
            "confidence",
            "verdict",
        ),
        rows=tuple(_line(place) for place in places if place.row is not None),
        notes=(*_without(places), *_never(found)),
    )


def _places(network: NetworkRows) -> Iterator[_Place]:
    """Where the paper's tables 3 to 5 have a figure of a network."""
    name = network.counterpart.network if network.counterpart else ""
    for table, columns in (("3", table3_columns()), ("4", table4_columns()), ("5", table5_columns(()))):
        part = network.within([column.matches for column in columns])
        for column in columns:
            figure = published(table).get((name, column.published))
            if figure is not None:
                row = next(iter(part.matching(column.matches)), None) if part else None
                status = (part.status(column.matches) if part else "") or "not run"
                fp32 = published("2").get((name, "fp32"))
                yield _Place(table, column.title, figure, fp32, part or network, row, status)


def _line(place: _Place) -> Line:
    assert place.row is not None
    baseline = place.network.baseline_of(place.row)
    theirs, ours = entries.paper(place.figure, place.fp32), entries.quantized(place.row)
    change = entries.relative(ours, place.row.fp32)
    published_change = entries.relative(theirs, place.fp32.number if place.fp32 else None)
    difference = None
    if change.value is not None and published_change.value is not None:
        difference = change.value - published_change.value
    return (
        entries.text(place.network.label),
        entries.text(place.table),
        entries.text(place.column),
        entries.fp32(place.row, baseline),
        entries.paper(place.fp32),
        entries.number(change.value, sign="+"),
        entries.number(published_change.value, sign="+"),
        entries.number(difference, sign="+"),
        entries.number(change.half_width),
        entries.text(place.figure.confidence),
        entries.text(_verdict(baseline, place.figure, difference, change.half_width)),
    )


def _verdict(baseline: Baseline, figure: Published, difference: float | None, half: float | None) -> str:
    if baseline.verdict != "ok":
        return f"not compared: {baseline.sentence}"
    if figure.confidence == "doubtful":
        return "not compared: the published figure is doubtful"
    if difference is None or half is None:
        return "not compared: no relative change or no interval"
    return "agrees" if abs(difference) <= half + ROUNDING + 1e-9 else "differs"


def _without(places: Iterable[_Place]) -> Iterator[str]:
    """A line on each reason why figures of ours are missing, with the networks that it concerns."""
    absent: dict[str, dict[tuple[str, str], list[str]]] = {}
    for place in places:
        if place.row is None:
            columns = absent.setdefault(place.status, {}).setdefault((place.network.label, place.table), [])
            columns.append(place.column)
    for why, tables in absent.items():
        said: dict[str, list[str]] = {}
        for (network, table), columns in tables.items():
            said.setdefault(f"table {table} {_listed(columns)}", []).append(network)
        yield f"{why}: {'; '.join(f'{columns} of {_listed(networks)}' for columns, networks in said.items())}."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _never(found: Iterable[NetworkRows]) -> Iterator[str]:
    seen = {network.model for network in found}
    models = [counterpart.model for counterpart in counterparts().values() if counterpart.relation == "same"]
    if absent := [model for model in models if model not in seen]:
        yield f"Never evaluated: {_listed(absent)}."
