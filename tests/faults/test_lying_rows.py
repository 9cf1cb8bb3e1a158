"""Results of anyone, given to check, compare and report: one line and exit code 2, and no command to what reads it.

Numbers that are none, and names to GitHub, JUnit and Markdown, are tested in tests/gate/test_side.py and
test_check_cli.py too.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from quantbench.cli import main as cli
from quantbench.report import build as build_module
from quantbench.results import load_side as side_module
from quantbench.results import store
from quantbench.results.record import COLUMNS, Record, Row
from tests.shared import ROW, refused

HOSTILE = (
    "=x::error::|<script>alert(1)</script>`%0A##[error]\x1b[31m\x1b]0;t\x07\x9b2J\u202e"
    "\r\n::set-env name=a::b&]]>[/x][link](x)$\\frac{"
)


@pytest.fixture
def place(folder, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    write("baseline.csv", ROW)
    return folder


def write(name: str, *rows: Row, columns: tuple[str, ...] = COLUMNS, **options: str) -> None:
    with Path(name).open("w", newline="", encoding=options.pop("encoding", "utf-8")) as file:
        writer = csv.writer(file, **options)
        writer.writerow(columns)
        writer.writerows([asdict(row)[column] for column in columns] for row in rows)


FILES = {
    "utf-16": (lambda: write("a.csv", ROW, encoding="utf-16"), "cannot be read as CSV"),
    "semicolons": (lambda: write("a.csv", ROW, delimiter=";"), "it has no column"),
    "tabs": (lambda: write("a.csv", ROW, delimiter="\t"), "it has no column"),
    "a column twice": (lambda: write("a.csv", ROW, columns=(*COLUMNS, "fp32")), "it has two columns fp32"),
    "one long line": (lambda: Path("a.csv").write_bytes(b"x" * 10_000_000), "cannot be read as CSV"),
    "NUL": (lambda: Path("a.csv").write_bytes(b"\0" * 10_000), "a.csv"),
    "a binary": (lambda: Path("a.csv").write_bytes(bytes(range(256)) * 100), "cannot be read as CSV"),
    "JSON": (lambda: Path("a.csv").write_text(json.dumps([asdict(ROW)])), "it has no column"),
    "HTML": (lambda: Path("a.csv").write_text("<html>\n<body>\n"), "it has no column"),
    "a huge number": (lambda: write("a.csv", replace(ROW, samples=10**400)), "samples=1000"),
    "a negative number": (lambda: write("a.csv", replace(ROW, samples=-5)), "fp32, quantized or samples is missing"),
    "a long text for a number": (lambda: write("a.csv", replace(ROW, fp32="9" * 100_000)), "no finite number"),
    "no text for a number": (lambda: write("a.csv", replace(ROW, fp32="\x1b[2J" * 10_000)), "fp32=[2J[2J"),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("command", ["check", "compare"])
def test_a_file_that_is_no_results(place, capsys, kind, command):
    make, said = FILES[kind]
    make()
    arguments = ("a.csv", "--baseline", "baseline.csv") if command == "check" else ("a.csv", "baseline.csv")
    message = refused(capsys, command, *arguments)
    assert said in message and len(message) < 400 and "\x1b" not in message


def test_a_mark_of_the_order_of_bytes_is_no_part_of_a_name(place, capsys):
    write("a.csv", ROW, encoding="utf-8-sig")
    assert cli.main(["check", "a.csv", "--baseline", "baseline.csv"]) == 0
    assert "same outputs" in capsys.readouterr().out


def test_a_file_of_samples_that_is_too_large(place, capsys, monkeypatch):
    for name in ("a", "b"):
        store.write_record(Path(name), Record(ROW))
        store.samples_path(Path(name), ROW.cell).write_bytes(b"sample,fp32\n" + b"x" * 1000)
    monkeypatch.setattr(side_module, "LARGEST_SAMPLES", 100)
    assert "larger than any that quantbench writes" in refused(capsys, "check", "a", "--baseline", "b")
    monkeypatch.undo()
    refused(capsys, "check", "a", "--baseline", "b")


def assert_harmless(text: str) -> None:
    assert not any(letter in text for letter in "\x1b\x07\x9b\u202e\r"), text[:500]
    assert "##[error]" not in text
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())


TEXTS = ("suite", "model", "task", "metric", "calib", "mapping", "skip_layers", "device", "git", "granularity")
BAD = dict.fromkeys(TEXTS, HOSTILE)


@pytest.mark.parametrize("narrow", [False, True])
def test_names_command_nothing_in_check_and_compare(place, capsys, monkeypatch, narrow):
    if narrow:
        monkeypatch.setattr("quantbench.console.width", lambda: 40)
    hostile = replace(ROW, **BAD)
    gone = replace(hostile, model="gone" + HOSTILE, cell=HOSTILE)
    fail = replace(hostile, model="bad" + HOSTILE, status="failed", error=HOSTILE, metric=None)
    write("a.csv", hostile, gone)
    write("b.csv", replace(hostile, quantized=40.0, change_low=-51.0, change_high=-49.0), fail)
    arguments = ["b.csv", "--baseline", "a.csv", "--markdown", "a.md", "--junit", "a.xml", "--json", "a.json"]
    assert cli.main(["check", *arguments]) in (1, 2)
    captured = capsys.readouterr()
    texts = [captured.out, captured.err, *(Path(name).read_text() for name in ("a.md", "a.xml", "a.json"))]
    assert cli.main(["compare", "a.csv", "b.csv", "--markdown", "c.md", "--figure", "c"]) == 0
    captured = capsys.readouterr()
    for text in (*texts, captured.out, captured.err, Path("c.md").read_text()):
        assert_harmless(text)
    ElementTree.parse("a.xml")
    assert "<script>" not in Path("a.md").read_text().replace("\\<script>", "")
    assert cli.main(["check", *arguments[:3], "--github"]) in (1, 2)
    for line in capsys.readouterr().out.splitlines():
        if "::" in line:
            assert line.startswith(("::error title=", "::warning title=", "::notice title=")) and line.count("::") == 2


def test_names_command_nothing_in_a_report(place, capsys, monkeypatch):
    monkeypatch.setattr(build_module, "figures", lambda _: [])
    store.write_record(Path("out"), Record(replace(ROW, **BAD), {"command": HOSTILE, "versions": {HOSTILE: HOSTILE}}))
    failed = replace(ROW, cell="bbbbbbbbbbbb", model=HOSTILE, status="failed", error=HOSTILE)
    store.write_record(Path("out"), Record(failed, {"traceback": HOSTILE}))
    (Path("out") / "cells" / "\x1b[31m.json").write_text("{")
    assert cli.main(["report", "results_dir=out"]) == 0
    captured = capsys.readouterr()
    assert_harmless(captured.out)
    assert_harmless(captured.err)
    page = Path("out/index.html").read_text()
    assert "<script>alert" not in page and "\x1b" not in page
    for path in Path("out/tables").iterdir():
        text = path.read_text()
        assert "\x1b" not in text
        assert path.suffix in (".csv", ".tex") or "<script>" not in text.replace("\\<script>", "")
