"""`quantbench compare`: two results side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.cli.arguments import Parser, columns
from quantbench.console import folded, say
from quantbench.errors import UserError

if TYPE_CHECKING:
    from quantbench.gate.compare import Compared
    from quantbench.report.tables.table import Table

HELP = """usage: quantbench compare A B [--ignore COLUMN,...] [--markdown FILE] [--figure FILE]

Shows what quantization costs in A and in B, row by row, and the difference with its 95 % interval: by the scores of the
same samples where both are results folders that have them, else by the intervals of the two results.csv.

  --ignore COLUMN,...  columns in which the rows of a pair may differ, such as seed or calib,calib_options
  --markdown FILE      the table as Markdown
  --figure FILE        the differences as FILE.png and FILE.svg

Exit codes: 0 shown; 2 unusable input, or nothing is in both."""


def main(arguments: list[str]) -> int:
    """Prints the table and writes the files asked for; 2 where no row is in both."""
    if "-h" in arguments or "--help" in arguments:
        folded(HELP)
        return 0
    parser = Parser("quantbench compare", add_help=False, allow_abbrev=False)
    parser.add_argument("results", nargs="*", type=Path)
    parser.add_argument("--ignore", default="")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args(arguments)
    if len(options.results) != 2:
        raise UserError("compare what? `quantbench compare A B`, each a results folder or a results.csv")

    from quantbench.cli.check import show_table
    from quantbench.gate import compare as comparison
    from quantbench.gate.pairs import match
    from quantbench.results.load import load_results
    from quantbench.results.recipe import shown

    a, b = (load_results(path) for path in options.results)
    matching = match(a.rows, b.rows, columns(options.ignore), ("A", "B"))
    compared = comparison.compare(matching, a, b)
    table = comparison.table(compared, matching)
    if compared and not show_table(table):
        for row in compared:
            for line in comparison.sentences(row):
                folded(line)
    for note in table.notes:
        folded(note)
    for problem in (*a.problems, *b.problems):
        say(shown(problem))
    if not compared:
        say("nothing to compare: no row is in both")
        return 2
    folded(table.caption)
    _write(compared, table, options.markdown, options.figure)
    return 0


def _write(compared: list[Compared], table: Table, markdown: Path | None, figure: Path | None) -> None:
    if markdown:
        from quantbench.report.formats.markdown import as_markdown
        from quantbench.results.files import write_text

        write_text(markdown, as_markdown(table))
    if figure:
        from quantbench.gate.compare_figure import comparison_figure
        from quantbench.report.figures.figure import save

        stem = figure.with_suffix("") if figure.suffix in (".png", ".svg") else figure
        for path in save(comparison_figure(compared, stem.name), stem.parent):
            print(path)
