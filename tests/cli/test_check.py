from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from quantbench.cli import main as cli
from quantbench.results import store
from quantbench.results.record import COLUMNS, Record, Row
from tests.cli.hostile import HOSTILE, HOSTILE_TEXTS, assert_harmless
from tests.gate.gate_rows import answers, frame, measured
from tests.shared import ROW, refused

ROOT = Path(__file__).resolve().parents[2]
GOOD = measured(*answers(2000, 140, 9, 7))
HELD = replace(measured(*answers(2000, 140, 10, 7)), cell="bbbbbbbbbbbb")
WORSE = replace(measured(*answers(2000, 140, 90, 7)), cell="bbbbbbbbbbbb")
UNSURE = replace(measured(*answers(2000, 140, 28, 7)), cell="bbbbbbbbbbbb")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    write("baseline.csv", GOOD)
    return tmp_path


def write(name: str, *rows: Row) -> None:
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def check(*options: str) -> int:
    return cli.main(["check", "results.csv", "--baseline", "baseline.csv", *options])


def test_help_is_at_once():
    code = (
        "import sys; from quantbench.cli.main import main; main(['check', '-h']); main(['compare', '--help']);"
        "assert not {'torch', 'hydra', 'numpy', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: quantbench check" in done.stdout and "usage: quantbench compare" in done.stdout


@pytest.mark.parametrize(
    ("rows", "options", "code", "said"),
    [
        ([HELD], [], 0, "1 row compared: 1 held"),
        ([WORSE], [], 1, "1 row compared: 1 dropped, 0 held"),
        ([UNSURE], [], 3, "1 row compared: 1 may have dropped, 0 held"),
        ([UNSURE], ["--undecided-passes"], 0, "1 may have dropped"),
        ([UNSURE], ["--max-drop", "3"], 0, "1 held"),
        ([replace(HELD, model="other")], [], 2, "nothing to compare: no row is in both"),
        ([replace(HELD, seed=3)], ["--ignore", "seed"], 0, "1 held"),
        ([replace(HELD, fp32=90.0, quantized=89.9)], [], 0, "fp32 moved by -3.00 points"),
        ([replace(HELD, fp32=90.0, quantized=89.9)], ["--fp32-fails"], 1, "fp32 moved by -3.00 points"),
        ([replace(HELD, fp32=92.9, quantized=92.75)], ["--fp32-fails", "--max-fp32-drift", "1%"], 0, "1 held"),
    ],
)
def test_outcomes_and_exit_codes(folder, capsys, rows, options, code, said):
    write("results.csv", *rows)
    assert check(*options) == code
    assert said in capsys.readouterr().out


def test_a_missing_row_is_named_and_fails_unless_allowed(folder, capsys):
    write("baseline.csv", GOOD, replace(GOOD, cell="cccccccccccc", model="gone"))
    failed = replace(ROW, cell="d", model="gone", status="failed", error="no data", metric=None, fp32=None)
    write("results.csv", HELD, failed, replace(HELD, cell="e", model="fresh"))
    assert check() == 2
    out = capsys.readouterr().out
    assert "missing: gone on fashion_mnist (top1): failed: no data: w8 per_channel, a8 max" in out
    assert "new, nothing to compare with: fresh on fashion_mnist" in out
    assert out.endswith("1 row compared: 1 held, 1 missing\n")
    assert check("--missing-passes") == 0


def test_folders_are_compared_by_samples(folder, capsys):
    for name, lost, cell in (("before", 9, "a"), ("now", 12, "b")):
        scores = answers(2000, 140, lost, 7)
        store.write_record(Path(name), Record(measured(*scores, cell=cell), {}, frame(*scores, noise=lost)))
    assert cli.main(["check", "now", "--baseline", "before", "--json", "-"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["by"], row["outcome"], row["drop"]) == ("samples", "held", pytest.approx(0.15))
    assert row["drop_at_most"] < row["allowed"] < row["smallest_detectable_drop"]
    Path("now/cells/b.samples.csv").write_text("torn")
    assert "run the cell again" in refused(capsys, "check", "now", "--baseline", "before")


def test_files_for_a_ci(folder, capsys, monkeypatch):
    write("results.csv", WORSE)
    files = ["--markdown", "gate.md", "--junit", "gate.xml", "--json", "gate.json"]
    assert check(*files, "--github") == 1
    out = capsys.readouterr().out
    assert "::error title=accuracy dropped::resnet20_fashion on fashion_mnist, w8 per_channel, a8 max: top1" in out
    assert "::notice title=quantization gate::1 row compared: 1 dropped, 0 held" in out
    assert (
        Path("gate.md").read_text().startswith("### Quantization gate: 1 row compared: 1 dropped, 0 held\n\n| verdict")
    )
    assert json.loads(Path("gate.json").read_text())["exit_code"] == 1
    suite = ElementTree.parse("gate.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert suite[0][0].get("message", "").startswith("dropped: top1 93.00 in fp32, 88.85 quantized")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "gate.md")
    check("--markdown", "gate.md")
    assert Path("gate.md").read_text().count("### Quantization gate") == 2


def test_undecided_rows_that_pass_are_warnings_and_skipped(folder, capsys):
    write("results.csv", UNSURE)
    assert check("--undecided-passes", "--github", "--junit", "gate.xml") == 0
    assert "::warning title=accuracy may have dropped%3A too few samples to tell::" in capsys.readouterr().out
    suite = ElementTree.parse("gate.xml").getroot()[0]
    assert (suite.get("failures"), suite.get("skipped"), suite[0][0].tag) == ("0", "1", "skipped")


@pytest.mark.parametrize("narrow", [False, True])
def test_names_command_nothing_in_check_and_compare(folder, capsys, monkeypatch, narrow):
    if narrow:
        monkeypatch.setattr("quantbench.console.width", lambda: 40)
    hostile = replace(ROW, **HOSTILE_TEXTS)
    gone = replace(hostile, model="gone" + HOSTILE, cell=HOSTILE)
    fail = replace(hostile, model="bad" + HOSTILE, status="failed", error=HOSTILE, metric=None)
    write("a.csv", hostile, gone)
    write("b.csv", replace(hostile, quantized=40.0, change_low=-51.0, change_high=-49.0), fail)
    arguments = ["b.csv", "--baseline", "a.csv", "--markdown", "a.md", "--junit", "a.xml", "--json", "a.json"]
    assert_harmless(refused(capsys, "check", *arguments))  # nobody knows the metric
    assert cli.main(["check", *arguments, f"--higher-is-better={hostile.metric}"]) in (1, 2)
    captured = capsys.readouterr()
    texts = [captured.out, captured.err, *(Path(name).read_text() for name in ("a.md", "a.xml", "a.json"))]
    assert cli.main(["compare", "a.csv", "b.csv", "--markdown", "c.md", "--figure", "c"]) == 0
    captured = capsys.readouterr()
    for text in (*texts, captured.out, captured.err, Path("c.md").read_text()):
        assert_harmless(text)
    ElementTree.parse("a.xml")
    summary = Path("a.md").read_text()
    assert "<script>" not in summary.replace("\\<script>", "")
    line = next(line for line in summary.splitlines() if line.startswith("| dropped"))
    assert line.replace("\\|", "").count("|") == summary.splitlines()[2].count("|")
    assert cli.main(["check", *arguments[:3], "--github"]) in (1, 2)
    for line in capsys.readouterr().out.splitlines():
        if "::" in line:
            assert line.startswith(("::error title=", "::warning title=", "::notice title=")) and line.count("::") == 2


def test_forty_columns_cut_nothing(folder, capsys, monkeypatch):
    monkeypatch.setattr("quantbench.console.width", lambda: 40)
    write("results.csv", UNSURE)
    check()
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 40
    assert "may have dropped: resnet20_fashion on" in out
    assert "a drop of +0.95 points" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["results.csv"], "check what?"),
        (["results.csv", "--baseline", "nowhere"], "nowhere: there is no such file"),
        (["results.csv", "--baseline", "empty"], "empty: no record and no results.csv"),
        (["results.csv", "--baseline", "baseline.csv", "--max-drop", "lots"], "--max-drop=lots: must be points"),
        (["results.csv", "--baseline", "baseline.csv", "--confidence", "0.95"], "--confidence=0.95: must be percent"),
        (["results.csv", "--baseline", "baseline.csv", "--ignore", "modle"], "--ignore modle: did you mean model?"),
        (["results.csv", "--baseline", "baseline.csv", "--max-dorp", "1"], "--max-dorp"),
    ],
)
def test_check_refuses_in_one_line(folder, capsys, arguments, said):
    write("results.csv", HELD)
    Path("empty").mkdir()
    assert said in refused(capsys, "check", *arguments)


