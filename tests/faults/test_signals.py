"""SIGTERM, SIGHUP and Ctrl-C at any moment: what is finished is kept, one line says so, the exit code says by what."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quantbench.cli import main as cli
from quantbench.cli.signals import as_interrupts
from quantbench.errors import Ended
from tests.faults import faulty

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# Every cell takes its time, so that a signal finds one at work.
SLOW_CELLS = "import time\nSettings.before = staticmethod(lambda kind, batch: time.sleep(0.02))"
SWEEP = ("-m", "weight_bits=8,7,6,5,4,3,2", "calib=max,mse")


def start(folder, *arguments, **options):
    paths = os.pathsep.join((str(ROOT), str(HERE)))
    environment = {**os.environ, "PYTHONPATH": paths, "FAULT": SLOW_CELLS, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "faulty.py"), *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def wait_for_records(folder, count=1):
    deadline = time.monotonic() + 120
    while len(list(folder.glob("quantbench-results/cells/*.json"))) < count and time.monotonic() < deadline:
        time.sleep(0.02)


def finished(folder):
    assert not list(folder.glob("quantbench-results/cells/.*"))
    return len(list(folder.glob("quantbench-results/cells/*.json")))


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_the_command_as_ctrl_c_does(folder, monkeypatch, capsys, name, code):
    """The signal comes in the quantized pass of the second cell."""
    command = faulty.install(folder, monkeypatch)
    seen = []

    def before(kind, batch):
        seen.append(kind)
        if seen.count("quantized") == 7:
            os.kill(os.getpid(), getattr(signal, name))
            time.sleep(5)  # a signal interrupts it

    monkeypatch.setattr(faulty.Settings, "before", staticmethod(before))
    handler = signal.getsignal(getattr(signal, name))
    assert cli.main([*command, *SWEEP]) == code
    captured = capsys.readouterr()
    assert "interrupted: finished cells are kept; run the same command again to go on\n" in captured.err
    assert "Traceback" not in captured.err and "w8 per_channel, a8 max" in captured.out
    assert finished(folder) == 1 and signal.getsignal(getattr(signal, name)) is handler
    monkeypatch.setattr(faulty.Settings, "before", staticmethod(faulty.nothing))
    assert cli.main([*command, "-m", "weight_bits=8,7"]) == 0
    assert finished(folder) == 2


def test_ctrl_c_in_a_library_that_then_stumbles_over_its_own_cleaning_up(folder, monkeypatch, capsys):
    """As OmegaConf does, rarely, between two cells: the interruption is behind an error of its own."""

    def before(*_):
        try:
            raise KeyboardInterrupt
        finally:
            raise AttributeError("'NoneType' object has no attribute '_invalidate_flags_cache'")

    command = faulty.install(folder, monkeypatch)
    monkeypatch.setattr(faulty.Settings, "before", staticmethod(before))
    assert cli.main([*command]) == 130
    assert "interrupted: finished cells are kept" in capsys.readouterr().err and finished(folder) == 0


def test_a_second_signal_ends_the_summary_too(folder, monkeypatch, capsys):
    def again(*_, **__):
        raise Ended(signal.SIGTERM)

    command = faulty.install(folder, monkeypatch)
    monkeypatch.setattr(faulty.Settings, "before", staticmethod(again))
    monkeypatch.setattr("quantbench.cli.summary.print_summary", again)
    assert cli.main([*command]) == 143
    assert capsys.readouterr().err.splitlines()[-1] == "quantbench: interrupted"


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with as_interrupts():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_sigterm_ends_a_real_sweep(folder):
    process = start(folder, "run", *SWEEP)
    wait_for_records(folder)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "interrupted: finished cells are kept" in errors and "Traceback" not in errors
    assert 1 <= finished(folder) < 14


@pytest.mark.slow
def test_sigterm_under_joblib_ends_the_workers_too(folder):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    command = [sys.executable, "-m", "quantbench.cli.main", "run", "hydra/launcher=joblib", "threads=1", "limit=1000"]
    process = subprocess.Popen(
        [*command, "-m", "weight_bits=8,7,6,5,4,3"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_records(folder)
    process.send_signal(signal.SIGTERM)  # to the parent alone, as `kill` does
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "interrupted: finished cells are kept" in errors and "Traceback" not in errors
    with pytest.raises(ProcessLookupError):  # nothing of the session is left
        for _ in range(200):
            os.killpg(process.pid, 0)
            time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0, 3.0, 4.5, 6.0])
def test_ctrl_c_at_any_moment_of_the_start_is_one_line(folder, seconds):
    process = start(folder, "run", *SWEEP)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    if "faulty.py" not in errors:  # before the command line has begun, Python itself speaks
        assert process.returncode == 130, errors
        assert "interrupted" in errors and "Traceback" not in errors
