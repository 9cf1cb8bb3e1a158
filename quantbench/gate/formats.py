"""A verdict in words, as a table, and for programs: Markdown, JUnit's XML, annotations of GitHub Actions, JSON.

What comes from the rows is cleaned by `shown`: a results.csv may come from anyone.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from quantbench.gate.pairs import Alone, change
from quantbench.gate.verdict import Judged, Outcome, Report
from quantbench.report.formats.markdown import markdown_rows, markdown_text
from quantbench.report.tables.table import MISSING, Item, Table
from quantbench.results.files import unwritable, write_text
from quantbench.results.recipe import named, recipe, shown

SOURCES = {
    "samples": "by the scores of the same samples",
    "intervals": "by the intervals of the two rows",
    "same outputs": "the two runs gave exactly the same outputs",
}
MOST_ROWS = 500  # of a summary: GitHub takes 1 MiB
COLUMNS = (
    *("verdict", "network", "recipe", "metric", "samples", "fp32", "quantized", "change before", "change now"),
    *("drop", "at least", "at most", "allowed", "would show", "by"),
)


def headline(report: Report) -> str:
    """The outcome in one line."""
    if not report.rows:
        return "nothing to compare: no row is in both"
    parts = [
        f"{report.count(outcome)} {word}"
        for outcome, word in ((Outcome.DROPPED, "dropped"), (Outcome.UNDECIDED, "may have dropped"))
        if report.count(outcome)
    ]
    parts.append(f"{report.count(Outcome.HELD)} held")
    if report.missing:
        parts.append(f"{len(report.missing)} missing")
    rows = "1 row" if len(report.rows) == 1 else f"{len(report.rows)} rows"
    return f"{rows} compared: {', '.join(parts)}"


def sentence(row: Judged, confidence: float) -> str:
    """What was found of a row, its name and verdict apart."""
    old, new = row.pair.baseline, row.pair.new
    now = f"{new.metric} {_number(new.fp32)} in fp32, {_number(new.quantized)} quantized"
    if row.evidence.is_certain:
        return shown(f"{now}: {SOURCES['same outputs']}")
    changes = f"change {change(new):+.2f}, was {change(old):+.2f}"
    bounds = f"at least {row.low:+.2f}, at most {row.high:+.2f} ({100 * confidence:g} % each)"
    drop = f"a drop of {row.drop:+.2f} points, {bounds}, {row.tolerance:.2f} allowed"
    return f"{shown(now)}: {changes}: {drop}; {smallest(row)}; {SOURCES[row.evidence.source]}"


def smallest(row: Judged) -> str:
    """What the samples could have shown."""
    if math.isinf(row.detectable):
        return "so few samples show no drop at all"
    return f"{row.pair.new.samples:,} samples show a drop from {row.detectable:.2f} on"


def notes(report: Report) -> list[str]:
    """A line on everything that the verdicts do not say."""
    lines = [f"missing: {line}" for line in _listed(report.missing)]
    lines += [f"new, nothing to compare with: {line}" for line in _listed(report.added)]
    for row in report.rows:
        who = f"{named(row.pair.new)} ({shown(row.pair.new.metric)})"
        if row.fp32_moved:
            lines.append(
                f"fp32 moved by {row.fp32_drift:+.2f} points, {_number(row.pair.baseline.fp32)} -> "
                f"{_number(row.pair.new.fp32)}, which is no cost of quantization: {who}"
            )
        if row.improved:
            lines.append(f"improved: quantization costs {-row.drop:.2f} points less than before: {who}")
        elif row.outcome is Outcome.HELD and row.low > 0:
            lines.append(f"held, but beyond chance {row.drop:.2f} points more than before: {who}")
        if row.evidence.note:
            lines.append(f"compared by intervals, {row.evidence.note}: {who}")
    return lines + [shown(problem) for problem in report.problems]


def explanation(report: Report) -> str:
    """What the numbers are."""
    sure = f"{100 * report.rules.confidence:g} %"
    lower = dict.fromkeys(shown(row.pair.new.metric) for row in report.rows if row.evidence.lower_is_better)
    way = f" Better when lower: {', '.join(lower)}." if lower else ""
    return (
        "Change: quantized - fp32, in points. Drop: how much more quantization costs than in the baseline; at least, "
        f"at most: its one-sided {sure} bounds. Held: a drop above the allowed {report.rules.max_drop} is excluded at "
        f"{sure}. Dropped: less than that is excluded, corrected for the number of rows. May have dropped: too few "
        f"samples to tell. Would show: the smallest true drop that is called dropped with probability 80 %.{way}"
    )


def as_table(report: Report) -> Table:
    """A line a row."""
    return Table(
        name="gate",
        title="Does quantization cost more than it did?",
        caption=explanation(report),
        columns=COLUMNS,
        rows=tuple(_line(row) for row in report.rows),
        notes=tuple(notes(report)),
    )


def markdown(report: Report) -> str:
    """A summary of a CI run, no longer than GitHub takes."""
    table = as_table(report)
    kept = replace(table, rows=table.rows[:MOST_ROWS])
    left_out = len(report.rows) - len(kept.rows)
    parts = [f"### Quantization gate: {headline(report)}", markdown_rows(kept)]
    if left_out:
        parts.append(f"{left_out} more rows left out, all of them {report.rows[MOST_ROWS].outcome.value} or better.")
    listed = [f"- {markdown_text(note)}" for note in table.notes]
    if len(listed) > MOST_ROWS:
        listed = [*listed[:MOST_ROWS], f"- and {len(listed) - MOST_ROWS} more"]
    parts += ["\n".join(listed)] if listed else []
    return "\n\n".join([*parts, markdown_text(table.caption)]) + "\n"


def write_markdown(path: Path, text: str) -> None:
    """Write a summary; what is not a plain file, or is GitHub's summary of this step, gets it at its end.

    Raises:
        Unwritable: it cannot be written.
    """
    if not path.exists() or (path.is_file() and str(path) != os.environ.get("GITHUB_STEP_SUMMARY")):
        return write_text(path, text)
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise unwritable(path, error) from error


def junit(report: Report) -> str:
    """A test a row: dropped and missing ones fail, undecided ones too unless they pass, and are skipped then."""
    rules = report.rules
    suite = ElementTree.Element("testsuite", name="quantbench check")
    failures = skipped = 0
    for row in report.rows:
        case = _case(suite, named(row.pair.new), row.pair.new.metric)
        said = sentence(row, rules.confidence)
        if row.outcome is Outcome.DROPPED or (row.outcome is Outcome.UNDECIDED and not rules.undecided_passes):
            ElementTree.SubElement(case, "failure", type=row.outcome.value, message=f"{row.outcome.value}: {said}")
            failures += 1
        elif rules.fp32_fails and row.fp32_moved:
            ElementTree.SubElement(case, "failure", type="fp32", message=f"fp32 moved by {row.fp32_drift:+.2f} points")
            failures += 1
        elif row.outcome is Outcome.UNDECIDED:
            ElementTree.SubElement(case, "skipped", message=f"{row.outcome.value}: {said}")
            skipped += 1
        else:
            ElementTree.SubElement(case, "system-out").text = said
    for alone in report.missing:
        case = _case(suite, named(alone.row), alone.row.metric)
        kind = "skipped" if rules.missing_passes else "failure"
        ElementTree.SubElement(case, kind, message=f"not measured: {alone.why}")
        failures, skipped = failures + (kind == "failure"), skipped + (kind == "skipped")
    counts = {"tests": len(suite), "failures": failures, "skipped": skipped, "errors": 0}
    suite.attrib.update({name: str(count) for name, count in counts.items()})
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def github(report: Report) -> list[str]:
    """Commands of GitHub Actions: an error a dropped or missing row, a warning an undecided one or moved fp32."""
    rules = report.rules
    lines = []
    for row in report.rows:
        name = named(row.pair.new)
        said = f"{name}: {sentence(row, rules.confidence)}"
        if row.outcome is Outcome.DROPPED:
            lines.append(_command("error", "accuracy dropped", said))
        elif row.outcome is Outcome.UNDECIDED:
            kind = "warning" if rules.undecided_passes else "error"
            lines.append(_command(kind, "accuracy may have dropped: too few samples to tell", said))
        if row.fp32_moved:
            kind = "error" if rules.fp32_fails else "warning"
            lines.append(_command(kind, "fp32 moved", f"{name}: by {row.fp32_drift:+.2f} points"))
    kind = "warning" if rules.missing_passes else "error"
    lines += [_command(kind, "not measured", f"{named(alone.row)}: {alone.why}") for alone in report.missing]
    return [*lines, _command("notice", "quantization gate", headline(report))]


def as_json(report: Report) -> str:
    """Everything, numbers unrounded; null is a number that is not finite."""
    content = {
        "verdict": headline(report),
        "exit_code": report.exit_code,
        "max_drop": str(report.rules.max_drop),
        "confidence": 100 * report.rules.confidence,
        "rows": [_row(row) for row in report.rows],
        "missing": [_alone(alone) for alone in report.missing],
        "added": [_alone(alone) for alone in report.added],
        "notes": notes(report),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _listed(rows: Iterable[Alone]) -> list[str]:
    """A line a network, metric and reason, with every recipe."""
    recipes: dict[tuple[str, str], list[str]] = {}
    for alone in rows:
        row = alone.row
        network = f"{shown(row.model)} on {shown(row.task)} ({shown(row.metric or row.status)})"
        recipes.setdefault((network, alone.why), []).append(recipe(row))
    return [f"{network}: {why}: {'; '.join(said)}" for (network, why), said in recipes.items()]


def _line(row: Judged) -> tuple[Item, ...]:
    old, new = row.pair.baseline, row.pair.new
    texts: Iterable[str] = (row.outcome.value, shown(new.model), recipe(new))
    certain = row.evidence.is_certain
    numbers = (
        Item(_number(new.fp32), new.fp32),
        Item(_number(new.quantized), new.quantized),
        _item(change(old)),
        _item(change(new)),
        _item(row.drop),
        _item(0.0 if certain else row.low),
        _item(0.0 if certain else row.high),
        _item(row.tolerance, ""),
        _item(row.detectable, ""),
    )
    metric = Item(f"{shown(new.metric)} on {shown(new.task)}")
    return (*map(Item, texts), metric, Item(f"{new.samples:,}"), *numbers, Item(row.evidence.source))


def _item(value: float, sign: str = "+") -> Item:
    return Item(f"{value:{sign}.2f}", value) if math.isfinite(value) else Item(MISSING)


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def _case(suite: ElementTree.Element, name: str, metric: str | None) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname="quantbench.gate", name=f"{name}: {shown(metric)}")


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_escaped(title, ':,')}::{_escaped(message)}"


def _escaped(text: str, more: str = "") -> str:
    """As GitHub's toolkit escapes data, and properties, where colons and commas are special too."""
    return "".join(f"%{ord(letter):02X}" if letter in f"%\r\n{more}" else letter for letter in text)


