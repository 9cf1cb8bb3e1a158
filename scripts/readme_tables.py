"""Writes the README's tables from results/desk/results.csv, between the marks that name them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from quantbench.report.formats.markdown import markdown_rows
from quantbench.report.tables import tables
from quantbench.results.load import load_results

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DESK = ROOT / "results" / "desk"
BLOCK = re.compile(r"(<!-- (\w+) of results/desk/results.csv -->\n).*?(<!-- end -->)", re.DOTALL)


def render(text: str) -> str:
    """The README with every marked block written anew; ends the program if there is none."""
    if not BLOCK.search(text):
        sys.exit(f"{README} has no block <!-- TABLE of results/desk/results.csv --> any more")
    made = {table.name: table for table in tables(load_results(DESK / "results.csv"))}
    return BLOCK.sub(lambda block: f"{block[1]}\n{markdown_rows(made[block[2]])}\n{block[3]}", text)


if __name__ == "__main__":
    current = README.read_text(encoding="utf-8")
    wanted = render(current)
    if "--check" in sys.argv:
        sys.exit(0 if current == wanted else f"{README} differs from {DESK / 'results.csv'}: run make docs")
    README.write_text(wanted, encoding="utf-8")
