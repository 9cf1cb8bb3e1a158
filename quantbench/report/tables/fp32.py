"""The networks and their fp32 accuracy: the paper's table 2."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.report.networks import NetworkRows
from quantbench.report.published import is_metric, published
from quantbench.report.tables import entries
from quantbench.report.tables.paper import left_out
from quantbench.report.tables.table import MISSING, Item, Table
from quantbench.results.record import Row
from quantbench.results.stats import wilson
from quantbench.tasks.metrics import METRICS


def table2(found: Sequence[NetworkRows]) -> Table:
    """The paper's table 2: a line a network, and whether its fp32 is the published one."""
    parts = [part for network in found if (part := network.within([lambda _: True]))]
    rows, notes = [], list(left_out(parts))
    for network in parts:
        shown = next(iter(network.matching(lambda _: True)), None)
        rows.append(_baseline_row(network, shown))
        if shown is not None and network.is_papers and network.baseline.verdict != "ok":
            mark = "‡ " if network.baseline.verdict == "off" else ""
            notes.append(f"{mark}{network.label}: baseline {network.baseline.verdict}: {network.baseline.sentence}")
    legend = f" {entries.CONFIDENCE_LEGEND}" if any(item.confidence for row in rows for item in row) else ""
    meaning = entries.explained(row.metric for network in parts for row in network.rows)
    return Table(
        name="table2",
        title="Networks and their fp32 accuracy (the paper's table 2)",
        caption="kind is what the paper's table 2 calls task; the task names the data too. fp32 is the metric in its "
        f"points over the samples. {meaning}low and high are the 95 % interval of fp32 (Wilson), as if the samples "
        "were drawn at random, and are given for shares of right answers only. The published fp32 stands where the "
        "paper has the same network with the same metric; the baseline is ok where ours lies within the tolerance of "
        f"it with the same weights on all samples, off (‡) where it does not, unchecked where one of these is not "
        f"given.{legend}",
        columns=("network", "kind", "task", "metric", "samples", "fp32", "low", "high", "published fp32", "baseline"),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _baseline_row(network: NetworkRows, row: Row | None) -> tuple[Item, ...]:
    status = network.status(lambda _: True)
    figure = None
    if network.counterpart is not None and network.is_papers:
        theirs = published("2").get((network.counterpart.network, "metric"))
        if row is None or theirs is None or is_metric(row.metric, theirs.value):
            figure = published("2").get((network.counterpart.network, "fp32"))
    metric = METRICS.get(row.metric or "") if row else None
    beside, nothing = entries.paper(figure), entries.text("")
    head = (entries.text(network.label), entries.text(metric.kind if metric else ""), entries.text(network.task))
    if row is None or row.fp32 is None:
        return (*head, nothing, nothing, entries.text(status), nothing, nothing, beside, entries.text(status))
    low = high = None
    if metric is not None and metric.share and row.samples:
        low, high = wilson(row.fp32, row.samples)
    return (
        *head,
        entries.text(row.metric),
        entries.number(row.samples, digits=0),
        entries.fp32(row, network.baseline),
        entries.number(low),
        entries.number(high),
        beside,
        Item(network.baseline.verdict if network.is_papers else MISSING, note=network.baseline.sentence),
    )
