"""Narrow terminals, dumb ones, pipes and locales without letters: nothing is lost and no number is cut in two."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from quantbench import console
from quantbench.cli import main as cli
from quantbench.results import store
from quantbench.results.record import Record
from tests.shared import ROW

ROOT = Path(__file__).resolve().parents[2]
NUMBER = re.compile(r"-?[\d,]*\d\.?\d*")
LONG = "/a/folder/with/a/long/name/" + "x" * 60


def fits(text, columns):
    """Only a word that is longer than the terminal is wide has a line that is."""
    return [line for line in text.splitlines() if len(line) > columns and len(line.split()) > 1] == []


def test_lines_fold_between_words_and_paths_stay_whole(columns, capsys):
    columns(30)
    console.folded(f"  cannot write to the folder {LONG}, which is full")
    console.say("one\ntwo")
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["  cannot write to the folder", f"    {LONG},", "    which is full"]
    assert captured.err == "quantbench: one two\n"


def test_a_pipe_gets_one_line_a_row(capsys):
    table = console.table("name", "points", right=("points",))
    console.row(table, "first " * 30, "1.25")
    console.show(table)
    console.folded("word " * 100)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[1] == "first " * 30 + "    1.25"


@pytest.mark.parametrize(("count", "expected"), [(40, "first            1,234.50  what it is, in\n"), (20, "; ")])
def test_a_table_folds_text_and_becomes_lines_where_its_words_do_not_fit(columns, capsys, count, expected):
    columns(count)
    table = console.table("layer", "parameters", "what", right=("parameters",))
    console.row(table, "first.[conv]", "1,234.50", "what it is, in several words\nand lines")
    console.show(table)
    shown = capsys.readouterr().out
    assert fits(shown, count) and "first.[conv]" in shown and "1,234.50" in shown
    if count == 20:
        assert shown == "first.[conv];\n  parameters\n  1,234.50; what it\n  is, in several\n  words, and lines\n"


@pytest.mark.parametrize("arguments", [("--help",), ("check", "--help"), ("list", "--help"), ("list", "calib")])
def test_what_needs_no_network_fits(columns, capsys, arguments):
    columns(30)
    with suppress(SystemExit):  # argparse's own way
        cli.main([*arguments])
    assert fits(capsys.readouterr().out, 30)


@pytest.mark.parametrize("arguments", [("compare", "out", "out"), ("inspect", "model=resnet20_fashion")])
def test_no_number_is_cut(columns, capsys, folder, arguments):
    row = replace(ROW, fp32=93.25, quantized=12345.678, change=-11.75, seconds=123456.7)
    store.write_record(folder / "out", Record(row))
    assert cli.main([*arguments]) == 0
    wide = capsys.readouterr().out
    columns(20)
    assert cli.main([*arguments]) == 0
    slim = capsys.readouterr().out
    missing = set(NUMBER.findall(wide)) - set(NUMBER.findall(slim))
    assert fits(slim, 20) and not {number for number in missing if len(number) > 3}, missing


def test_a_progress_bar_is_drawn_on_a_terminal_only(columns, capsys):
    assert list(console.track(range(3), "calibration", 3)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    columns(60)
    assert list(console.track(range(3), "calibration", 3)) == [0, 1, 2]
    assert re.search(r"calibration.*3/3", capsys.readouterr().err)


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_real_terminal_is_asked_for_its_width(term):
    """Of any kind: rich takes a dumb one to have 80 columns."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
        # With the environment given: readline, which pytest imports, hides a COLUMNS of its own behind os.environ.
        known = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        command = [sys.executable, "-m", "quantbench", "list", "modles"]
        os.execve(sys.executable, command, {**known, "PYTHONPATH": str(ROOT), "TERM": term})
    text = b""
    while b"model?" not in text:
        text += os.read(terminal, 1 << 16)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert text.decode().splitlines() == ["quantbench: no group modles: did you", "  mean model?"]
    assert os.waitstatus_to_exitcode(status) == 2


def test_an_ascii_terminal_gets_every_text(folder, monkeypatch):
    store.write_record(folder / "out", Record(replace(ROW, model="rés±net", skip_layers="größe")))
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    assert cli.main(["compare", "out", "out"]) == 0
    assert rb"r\xe9s\xb1net" in shown.getvalue()


def test_closed_streams_lead_nowhere(monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert cli.main(["--version"]) == 0 and cli.main(["list", "nothing"]) == 2


@pytest.mark.slow
def test_no_file_is_opened_in_the_encoding_of_the_locale(folder):
    """Python itself tells where."""
    command = [sys.executable, "-X", "warn_default_encoding", "-m", "tests.faulty", "run", "-m", "weight_bits=8,7"]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "EncodingWarning" in line and f"{ROOT}/quant" in line] == []
