"""The launchers of conf/hydra/launcher, each started in a process of its own, as a user starts it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hydra.errors import InstantiationException

from quantbench.errors import Halt, UserError, halt_message
from quantbench.sweep.compose import LAUNCHERS, explained
from quantbench.sweep.groups import conf_folder

PLUGINS = {"joblib": "hydra_joblib_launcher", "ray": "hydra_ray_launcher", "submitit_slurm": "hydra_submitit_launcher"}
SMALL = ("limit=20", "task.calibration_samples=16", "threads=1")
OF_THE_RUN = ("seconds", "seconds_calibrate", "seconds_fp32", "seconds_quantized", "peak_memory_mb", "started", "git")

SBATCH = r"""#!/bin/bash
# Stands in for Slurm: runs the tasks of a job array here, one after the other.
cp "$1" submitted.sh
last=$(grep -oP -- '--array=0-\K\d+' "$1")
export SLURM_JOB_ID=1 SLURM_ARRAY_JOB_ID=1 SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0
export SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=localhost
(for task in $(seq 0 "$last"); do SLURM_ARRAY_TASK_ID=$task bash "$1"; done) >/dev/null 2>&1 &
echo "Submitted batch job 1"
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do [[ $1 == --output || $1 == --error ]] && shift; shift; done
exec "$@"
"""
SACCT = "#!/bin/bash\necho 'JobID|State|NodeList'\n"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "quantbench", "run", "-m", *SMALL, *arguments]


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **environment}
    return subprocess.run(command(*arguments), cwd=folder, env=environment, capture_output=True, text=True)


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows by cell, without what no two runs have in common."""
    with (folder / "quantbench-results" / "results.csv").open(newline="") as file:
        found = [{key: row[key] for key in row if key not in OF_THE_RUN} for row in csv.DictReader(file)]
    return sorted(found, key=lambda row: row["cell"])


@pytest.fixture(scope="module")
def basic(tmp_path_factory) -> list[dict[str, str]]:
    """The rows of Hydra's basic launcher: in one process, one cell after the other."""
    folder = tmp_path_factory.mktemp("basic")
    done = run(folder, "calib=max,mse")
    assert done.returncode == 0, done.stderr
    return rows(folder)


@pytest.fixture
def slurm(tmp_path) -> str:
    """A PATH with stand-ins for the programs of Slurm that submitit calls."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return f"{programs}{os.pathsep}{os.environ['PATH']}"


def check(done: subprocess.CompletedProcess[str], folder: Path, expected: list[dict[str, str]]) -> None:
    assert done.returncode == 0, done.stderr
    assert rows(folder) == expected
    assert [row["calib"] for row in expected if row["status"] == "ok"] in (["max", "mse"], ["mse", "max"])
    assert done.stdout.count("w8 per_channel, a8") == 2  # the run's list has reached the workers
    assert "Warning" not in done.stderr


@pytest.mark.slow
def test_joblib_gives_the_same_rows(tmp_path, basic):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    check(run(tmp_path, "hydra/launcher=joblib", "calib=max,mse"), tmp_path, basic)


@pytest.mark.slow
def test_ray_gives_the_same_rows_from_workers_that_start_elsewhere(tmp_path, basic):
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    (tmp_path / "elsewhere").mkdir()
    elsewhere = f"+hydra.launcher.ray.init.runtime_env.working_dir={tmp_path / 'elsewhere'}"
    check(run(tmp_path, "hydra/launcher=ray", elsewhere, "calib=max,mse"), tmp_path, basic)


@pytest.mark.slow
def test_slurm_gives_the_same_rows(tmp_path, basic, slurm):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    launcher = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=cpu")
    check(run(tmp_path, *launcher, "calib=max,mse", PATH=slurm), tmp_path, basic)
    submitted = (tmp_path / "submitted.sh").read_text()
    for option in ("partition=cpu", "array=0-1%2", "cpus-per-task=4", "mem=16GB", "time=240"):
        assert f"#SBATCH --{option}\n" in submitted


@pytest.mark.slow
def test_a_record_that_cannot_be_written_stops_joblib_in_one_line(tmp_path, basic):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    record = tmp_path / "quantbench-results" / "cells" / f"{basic[0]['cell']}.json"
    record.mkdir(parents=True)  # where a folder is, no file can be written
    done = run(tmp_path, "hydra/launcher=joblib", "calib=max,mse")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"{record.name}: cannot be written (Is a directory)" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_ctrl_c_under_joblib_keeps_finished_cells(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    process = subprocess.Popen(
        command("hydra/launcher=joblib", "weight_bits=8,7,6,5,4,3", "limit=1000"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("quantbench-results/cells/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # a terminal interrupts the workers too
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted: finished cells are kept" in errors and "Traceback" not in errors
    assert 1 <= len(rows(tmp_path)) < 6


@pytest.mark.parametrize(("launcher", "plugin"), PLUGINS.items())
def test_our_file_has_all_keys_of_the_plugin(launcher, plugin):
    pytest.importorskip(f"hydra_plugins.{plugin}")
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    Plugins.instance()  # loads the plugins, which store their configurations
    stored = ConfigStore.instance().load(f"hydra/launcher/{launcher}.yaml").node
    ours = yaml.safe_load((conf_folder() / "hydra" / "launcher" / f"{launcher}.yaml").read_text())
    assert set(ours) == {str(key) for key in stored}
    assert ours["_target_"] == stored["_target_"]


@pytest.mark.parametrize("launcher", PLUGINS)
def test_a_launcher_that_is_not_installed_is_one_line(monkeypatch, launcher):
    package, extra = LAUNCHERS[launcher]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with (
        pytest.raises(UserError, match=f"hydra/launcher={launcher} needs {package}: pip install 'quantbench.{extra}.'"),
        explained([f"hydra/launcher={launcher}"], []),
    ):
        raise InstantiationException("Error locating target")


def test_the_message_of_a_halt_is_found_in_a_traceback():
    trace = "Traceback (most recent call last):\n  File x\nquantbench.errors.Halt: a.json: cannot be written\n-----\n"
    assert halt_message(RuntimeError(f"Job 1 has not produced any output\n{trace}")) == "a.json: cannot be written"
    assert halt_message(Halt("a.json: cannot be written")) == "a.json: cannot be written"
    assert halt_message(RuntimeError("a.json: cannot be written")) is None