def test_a_file_that_cannot_be_written_is_said_below_the_verdict(folder, capsys):
    write("results.csv", HELD)
    assert check("--junit", "results.csv/x") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_two_csv_files_need_no_torch(folder):
    write("results.csv", HELD)
    code = (
        "import sys; from quantbench.cli.main import main;"
        "assert main(['check', 'results.csv', '--baseline', 'baseline.csv']) == 0;"
        "assert not {'torch', 'hydra', 'matplotlib', 'scipy.stats'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_compare_shows_both_and_what_is_in_one_only(folder, capsys):
    write("a.csv", GOOD, replace(GOOD, model="gone"))
    write("b.csv", WORSE, replace(WORSE, model="fresh"))
    assert cli.main(["compare", "a.csv", "b.csv", "--markdown", "c.md", "--figure", "plot.png"]) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("resnet20_fashion")]
    assert "-0.10" in line and "-4.15" in line and "-4.05 (" in line and line.endswith("intervals")
    assert "in A only: gone on" in out and "in B only: fresh on" in out
    assert "| resnet20_fashion |" in Path("c.md").read_text()
    assert Path("plot.png").stat().st_size > 5000 and Path("plot.svg").exists()


def test_compare_on_a_narrow_terminal_and_of_nothing_in_common(folder, capsys, monkeypatch):
    monkeypatch.setattr("quantbench.console.width", lambda: 40)
    write("b.csv", WORSE)
    assert cli.main(["compare", "baseline.csv", "b.csv"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 40 and "B - A -4.05 (" in " ".join(out.split())
    write("b.csv", replace(WORSE, model="fresh"))
    assert cli.main(["compare", "baseline.csv", "b.csv"]) == 2
    assert "no row is in both" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["a"], ["a", "b", "c"], ["nowhere", "baseline.csv"], ["--figur", "x"]])
