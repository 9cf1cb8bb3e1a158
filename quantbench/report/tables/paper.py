"""The grid of the paper's tables 3 to 5: a line a network, the paper's line below, and what has to be said of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from quantbench.report.networks import NetworkRows, measured
from quantbench.report.published import is_metric, published
from quantbench.report.tables import entries
from quantbench.report.tables.columns import Column
from quantbench.report.tables.table import MISSING, Item


@dataclass(frozen=True)
class Line:
    """A line of ours or of the paper."""

    head: tuple[Item, Item]  # network, source
    metric: Item
    fp32: Item
    figures: tuple[Item, ...]


@dataclass(frozen=True)
class Grid:
    """The lines of a table and the notes below it."""

    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    @property
    def metrics(self) -> list[str]:
        """The metrics of our lines, each once, in their order."""
        return list(dict.fromkeys(metric.text for metric in self._named if not metric.paper))

    @property
    def has_several_metrics(self) -> bool:
        """Whether the lines, the paper's included, are not all of one metric."""
        return any(not is_metric(ours, metric.text) for ours in self.metrics for metric in self._named)

    @property
    def _named(self) -> list[Item]:
        return [line.metric for line in self.lines if line.metric.text != MISSING]


def grid(found: Sequence[NetworkRows], number: str, columns: Sequence[Column]) -> Grid:
    """Our networks that have a row in any of the columns; after those that share a counterpart, the paper's row."""
    parts = [network.within([column.matches for column in columns]) for network in found]
    present = [network for network in parts if network is not None]
    lines: list[Line] = []
    without = []
    for counterpart, group in groupby(present, key=_shown_counterpart):
        lines += [_measured_line(network, columns) for network in group]
        if counterpart is not None:
            line = _paper_line(*counterpart, number, columns)
            if line is None:
                without.append(counterpart[0])
            else:
                lines.append(line)
    notes = [*_flagged(present), *_missing(present, columns), *left_out(present), *_several(present, columns)]
    if without:
        notes.append(f"The paper's table {number} does not have {', '.join(dict.fromkeys(without))}.")
    return Grid(tuple(lines), tuple(notes))


def _measured_line(network: NetworkRows, columns: Sequence[Column]) -> Line:
    chosen = [next(iter(network.matching(column.matches)), None) for column in columns]
    figures = [
        entries.text(network.status(column.matches)) if row is None else entries.quantized(row)
        for column, row in zip(columns, chosen, strict=True)
    ]
    first = next((row for row in chosen if row is not None), None)
    baselines = [network.baseline_of(row) for row in chosen if row is not None]
    off = next((baseline for baseline in baselines if baseline.verdict == "off"), network.baseline)
    fp32 = entries.text("") if first is None else entries.fp32(first, off)
    metric = entries.text(None if first is None else first.metric)
    return Line((entries.text(network.label), entries.text("measured")), metric, fp32, tuple(figures))


def _paper_line(network: str, relation: str, number: str, columns: Sequence[Column]) -> Line | None:
    """The paper's figures of one of its networks; None where its table has none."""
    figures = [published(number).get((network, column.published)) for column in columns]
    if not any(figures):
        return None
    fp32 = published("2").get((network, "fp32"))
    return Line(
        (entries.text(network, paper=True), entries.text(f"paper ({relation})", paper=True)),
        entries.word(published("2").get((network, "metric"))),
        entries.paper(fp32),
        tuple(entries.paper(figure, fp32) for figure in figures),
    )


def _flagged(found: Iterable[NetworkRows]) -> Iterable[str]:
    for network in found:
        baselines = {network.baseline_of(row) for row in network.rows if measured(row)}
        for sentence in sorted(baseline.sentence for baseline in baselines if baseline.verdict == "off"):
            yield f"‡ {network.label}: {sentence}; its int8 is not comparable with the paper's."


def _missing(found: Iterable[NetworkRows], columns: Sequence[Column]) -> Iterable[str]:
    """A line on each status: which networks have how many cells of it instead of figures."""
    named: dict[str, list[str]] = {}
    for network in found:
        states = [network.status(column.matches) for column in columns if not network.matching(column.matches)]
        for state in dict.fromkeys(filter(None, states)):
            count = "" if states.count(state) == len(columns) else f" ({states.count(state)} of {len(columns)})"
            named.setdefault(state, []).append(f"{network.label}{count}")
    for state, said in named.items():
        yield f"{state}: {', '.join(said)}."


def left_out(found: Iterable[NetworkRows]) -> Iterable[str]:
    """A line on each network of which rows on fewer samples are not shown."""
    for network in found:
        if network.left_out:
            fewer = " and ".join(f"{samples:,}" for samples in sorted({row.samples or 0 for row in network.left_out}))
            most = max(row.samples or 0 for row in network.rows)
            rows = len(network.left_out)
            yield f"{network.label}: the rows on {fewer} samples ({rows}) are left out; those shown are on {most:,}."


def _several(found: Iterable[NetworkRows], columns: Sequence[Column]) -> Iterable[str]:
    found = list(found)
    repeated = (network.matching(column.matches) for network in found for column in columns)
    if any(len({(row.seed, row.calibration_samples) for row in rows}) > 1 for rows in repeated):
        yield (
            "Of a recipe measured several times, the row of the lowest seed and of most calibration samples is shown; "
            "the table of repeats has the spread."
        )
    for network in found:
        shown = [next(iter(network.matching(column.matches)), None) for column in columns]
        values = sorted({round(row.fp32, 9) for row in shown if row is not None and row.fp32 is not None})
        if len(values) > 1:
            yield f"{network.label}: fp32 is {values[0]:.2f} to {values[-1]:.2f} in its rows; a ± is against its own."


def _shown_counterpart(network: NetworkRows) -> tuple[str, str] | None:
    """What networks share that stand above one row of the paper."""
    counterpart = network.counterpart
    return None if counterpart is None else (counterpart.network, counterpart.relation)
