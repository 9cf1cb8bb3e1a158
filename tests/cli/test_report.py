from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from quantbench.cli import main as cli
from quantbench.cli import plot
from quantbench.errors import UserError
from quantbench.quant.histogram import equal_bins
from quantbench.report import build as build_module
from quantbench.report.figures.figure import Figure, blank
from quantbench.results import store
from quantbench.results.record import Record, Row
from tests.cli.hostile import HOSTILE, HOSTILE_TEXTS, assert_harmless
from tests.shared import ROW, refused

ROOT = Path(__file__).resolve().parents[2]

FAILED = replace(ROW, cell="bbbbbbbbbbbb", status="failed", error="no data", fp32=None, quantized=None, change=None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; reports in it have one small figure, as drawing takes seconds."""

    def figure() -> Figure:
        drawing = blank(1.0)
        drawing.subplots()
        return Figure("figure1", "one", "caption", "alt", drawing)

    monkeypatch.setattr(build_module, "figures", lambda _: [figure()])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, *rows: Row) -> None:
    for row in rows:
        store.write_record(folder, Record(row, {"command": f"quantbench run model={row.model}"}))


def test_report_and_plot_answer_help_at_once():
    code = (
        "import sys; from quantbench.cli.main import main; main(['report', '-h']); main(['plot', '--help']);"
        "assert not {'torch', 'hydra', 'numpy', 'matplotlib', 'jinja2'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: quantbench report" in done.stdout
    assert "usage: quantbench plot" in done.stdout


def test_report_writes_and_says_where(folder, capsys):
    write(folder / "quantbench-results", ROW)
    assert cli.main(["report"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert "desk: 1 network, 1 cell: 1 measured, 0 failed, 0 not supported" in lines
    assert "page:     quantbench-results/index.html" in lines
    assert "figures:  quantbench-results/figures (1)" in lines
    (ours,) = [line for line in lines if line.startswith("resnet20_fashion")]
    assert "90.00 ±2.00 ↓" in ours
    assert {"index.html", "tables", "figures"} <= set(os.listdir("quantbench-results"))
    assert "quantbench run model=resnet20_fashion" in Path("quantbench-results/index.html").read_text()


def test_report_cuts_no_number_on_a_narrow_terminal(folder, capsys, monkeypatch):
    write(folder, ROW)
    monkeypatch.setattr("quantbench.console.width", lambda: 60)
    assert cli.main(["report", "results_dir=."]) == 0
    out = capsys.readouterr().out
    assert "table5 needs " in out
    assert "±" not in out


def test_report_names_every_problem_and_still_writes(folder, capsys):
    write(folder, ROW, FAILED)
    cells = folder / "cells"
    (cells / "cccccccccccc.json").write_text(json.dumps({"schema": 1, "row": asdict(ROW)})[:200])
    (cells / "dddddddddddd.json").write_text(json.dumps({"schema": 999, "row": {}}))
    assert cli.main(["report", "results_dir=."]) == 0
    errors = capsys.readouterr().err.splitlines()
    page = (folder / "index.html").read_text()
    assert len(errors) == 3
    for name in ("cccccccccccc.json", "dddddddddddd.json", "no data"):
        assert sum(name in line for line in errors) == 1
        assert name in page


def test_names_command_nothing_in_a_report(folder, capsys):
    store.write_record(
        Path("out"),
        Record(replace(ROW, **HOSTILE_TEXTS), {"command": HOSTILE, "versions": {HOSTILE: HOSTILE}}),
    )
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


def test_report_of_failures_only(folder, capsys):
    write(folder, FAILED)
    assert cli.main(["report", "results_dir=."]) == 2
    assert "quantbench: no cell of . was measured" in capsys.readouterr().err
    assert "no data" in (folder / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["results_di=x"], "no key results_di: did you mean results_dir?"),
        (["x"], "cannot read x: write results_dir=FOLDER"),
        (["results_dir="], "must be the name of a folder"),
        (["results_dir=nowhere"], "nowhere: there is no such file"),
        (["results_dir=damaged"], "eeeeeeeeeeee.json"),
    ],
)
def test_report_refuses_in_one_line(arguments, expected, folder, capsys):
    (folder / "damaged" / "cells").mkdir(parents=True)
    (folder / "damaged" / "cells" / "eeeeeeeeeeee.json").write_text("{")
    assert expected in refused(capsys, "report", *arguments)


def test_report_says_in_one_line_that_it_cannot_write(folder, capsys):
    write(folder, ROW)
    (folder / "tables").write_text("in the way")
    assert "tables" in refused(capsys, "report", "results_dir=.")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "plot what? histogram or paper"),
        (["histgram"], "no plot histgram: did you mean histogram?"),
        (["histogram"], "site=SITE is missing: `quantbench inspect model=resnet20_fashion` lists the layers"),
        (["histogram", "site="], "site= is empty"),
        (["histogram", "site=conv1", "modle=x"], "no override modle: did you mean model?"),
        (["histogram", "-m", "site=conv1", "calib=max,mse"], "leave out -m"),
        (["histogram", "site=conv1", "activation_bits=9"], "activation_bits=9: must be an integer from 2 to 8"),
        (["paper", "model=resnet18"], "takes out=FOLDER only"),
        (["paper", "site=x"], "takes out=FOLDER only"),
    ],
)
def test_plot_refuses_in_one_line(arguments, expected, folder, capsys):
    assert expected in refused(capsys, "plot", *arguments)
    assert os.listdir(folder) == []


SITES = ["conv1.input", "layer1.0.conv1.input", "layer1.0.conv2.input", "attention.lhs", "attention.rhs", "fc.input"]


def test_find_site_takes_a_site_or_a_layer():
    assert plot.find_site("layer1.0.conv2.input", SITES, "net") == "layer1.0.conv2.input"
    assert plot.find_site("layer1.0.conv2", SITES, "net") == "layer1.0.conv2.input"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("attention", "did you mean attention.lhs or attention.rhs?"),
        ("conv2", "did you mean layer1.0.conv2.input?"),
        ("layer1.0.convl", "did you mean layer1.0.conv"),
        ("conv1.weight", "weights have no histogram"),
        ("zzz", "`quantbench inspect model=net` lists them"),
    ],
)
def test_find_site_names_the_nearest(wanted, expected):
    with pytest.raises(UserError) as refusal:
        plot.find_site(wanted, SITES, "net")
    assert expected in str(refusal.value)


def test_plot_histogram_draws_and_lists_the_ranges(folder, capsys, monkeypatch):
    counts = np.zeros(64, np.int64)
    counts[:32], counts[63] = 1000, 1
    seen = []

    def histogram(cell, wanted):
        seen.append((cell.model["name"], cell.task["calibration_samples"], cell.activation_bits, wanted))
        return "conv1.input", equal_bins(counts, 0.125, -7.0, 8.0)

    monkeypatch.setattr(plot, "_histogram", histogram)
    arguments = ["site=conv1", "out=plots", "activation_bits=4", "task.calibration_samples=64", "activations=false"]
    assert cli.main(["plot", "histogram", *arguments]) == 0
    assert seen == [("resnet20_fashion", 64, 4, "conv1")]
    lines = capsys.readouterr().out.splitlines()
    stem = "plots/histogram_resnet20_fashion_conv1.input"
    assert lines[:2] == [f"{stem}.png", f"{stem}.svg"]
    assert sorted(os.listdir("plots")) == [Path(line).name for line in lines[:2]]
    ranges = dict(line.rsplit(maxsplit=1) for line in lines[3:])
    assert ranges["max"] == "8"
    assert 3.875 <= float(ranges["percentile 99.9"]) <= 4  # the bin that holds the 31,969th of 32,001 values


@pytest.mark.slow
def test_plot_histogram_of_a_shipped_network(folder, capsys):
    assert cli.main(["plot", "histogram", "site=fc", "task.calibration_samples=64"]) == 0
    assert sorted(os.listdir(folder)) == [f"histogram_resnet20_fashion_fc.input.{kind}" for kind in ("png", "svg")]


@pytest.mark.slow
def test_plot_paper_writes_figures_1_4_and_7(folder, capsys):
    assert cli.main(["plot", "paper", "out=plots"]) == 0
    assert [path.split("_")[0] for path in sorted(os.listdir("plots"))] == ["figure1"] * 2 + ["figure4"] * 2 + [
        "figure7"
    ] * 2
