"""Writes the tables of docs/gate.md and docs/faults.md from what was measured, between the marks that name them."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from quantbench.report.formats.markdown import markdown_rows
from quantbench.report.tables.table import Item, Table

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "docs" / name for name in ("gate.md", "faults.md")]
BLOCK = re.compile(r"(<!-- (\w+) of (results/\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
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


def kills(found: dict[str, Any]) -> str:
    hit = [[f"killed {phase}", str(count)] for phase, count in sorted(found["phases"].items())]
    seen = {
        "sweeps that then finished": found["sweeps_finished"],
        "cells compared with the undisturbed sweep": found["cells_compared"],
        "finished records looked at after a kill": found["records_checked"],
        "records lost or changed": found["lost"],
        "torn files": found["torn"],
        "cells with other figures": found["differing"],
        "left-over files after a sweep that finished": found["leftovers"],
    }
    counts = [[what, f"{count:,}"] for what, count in seen.items()]
    return table(["what", "times"], [["kills", str(found["kills"])], *hit, *counts])


TABLES: dict[str, Callable[[Any], str]] = {"rates": rates, "gates": gates, "reruns": reruns, "kills": kills}


def read(path: Path) -> Any:
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def render(text: str) -> str:
    return BLOCK.sub(lambda found: f"{found[1]}\n{TABLES[found[2]](read(ROOT / found[3]))}\n{found[4]}", text)


if __name__ == "__main__":
    for page in PAGES:
        current = page.read_text(encoding="utf-8")
        wanted = render(current)
        if "--check" in sys.argv and current != wanted:
            sys.exit(f"{page} differs from results/: run make docs")
        page.write_text(wanted, encoding="utf-8")
    sys.exit(0)
