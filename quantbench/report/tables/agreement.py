"""How often the quantized network answers as its fp32 self: finer than accuracy where few samples have a label."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.report.networks import NetworkRows
from quantbench.report.tables import entries
from quantbench.report.tables.columns import Column
from quantbench.report.tables.table import Item, Table

CAPTION = (
    "The percentage of evaluated samples, unlabelled ones included, for which the quantized network gives the same "
    "prediction as in fp32, right or wrong. A change of accuracy needs changed predictions, so this shows what the "
    "few labelled samples of a network cannot. Networks whose answers are numbers have none."
)


def agreement_table(found: Sequence[NetworkRows], name: str, title: str, columns: Sequence[Column]) -> Table:
    """A line a network, with the agreement in each of the columns of a table; no lines where nothing was measured."""
    parts = [network.within([column.matches for column in columns]) for network in found]
    lines = [_line(network, columns) for network in parts if network is not None and _may_agree(network)]
    if all(item.value is None for line in lines for item in line):
        lines = []
    return Table(
        name=name,
        title=title,
        caption=CAPTION,
        columns=("network", *(column.title for column in columns)),
        rows=tuple(lines),
        keys=1,
    )


def _may_agree(network: NetworkRows) -> bool:
    """Whether its answers can be equal, as far as is known: where nothing was measured, it may."""
    known = network.matching(lambda _: True)
    return not known or any(row.agreement is not None for row in known)


def _line(network: NetworkRows, columns: Sequence[Column]) -> tuple[Item, ...]:
    chosen = [next(iter(network.matching(column.matches)), None) for column in columns]
    figures = [
        entries.text(network.status(column.matches)) if row is None else entries.number(row.agreement)
        for column, row in zip(columns, chosen, strict=True)
    ]
    return (entries.text(network.label), *figures)
