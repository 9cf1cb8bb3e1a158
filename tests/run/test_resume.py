"""What is finished is never lost, and the same command goes on: real processes, interrupted, killed, side by side."""

import random
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from quantbench.assets import fetch
from quantbench.cli import main as cli
from quantbench.results import store
from quantbench.results.load import load_results
from quantbench.run import reference

SWEEP = ["run", "-m", "weight_bits=8,7,6,5,4,3", "limit=100", "task.calibration_samples=32", "threads=1"]
CELLS = 6
ANEW = ["started", "seconds", "seconds_calibrate", "seconds_fp32", "seconds_quantized", "peak_memory_mb", "git"]


def start(*overrides, **options):
    return subprocess.Popen([sys.executable, "-m", "quantbench", *SWEEP, *overrides], text=True, **options)


def wait_for(process, results, records):
    """Until so many records are there, or the process has ended."""
    while process.poll() is None and len(list(results.glob("cells/*.json"))) < records:
        time.sleep(0.01)


def figures(results):
    """The rows of a folder by cell, times apart."""
    return pd.read_csv(f"{results}/results.csv").set_index("cell").sort_index().drop(columns=ANEW)


def files(results):
    """Content and time of change of every record and of its samples."""
    records = list(results.glob("cells/*.json"))
    paths = [*records, *(store.samples_path(results, record.stem) for record in records)]
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def own_cache(folder, monkeypatch):
    """A cache with the asset and nothing else, and a process that remembers nothing: kills hit what is kept too."""
    asset, own = fetch("fashion_mnist"), folder / "cache" / "assets" / "fashion_mnist"
    own.parent.mkdir(parents=True)
    own.symlink_to(asset)
    monkeypatch.setenv("QUANTBENCH_CACHE", str(folder / "cache"))
    reference.forget()


@pytest.mark.parametrize("kills", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_a_sweep_that_is_killed_loses_nothing_and_ends_as_an_undisturbed_one(folder, monkeypatch, kills):
    """The moment is drawn in finished cells and a time after, so that it does not depend on how busy the machine is."""
    assert cli.main([*SWEEP, "results_dir=undisturbed"]) == 0
    own_cache(folder, monkeypatch)
    results, draw, done = folder / "killed", random.Random(0), 0
    while kills and done < CELLS:
        before = files(results)
        process = start("results_dir=killed", stderr=subprocess.PIPE)
        further = draw.randrange(min(3, CELLS - done)) if done else 2
        wait_for(process, results, done + further)
        time.sleep(draw.uniform(0, 0.3 if further else 5))  # the start takes longer than a cell
        process.kill()
        assert process.wait() in (-signal.SIGKILL, 0), process.stderr.read()
        now = files(results)
        assert before == {name: now.get(name) for name in before}  # nothing lost, nothing measured twice
        rows, problems = store.read_rows(results)
        assert problems == [] and {row.status for row in rows} <= {"ok"}
        assert all(store.read_row(results, row.cell) == row for row in rows)  # with its samples
        done, kills = len(rows), kills - 1
    assert cli.main([*SWEEP, "results_dir=killed"]) == 0
    now = files(results)
    assert len(now) == 2 * CELLS and before == {name: now[name] for name in before}
    pd.testing.assert_frame_equal(figures("killed"), figures("undisturbed"))
    for cell in figures("killed").index:
        sides = [load_results(folder / name).samples(cell) for name in ("killed", "undisturbed")]
        pd.testing.assert_frame_equal(*sides)


@pytest.mark.slow
def test_ctrl_c_keeps_finished_cells(folder):
    process = start(stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_for(process, folder / "quantbench-results", 1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted: finished cells are kept" in errors and "Traceback" not in errors
    finished = pd.read_csv("quantbench-results/results.csv")
    assert 1 <= len(finished) < CELLS and set(finished.status) == {"ok"}
    assert not list(folder.glob("quantbench-results/cells/.*"))


@pytest.mark.slow
def test_two_sweeps_that_measure_anew_and_processes_that_read_meanwhile_do_no_harm(folder, capsys):
    for results in ("alone", "both"):
        assert cli.main([*SWEEP, f"results_dir={results}"]) == 0
    pair = [start("results_dir=both", "force=true", stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) for _ in "ab"]
    read = 0
    while any(process.poll() is None for process in pair):
        for arguments in (["report", "results_dir=both"], ["check", "both", "--baseline", "both", "--json", "-"]):
            capsys.readouterr()
            assert cli.main(arguments) == 0
            assert capsys.readouterr().err == ""
            read += 1
    ends = [(process.communicate()[1], process.returncode) for process in pair]
    assert [code for _, code in ends] == [0, 0] and not any("quantbench:" in errors for errors, _ in ends)
    assert read > 3 and not list(folder.glob("both/**/.*.partial"))
    pd.testing.assert_frame_equal(figures("both"), figures("alone"))
