"""`quantbench check`: the gate. Fails when quantization costs more accuracy than it used to."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from quantbench import console
from quantbench.cli.arguments import Parser, columns
from quantbench.console import folded, say
from quantbench.errors import UserError

if TYPE_CHECKING:
    from quantbench.gate.verdict import Judged, Report, Rules
    from quantbench.report.tables.table import Table

HELP = """usage: quantbench check RESULTS --baseline BASELINE [OPTION ...]

Compares what quantization costs now with what it cost in the baseline, row by row. Each of the two is a results.csv or
a results folder; where both are folders with per-sample scores, rows are compared in pairs of samples.

  --max-drop 1%          how much more quantization may cost: percent of fp32, or points such as 0.5 (default 1%)
  --confidence 95        of the one-sided bounds, in percent
  --undecided-passes     exit code 0, not 3, where there are too few samples to tell
  --missing-passes       exit code 0, not 2, where rows of the baseline are not among the results
  --max-fp32-drift 0.2   say so where fp32 itself moved by more: points, or percent such as 1%
  --fp32-fails           exit code 1 there
  --ignore COLUMN,...    columns in which the rows of a pair may differ, such as seed or calib,calib_options
  --lower-is-better NAME, --higher-is-better NAME
                         of a metric whose name tells not, or tells the contrary; can be repeated
  --markdown FILE        the verdict for a CI's summary; added to the end of $GITHUB_STEP_SUMMARY
  --junit FILE           the verdict as JUnit's XML
  --json FILE            the verdict as JSON; - is the standard output, which then has nothing else
  --github               annotations for GitHub Actions

Exit codes: 0 held; 1 dropped; 2 unusable input, or rows of the baseline are missing; 3 too few samples to tell."""


DEFAULTS = {"--max-drop": "1%", "--confidence": "95", "--max-fp32-drift": "0.2", "--ignore": ""}


def main(arguments: list[str]) -> int:
    """Prints the verdict, writes it to the files asked for, and returns its exit code."""
    if "-h" in arguments or "--help" in arguments:
        folded(HELP)
        return 0
    parser = Parser("quantbench check", add_help=False, allow_abbrev=False)
    parser.add_argument("results", nargs="?", type=Path)
    for option, default in DEFAULTS.items():
        parser.add_argument(option, default=default)
    for option in ("--baseline", "--markdown", "--junit", "--json"):
        parser.add_argument(option, type=Path)
    for option in ("--undecided-passes", "--missing-passes", "--fp32-fails", "--github"):
        parser.add_argument(option, action="store_true")
    for option in ("--lower-is-better", "--higher-is-better"):
        parser.add_argument(option, action="append", default=[])
    options = parser.parse_args(arguments)
    if options.results is None or options.baseline is None:
        raise UserError("check what? `quantbench check results.csv --baseline baseline.csv`")

    from quantbench.gate.pairs import match
    from quantbench.gate.verdict import check
    from quantbench.results.load import load_results

    rules = _rules(options)
    new, baseline = load_results(options.results), load_results(options.baseline)
    report = check(match(baseline.rows, new.rows, columns(options.ignore)), baseline, new, rules)
    _write(report, options)
    return report.exit_code


def _rules(options: argparse.Namespace) -> Rules:
    from quantbench.gate.verdict import Rules, amount
    from quantbench.tasks.metrics.direction import plain

    try:
        confidence = float(options.confidence.rstrip("% "))
    except ValueError:
        confidence = 0.0
    if not 50 < confidence < 100:
        raise UserError(f"--confidence={options.confidence}: must be percent above 50 and below 100, such as 95")
    if both := {plain(name) for name in options.lower_is_better} & set(map(plain, options.higher_is_better)):
        raise UserError(f"{', '.join(sorted(both))}: --lower-is-better or --higher-is-better, not both")
    return Rules(
        max_drop=amount(options.max_drop, "--max-drop"),
        max_fp32_drift=amount(options.max_fp32_drift, "--max-fp32-drift"),
        confidence=confidence / 100,
        undecided_passes=options.undecided_passes,
        missing_passes=options.missing_passes,
        fp32_fails=options.fp32_fails,
        lower_is_better=tuple(options.lower_is_better),
        higher_is_better=tuple(options.higher_is_better),
    )


def _write(report: Report, options: argparse.Namespace) -> None:
    from quantbench.gate import formats
    from quantbench.results.files import write_text

    if options.json == Path("-"):
        print(formats.as_json(report), end="")
    else:
        _show(report)
        if options.json:
            write_text(options.json, formats.as_json(report))
    if options.markdown:
        formats.write_markdown(options.markdown, formats.markdown(report))
    if options.junit:
        write_text(options.junit, formats.junit(report))
    if options.github:
        stream = sys.stderr if options.json == Path("-") else sys.stdout
        print("\n".join(formats.github(report)), file=stream)
    if not report.rows:
        say("no row of the results is in the baseline: see the notes above")


def _show(report: Report) -> None:
    """Print the verdict, as a table where it fits; what needs a look stands last, and nothing is cut."""
    from quantbench.gate.formats import as_table, explanation, headline, notes

    if report.rows and not show_table(as_table(report), reverse=True):
        for row in reversed(report.rows):
            _show_row(row, report.rules.confidence)
    for note in notes(report):
        folded(note)
    if report.rows:
        folded(explanation(report))
    folded(headline(report))


def _show_row(row: Judged, confidence: float) -> None:
    from quantbench.gate.formats import sentence
    from quantbench.gate.verdict import Outcome
    from quantbench.results.recipe import named

    folded(f"{row.outcome.value}: {named(row.pair.new)}")
    if row.outcome is Outcome.HELD and not row.evidence.is_certain:
        folded(f"  {row.drop:+.2f} points, at most {row.high:+.2f} of {row.tolerance:.2f} ({row.pair.new.metric})")
    else:
        folded(f"  {sentence(row, confidence)}")


def show_table(table: Table, *, title: str = "", reverse: bool = False) -> bool:
    """Print a table below its title unless lines would have to be folded; returns whether it was printed."""
    from rich.console import Console

    from quantbench.report.tables.table import numeric_columns

    numbers = tuple(name for name, right in zip(table.columns, numeric_columns(table), strict=True) if right)
    shown = console.table(*table.columns, right=numbers)
    for row in reversed(table.rows) if reverse else table.rows:
        console.row(shown, *(f"{item.text}{' ↓' if item.large_drop else ''}" for item in row))
    if Console(width=console.PIPE_WIDTH).measure(shown).maximum > console.width():
        return False
    if title:
        folded(title)
    console.show(shown)
    return True
