"""Writes the tables of docs/gate.md from results/gate/*.csv, between the marks that name them."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from quantbench.report.render import markdown_rows
from quantbench.report.table import Item, Table

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gate.md"
BLOCK = re.compile(r"(<!-- (\w+) of results/gate/(\w+).csv -->\n).*?(<!-- end -->)", re.DOTALL)
Lines = list[dict[str, str]]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown_rows(Table("gate", "", "", tuple(columns), tuple(tuple(map(Item, row)) for row in rows)))


def shares(line: dict[str, str]) -> str:
    return " / ".join(f"{float(line[name]):.1f}" for name in ("held", "undecided", "dropped"))


def rates(lines: Lines) -> str:
    single = [line for line in lines if line["rows"] == "1"]
    drops = list(dict.fromkeys(line["true_drop"] for line in single))
    kinds = dict.fromkeys((line["mode"], line["churn"], line["samples"]) for line in single)
    found = {(line["mode"], line["churn"], line["samples"], line["true_drop"]): shares(line) for line in single}
    rows = [
        [mode, f"{churn} %", f"{int(n):,}", *(found[mode, churn, n, drop] for drop in drops)]
        for mode, churn, n in kinds
    ]
    return table(["by", "flipping", "samples", *(f"{drop}x" for drop in drops)], rows)


def gates(lines: Lines) -> str:
    many = [line for line in lines if line["rows"] != "1"]
    rows = [[line["mode"], f"{line['true_drop']}x", line["trials"], shares(line)] for line in many]
    return table(["by", "true drop", "gates", "held / may have dropped / dropped"], rows)


def reruns(lines: Lines) -> str:
    names = ("network", "what", "by", "comparisons", "held", "undecided", "dropped", "mean_drop", "largest_drop")
    rows = [[line[name] for name in (*names, "smallest_detectable_drop")] for line in lines]
    return table([*(name.replace("_", " ") for name in names), "would show"], rows)


TABLES = {"rates": rates, "gates": gates, "reruns": reruns}


def render(text: str) -> str:
    def block(found: re.Match[str]) -> str:
        with (ROOT / "results" / "gate" / f"{found[3]}.csv").open(encoding="utf-8", newline="") as file:
            return f"{found[1]}\n{TABLES[found[2]](list(csv.DictReader(file)))}\n{found[4]}"

    return BLOCK.sub(block, text)


if __name__ == "__main__":
    current = PAGE.read_text(encoding="utf-8")
    wanted = render(current)
    if "--check" in sys.argv:
        sys.exit(0 if current == wanted else f"{PAGE} differs from results/gate: run make docs")
    PAGE.write_text(wanted, encoding="utf-8")
