"""Which rows a table shows: one network on one task with one set of weights is a line, and one row fills a column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quantbench.report.baseline import Baseline, check_baseline, configured
from quantbench.report.published import Counterpart, counterparts
from quantbench.results.load import Results
from quantbench.results.record import Row, grouped

Matches = Callable[[Row], bool]
# Model, task, weights, first digits of their checksum (empty if not recorded), all else that was said of both.
Identity = tuple[str, str, str, str, tuple[str, ...]]


@dataclass(frozen=True)
class NetworkRows:
    """The rows of one network on one task with one set of weights."""

    label: str  # the model, with task or weights where these tell it from another
    model: str
    task: str
    rows: tuple[Row, ...]
    details: Mapping[str, Mapping[str, Any]]  # of each cell, what its record says beside the row
    left_out: tuple[Row, ...] = ()

    @property
    def counterpart(self) -> Counterpart | None:
        """The paper's network that stands beside it."""
        return counterparts().get(self.model)

    @property
    def is_papers(self) -> bool:
        """Whether it is a network of the paper, and not only one of the same family."""
        return self.counterpart is not None and self.counterpart.relation == "same"

    @property
    def baseline(self) -> Baseline:
        """Whether its fp32 is the published one, by the row that a table shows first."""
        return self.baseline_of(next(iter(self.matching(lambda _: True)), self.rows[0]))

    def baseline_of(self, row: Row) -> Baseline:
        """Whether the fp32 of one of its rows is the published one."""
        return check_baseline(row, self.details.get(row.cell, {}))

    def within(self, matches: Sequence[Matches]) -> NetworkRows | None:
        """The network with the rows of one table only, None if there is no such row.

        Rows on different numbers of samples do not belong into one line: the measured rows on the most samples stay,
        with those that have no figures; the others go to `left_out`.
        """
        rows = [row for row in self.rows if any(match(row) for match in matches)]
        most = max((row.samples or 0 for row in rows if measured(row)), default=0)
        fewer = [measured(row) and (row.samples or 0) < most for row in rows]
        kept = tuple(row for row, less in zip(rows, fewer, strict=True) if not less)
        left_out = tuple(row for row, less in zip(rows, fewer, strict=True) if less)
        return replace(self, rows=kept, left_out=left_out) if kept else None

    def matching(self, matches: Matches) -> list[Row]:
        """The measured rows of one column of a table, the one to show first.

        That is the row of the lowest seed, of most calibration samples there, and the newest of several such.
        """
        rows = [row for row in self.rows if measured(row) and matches(row)]
        newest_first = sorted(rows, key=lambda row: row.started or "", reverse=True)
        return sorted(newest_first, key=lambda row: (row.seed or 0, -(row.calibration_samples or 0)))

    def status(self, matches: Matches) -> str:
        """Why a column has no figure: the status of its newest row; empty where no row asks for it."""
        rows = [row for row in self.rows if matches(row)]
        if not rows:
            return ""
        status = max(rows, key=lambda row: row.started or "").status
        return "no figure" if status in ("ok", "") else status


def measured(row: Row) -> bool:
    """Whether a row has the figures that a table shows."""
    return row.status == "ok" and row.fp32 is not None and row.quantized is not None


def networks(results: Results) -> list[NetworkRows]:
    """The networks of the results, in the order of the paper's tables; those that it does not have come last."""
    groups = grouped(results.rows, lambda row: _identity(results, row))
    _join_unknown(groups)
    found = [
        NetworkRows(_label(identity, groups), identity[0], identity[1], tuple(rows), results.details)
        for identity, rows in groups.items()
    ]
    order = {model: place for place, model in enumerate(counterparts())}
    return sorted(found, key=lambda network: order.get(network.model, len(order)))


def labels_of_cells(found: Iterable[NetworkRows]) -> dict[str, str]:
    """The label of the network of each cell."""
    return {row.cell: network.label for network in found for row in network.rows}


def _identity(results: Results, row: Row) -> Identity:
    model = configured(results.details.get(row.cell, {}), "model")
    weights, checksum = str(model.get("weights") or ""), str(model.get("sha256") or "")
    task = configured(results.details.get(row.cell, {}), "task")
    rest = [
        f"{key}={value}" for key, value in sorted(model.items()) if key not in ("name", "family", "weights", "sha256")
    ]
    data = {**task, "sha256": str(task["sha256"])[:8]} if "sha256" in task else task
    rest += [f"task.{key}={value}" for key, value in sorted(data.items()) if key not in ("name", "calibration_samples")]
    return row.model, row.task, Path(weights).name if checksum else weights, checksum[:8], tuple(rest)


def _join_unknown(groups: dict[Identity, list[Row]]) -> None:
    """Rows that do not say their weights belong to the first network of that name and task that does."""
    for identity in list(groups):
        known = next((other for other in groups if other[:2] == identity[:2] and other[2]), None)
        if not identity[2] and known:
            groups[known] += groups.pop(identity)


def _label(identity: Identity, groups: Iterable[Identity]) -> str:
    """The model's name where it is alone, else with its task, weights, checksum and options as far as these differ."""
    others = [other for other in groups if other[0] == identity[0]]
    words = zip(identity[:4], *(other[:4] for other in others), strict=True)
    apart = [word[0] for word in words if len(set(word)) > 1 and word[0]]
    apart += [option for option in identity[4] if any(option not in other[4] for other in others)]
    return f"{identity[0]} ({', '.join(apart)})" if apart else identity[0]
