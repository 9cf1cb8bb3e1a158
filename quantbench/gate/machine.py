"""A verdict for programs: JUnit's XML, annotations of GitHub Actions, JSON."""

from __future__ import annotations

import json
import math
from typing import Any
from xml.etree import ElementTree

from quantbench.gate.formats import headline, notes, sentence
from quantbench.gate.pairs import Alone
from quantbench.gate.verdict import Judged, Outcome, Report
from quantbench.results.recipe import named, recipe, shown


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
    tests = len(report.rows) + len(report.missing)
    for name, count in (("tests", tests), ("failures", failures), ("skipped", skipped), ("errors", 0)):
        suite.set(name, str(count))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, name: str, metric: str | None) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname="quantbench.gate", name=f"{name}: {shown(metric)}")


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


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_escaped(title, ':,')}::{_escaped(message)}"


def _escaped(text: str, more: str = "") -> str:
    """As GitHub's toolkit escapes data, and properties, where colons and commas are special too."""
    return "".join(f"%{ord(letter):02X}" if letter in f"%\r\n{more}" else letter for letter in text)


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
        "by": row.evidence.source,
    }


def _alone(alone: Alone) -> dict[str, Any]:
    row = alone.row
    return {**_identity(row.model, row.task, recipe(row), row.metric), "cell": shown(row.cell), "why": alone.why}


def _identity(model: str, task: str, said: str, metric: str | None) -> dict[str, str]:
    return {"model": shown(model), "task": shown(task), "recipe": said, "metric": shown(metric or "")}