def test_compare_refuses_in_one_line(folder, capsys, arguments):
    refused(capsys, "compare", *arguments)


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_the_examples_are_yaml_whose_options_exist(name):
    from quantbench.cli.check import HELP

    text = (ROOT / "examples" / name).read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text), dict)
    after = text[text.index("quantbench check") :].replace("\n", " ").split(" - ")[0].split("  allow_failure")[0]
    options = [word for word in after.split("actions/upload")[0].split() if word.startswith("--")]
    assert options and all(f"  {option} " in HELP or f" {option} " in HELP for option in options)


WER = {"metric": "wer", "samples": 2620, "fp32": 3.9, "p_value": None, "sqnr_db": None, "started": None}
BEFORE = replace(ROW, **WER, quantized=4.0, change=0.1, change_low=0.0, change_high=0.2)
NOW = replace(ROW, **WER, quantized=9.9, change=6.0, change_low=5.8, change_high=6.2)


def test_an_error_rate_that_rises_has_dropped_and_one_that_falls_has_improved(folder, capsys):
    write("baseline.csv", BEFORE)
    write("results.csv", NOW)
    assert check("--json", "verdict.json") == 1
    output = " ".join(capsys.readouterr().out.split())
    assert "1 dropped" in output and "Better when lower: wer." in output and "improved" not in output
    (row,) = json.loads(Path("verdict.json").read_text())["rows"]
    assert row["drop"] == pytest.approx(5.9) and row["lower_is_better"] and not row["improved"]
    write("baseline.csv", NOW)
    write("results.csv", BEFORE)
    assert check() == 0
    assert "improved: quantization costs 5.90 points less" in " ".join(capsys.readouterr().out.split())


def test_a_metric_of_which_nobody_knows_the_better_way_is_refused_until_it_is_said(folder, capsys):
    for name, row in (("baseline.csv", BEFORE), ("results.csv", NOW)):
        write(name, replace(row, metric="badness"))
    arguments = ("check", "results.csv", "--baseline", "baseline.csv")
    said = refused(capsys, *arguments)
    assert "badness" in said and "--lower-is-better badness" in said and "--higher-is-better badness" in said
    assert check("--lower-is-better", "other", "--lower-is-better", "badness") == 1
    assert check("--higher-is-better", "badness") == 0
    assert "improved" in capsys.readouterr().out
    both = ("--lower-is-better", "badness", "--higher-is-better", "Badness")
    assert "not both" in refused(capsys, *arguments, *both)


def test_a_file_against_itself_is_held(folder, capsys):
    noiseless = replace(GOOD, cell="c" * 12, model="whisper", sqnr_db=None, started=None)
    write("results.csv", GOOD, noiseless, replace(NOW, model="mine"))
    assert cli.main(["check", "results.csv", "--baseline", "results.csv"]) == 0
    assert "3 rows compared: 3 held" in " ".join(capsys.readouterr().out.split())
    desk = str(ROOT / "results" / "desk" / "results.csv")
    assert cli.main(["check", desk, "--baseline", desk]) == 0
