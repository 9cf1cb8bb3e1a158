"""Clocks that are wrong, or jump: the figures are the same, and a file that changed is seen whatever its time says."""

import os
import subprocess
import sys

import pandas as pd
import pytest

from quantbench.assets.content import content_sha256
from quantbench.cli import main as cli

WRONG = """
import datetime
import itertools
import sys
import time

JUMPS = itertools.cycle((-55 * 365 * 86400, 40 * 365 * 86400, 0))
right = time.time


def wrong():
    return right() + next(JUMPS)


class Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(wrong(), tz)


time.time = wrong
time.time_ns = lambda: int(wrong() * 1e9)

from quantbench import cli, runner

runner.datetime = Datetime
sys.exit(cli.main(sys.argv[1:]))
"""
CELLS = ("run", "-m", "calib=max,mse", "limit=8", "task.calibration_samples=8", "threads=1")
TIMES = ["started", "seconds", "seconds_calibrate", "seconds_fp32", "seconds_quantized", "peak_memory_mb"]


def figures(results: str) -> pd.DataFrame:
    return pd.read_csv(f"{results}/results.csv").set_index("cell").sort_index().drop(columns=TIMES)


@pytest.mark.slow
def test_a_clock_that_jumps_changes_no_figure(folder):
    command = [sys.executable, "-c", WRONG, *CELLS, "results_dir=wrong"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv("wrong/results.csv")
    assert table.started.str[:4].nunique() == 2  # decades apart
    assert (table.filter(like="seconds") >= 0).all(axis=None)
    assert cli.main([*CELLS, "results_dir=right"]) == 0
    pd.testing.assert_frame_equal(figures("wrong"), figures("right"))


@pytest.mark.parametrize("way", ["in place", "by rename"])
def test_weights_that_were_replaced_are_seen_whatever_their_size_and_time_say(tmp_path, way):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"first")
    os.utime(path, ns=(1, 1))
    first = content_sha256(path)
    new = path if way == "in place" else tmp_path / "new"
    new.write_bytes(b"other")
    os.utime(new, ns=(1, 1))
    os.replace(new, path)
    assert path.stat().st_mtime_ns == 1 and content_sha256(path) != first
