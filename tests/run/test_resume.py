"""What is finished is never lost, and the same command goes on: real processes, interrupted, killed, side by side."""

import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from quantbench.cli import main as cli

SWEEP = [sys.executable, "-m", "quantbench.cli.main", "run", "-m", "weight_bits=8,7,6", "calib=max,mse", "limit=1000"]
ANEW = ["started", "seconds", "seconds_calibrate", "seconds_fp32", "seconds_quantized", "peak_memory_mb"]


def figures(results):
    """The rows of a folder by cell, times apart."""
    return pd.read_csv(f"{results}/results.csv").set_index("cell").sort_index().drop(columns=ANEW)


def test_ctrl_c_keeps_finished_cells_and_the_same_command_goes_on(folder):
    process = subprocess.Popen(SWEEP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(folder.glob("quantbench-results/cells/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted: finished cells are kept" in errors and "Traceback" not in errors
    finished = pd.read_csv("quantbench-results/results.csv")
    assert 1 <= len(finished) < 6 and set(finished.status) == {"ok"}
    assert not list(folder.glob("quantbench-results/cells/.*"))
    assert cli.main(SWEEP[3:]) == 0
    assert len(figures("quantbench-results")) == 6


def test_a_killed_sweep_goes_on_and_ends_as_an_undisturbed_one(folder):
    process = subprocess.Popen([*SWEEP, "results_dir=killed"])
    deadline = time.monotonic() + 120
    while len(list(folder.glob("killed/cells/*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("killed/cells/*.json")}
    assert 2 <= len(before) < 6
    assert cli.main([*SWEEP[3:], "results_dir=killed"]) == 0
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("killed/cells/*.json")}
    assert len(after) == 6 and {name: after[name] for name in before} == before
    assert cli.main([*SWEEP[3:], "results_dir=undisturbed"]) == 0
    pd.testing.assert_frame_equal(figures("killed"), figures("undisturbed"))


@pytest.mark.slow
def test_two_processes_can_sweep_into_one_folder(folder):
    pair = [subprocess.Popen([*SWEEP, "results_dir=both"], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [(process.communicate()[1], process.returncode) for process in pair]
    assert [code for _, code in ends] == [0, 0] and not any("quantbench:" in errors for errors, _ in ends)
    assert len(figures("both")) == 6 and not list(folder.glob("both/cells/.*"))
    assert cli.main([*SWEEP[3:], "results_dir=alone"]) == 0
    pd.testing.assert_frame_equal(figures("both"), figures("alone"))