def _row(row: Judged) -> dict[str, Any]:
    old, new = row.pair.baseline, row.pair.new
    numbers = {
        "drop": row.drop,
        "drop_at_least": row.low,
        "drop_at_most": row.high,
        "allowed": row.tolerance,
        "smallest_detectable_drop": row.detectable,
        "p_value": row.p_value,
        "fp32_drift": row.fp32_drift,
    }
    return {
        "outcome": row.outcome.value,
        **_identity(new.model, new.task, recipe(new), new.metric),
        "samples": new.samples,
        "cell": shown(new.cell),
        "baseline_cell": shown(old.cell),
        "fp32": new.fp32,
        "quantized": new.quantized,
        "baseline_fp32": old.fp32,
        "baseline_quantized": old.quantized,
        "agreement": new.agreement,
        "baseline_agreement": old.agreement,
        **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
        "fp32_moved": row.fp32_moved,
        "improved": row.improved,
        "lower_is_better": row.evidence.lower_is_better,
        "by": row.evidence.source,
    }


def _alone(alone: Alone) -> dict[str, Any]:
    row = alone.row
    return {**_identity(row.model, row.task, recipe(row), row.metric), "cell": shown(row.cell), "why": alone.why}


def _identity(model: str, task: str, said: str, metric: str | None) -> dict[str, str]:
    return {"model": shown(model), "task": shown(task), "recipe": said, "metric": shown(metric or "")}
