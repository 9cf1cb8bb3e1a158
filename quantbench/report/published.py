"""The figures that the paper published, and which of our networks stands beside which of the paper's."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True)
class Published:
    """One published figure. `value` is as written in the paper: a number, a word (task, metric) or a name."""

    network: str
    column: str
    value: str
    confidence: str  # verbatim, corroborated, consistent, recalled or doubtful
    note: str

    @property
    def number(self) -> float | None:
        """The value in the metric's points; None where it is no number."""
        try:
            return float(self.value)
        except ValueError:
            return None


@dataclass(frozen=True)
class Counterpart:
    """The paper's network that stands beside `model`.

    `relation` is `same` where it is the same network. `weights` names those that are the paper's too; empty where no
    such weights are known. `samples` (of the full evaluation) and `tolerance` (points of fp32) are for the baseline.
    """

    model: str
    network: str
    relation: str  # same, or family: another network of the same kind on other data, never compared as equal
    weights: str
    samples: int | None
    tolerance: float | None
    why: str


def paper_folder() -> Path:
    """The folder of the published figures: inside the installed package, or in results/ of a source checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "paper"
    return installed if installed.is_dir() else package.parent / "results" / "paper"


@cache
def published(table: str) -> Mapping[tuple[str, str], Published]:
    """The figures of one of the paper's tables ("2" to "10"), by (network, column)."""
    figures = {}
    for line in _lines("published.csv"):
        if line["table"] == table:
            figure = Published(*(line[name] for name in ("network", "column", "value", "confidence", "note")))
            figures[figure.network, figure.column] = figure
    return MappingProxyType(figures)


@cache
def counterparts() -> Mapping[str, Counterpart]:
    """The counterpart of each of our networks that has one, in the order in which a report lists them."""
    found = {}
    for line in _lines("networks.csv"):
        found[line["model"]] = Counterpart(
            model=line["model"],
            network=line["network"],
            relation=line["relation"],
            weights=line["weights"],
            samples=int(line["samples"]) if line["samples"] else None,
            tolerance=float(line["tolerance"]) if line["tolerance"] else None,
            why=line["why"],
        )
    return MappingProxyType(found)


def is_metric(metric: str | None, published: str) -> bool:
    """Whether a metric is the one that the paper writes in its own way: top1 and Top1, wacc and WAcc (=100-WER)."""
    name = published.partition("(")[0]
    return metric is not None and metric.replace("_", "").lower() == name.replace("-", "").replace(" ", "").lower()


def _lines(name: str) -> list[dict[str, str]]:
    with (paper_folder() / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
