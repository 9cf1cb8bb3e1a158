"""SIGTERM, SIGHUP and Ctrl-C: what is finished is kept, one line says so, the exit code says by what."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quantbench.cli import main as cli
from quantbench.errors import Ended, exit_code, interruption
from tests import faulty

ROOT = Path(__file__).resolve().parents[2]


def start(folder, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(folder):
    return len(list(folder.glob("quantbench-results/cells/*.json")))


def test_a_signal_in_a_sweep_keeps_finished_cells_and_the_same_command_goes_on(folder, monkeypatch, capsys):
    """The signal comes in the quantized pass of the second cell."""
    command, seen = faulty.install(folder, monkeypatch), []

    def before(kind, batch):
        seen.append(kind)
        if seen.count("quantized") == 7:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)  # a signal interrupts it

    monkeypatch.setattr(faulty.Settings, "before", staticmethod(before))
    assert cli.main([*command, "-m", "weight_bits=8,7,6"]) == 143
    captured = capsys.readouterr()
    assert "interrupted: finished cells are kept; run the same command again to go on\n" in captured.err
    assert "Traceback" not in captured.err and "w8 per_channel, a8 max" in captured.out
    assert finished(folder) == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    monkeypatch.setattr(faulty.Settings, "before", staticmethod(faulty.nothing))
    assert cli.main([*command, "-m", "weight_bits=8,7"]) == 0
    assert finished(folder) == 2


def test_the_interruption_behind_what_a_library_raises_when_it_stumbles_over_its_own_cleaning_up(monkeypatch):
    """As OmegaConf does, rarely, between two cells, and as pools of workers do, which do not say what of."""
    monkeypatch.setattr(Ended, "last", None)
    try:
        try:
            raise KeyboardInterrupt
        finally:
            raise AttributeError("'NoneType' object has no attribute '_invalidate_flags_cache'")
    except AttributeError as error:
        assert exit_code(interruption(error)) == 130
    assert interruption(ValueError()) is None
    Ended(signal.SIGHUP)
    assert exit_code(interruption(ValueError())) == 129


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_ends_every_command(monkeypatch, capsys, name, code):
    monkeypatch.setattr(cli, "_dispatch", lambda _: os.kill(os.getpid(), getattr(signal, name)) or time.sleep(5))
    assert cli.main([]) == code
    assert capsys.readouterr().err == "quantbench: interrupted\n"


def test_what_nohup_ignores_stays_ignored(monkeypatch):
    monkeypatch.setattr(cli, "_dispatch", lambda _: os.kill(os.getpid(), signal.SIGHUP) or 0)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert cli.main([]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_sigterm_under_joblib_ends_the_workers_too(folder):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    sweep = ("hydra/launcher=joblib", "threads=1", "limit=1000", "-m", "weight_bits=8,7,6,5,4,3")
    process = start(folder, "quantbench", "run", *sweep)
    deadline = time.monotonic() + 120
    while not finished(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)  # to the parent alone, as `kill` does
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "interrupted: finished cells are kept" in errors and "Traceback" not in errors
    with pytest.raises(ProcessLookupError):  # nothing of the session is left
        for _ in range(200):
            os.killpg(process.pid, 0)
            time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 2.0, 4.0])
def test_ctrl_c_at_any_moment_of_the_start_is_one_line(folder, seconds):
    slow = "import time\nSettings.before = staticmethod(lambda kind, batch: time.sleep(0.05))"
    process = start(folder, "tests.faulty", "run", "-m", "weight_bits=8,7,6,5,4,3,2", "calib=max,mse", FAULT=slow)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    if "faulty.py" not in errors:  # before the command line has begun, Python itself speaks
        assert process.returncode == 130, errors
        assert "interrupted" in errors and "Traceback" not in errors
