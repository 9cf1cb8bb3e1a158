"""Terminals of 40 and 20 columns, without colours or as dumb ones: no line is longer, and no number is cut in two."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from dataclasses import replace
from pathlib import Path

import pytest

from quantbench import console
from quantbench.cli import main as cli
from quantbench.results import store
from quantbench.results.record import Record
from tests.faults import faulty
from tests.shared import ROW

ROOT = Path(__file__).parent.parent.parent
NUMBER = re.compile(r"-?[\d,]*\d\.?\d*")


def shown(columns, *arguments, **environment):
    """What a command shows on a real terminal, a line each, and its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        known = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        # With the environment given: readline, which pytest imports, hides a COLUMNS of its own behind os.environ.
        more = {**environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, "-m", "quantbench.cli.main", *arguments], {**known, **more})
    text = b""
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # Linux says so at the end
            break
        if not part:
            break
        text += part
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.decode())
    return [line.rsplit("\r", 1)[-1] for line in plain.replace("\r\n", "\n").split("\n")], os.waitstatus_to_exitcode(
        status
    )


def fits(lines, columns):
    """Only what holds a path is longer than the terminal."""
    return [line for line in lines if len(line) > columns and "/" not in line] == []


@pytest.mark.parametrize("columns", [40, 20])
@pytest.mark.parametrize("arguments", [("--help",), ("check", "--help"), ("list", "--help"), ("list", "calib")])
def test_what_needs_no_network_fits(columns, arguments):
    lines, code = shown(columns, *arguments)
    assert code == 0 and fits(lines, columns), lines


def test_a_table_that_does_not_fit_is_lines_with_whole_names():
    lines, _ = shown(40, "list", "calib")
    assert any(line.startswith("calib=percentile_99_9999; ") for line in lines), lines


def test_a_refusal_is_folded():
    lines, code = shown(40, "list", "modles")
    assert (lines, code) == (["quantbench: no group modles: did you", "  mean model?", ""], 2)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_plain_terminals_have_their_width_too(environment):
    lines, code = shown(40, "list", "model", **environment)
    assert code == 0 and fits(lines, 40)


@pytest.fixture
def narrow(monkeypatch, folder):
    """Commands in this process as on a terminal; the numbers of a wide one, which must all be in the narrow one."""
    command = faulty.install(folder, monkeypatch)
    monkeypatch.setattr(console, "is_terminal", lambda: True)

    def lines(capsys, columns, *arguments):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        code = cli.main([*command, *arguments[1:]] if arguments[0] == "run" else list(arguments))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", captured.err)  # progress bars draw over themselves
        return code, captured.out.split("\n"), [line.rsplit("\r", 1)[-1] for line in drawn.split("\n")]

    return lines


@pytest.mark.parametrize("columns", [40, pytest.param(20, marks=pytest.mark.slow)])
def test_a_sweep_and_its_gate_fit(narrow, capsys, columns):
    code, out, errors = narrow(capsys, columns, "run", "-m", "weight_bits=8,1", "calib=max,mse")
    assert code == 2 and fits(out, columns) and fits(errors, columns)
    for arguments in (
        ("compare", "quantbench-results", "quantbench-results"),
        ("check", "quantbench-results", "--baseline", "quantbench-results"),
        ("report",),
        ("assets",),
        ("doctor", "--offline"),
    ):
        _, out, errors = narrow(capsys, columns, *arguments)
        assert fits(out, columns) and fits(errors, columns), arguments


@pytest.mark.parametrize("columns", [40, 20])
def test_no_number_is_cut(narrow, capsys, folder, columns):
    row = replace(ROW, fp32=93.25, quantized=12345.678, change=-11.75, seconds=123456.7)
    store.write_record(folder / "quantbench-results", Record(row))
    for arguments in (("compare", "quantbench-results", "quantbench-results"), ("inspect", "model=resnet20_fashion")):
        wide = "\n".join(narrow(capsys, 400, *arguments)[1])
        slim = "\n".join(narrow(capsys, columns, *arguments)[1])
        missing = set(NUMBER.findall(wide)) - set(NUMBER.findall(slim))
        assert not {number for number in missing if len(number) > 3}, missing


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 20])
def test_a_run_on_a_real_terminal_fits(folder, columns):
    sweep = ("run", "-m", "calib=max,mse", "limit=20", "task.calibration_samples=8")
    for arguments in (sweep, ("inspect",), ("report",), ("doctor", "--offline"), ("run", "modle=x")):
        lines, _ = shown(columns, *arguments)
        assert fits(lines, columns) and "Traceback" not in "\n".join(lines), lines
