"""A home that cannot be written, or none: every command works without it or says what to do, and nothing else."""

import os
import pwd
import subprocess
import sys

import pytest

from quantbench.cli import main as cli
from quantbench.results import store
from quantbench.run import reference
from tests.shared import refused

ADVICE = "name another folder in QUANTBENCH_CACHE"
CELL = ("run", "limit=8", "task.calibration_samples=8")
RANDOM = ("run", "model=resnet18", "model.weights=random", "task=synthetic", "limit=1")
COMMANDS = {
    "asset": (CELL, 2),
    "random": (RANDOM, 0),
    "plot": (("plot", "paper"), 0),
    "fetch": (("assets", "fetch", "fashion_mnist"), 2),
    "list": (("list",), 0),
    "assets": (("assets",), 0),
    "verify": (("assets", "verify"), 0),
    "inspect": (("inspect", "model=resnet20_fashion"), 0),
    "report": (("report", "results_dir=quantbench-results"), 2),
    "hub": (("run", "model=hf", "model.name=nobody/nothing", "model.weights=random"), 2),
}
QUICK = ("asset",)
FOLDERS = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "QUANTBENCH_CACHE", "MPLCONFIGDIR", "HF_HOME", "TORCH_HOME")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in COMMANDS]
)
def test_a_home_that_cannot_be_written_is_done_without_or_said_in_one_line(folder, name):
    arguments, code = COMMANDS[name]
    environment = {name: value for name, value in os.environ.items() if name not in FOLDERS}
    environment |= {"HOME": "/dev/null/home", "HF_HUB_OFFLINE": "1"}  # a folder that root cannot make either
    command = [sys.executable, "-m", "quantbench.cli.main", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("fetching ")]
    assert len(lines) == (code == 2) and all(line.startswith("quantbench: ") for line in lines), done.stderr
    assert name not in ("asset", "fetch") or ADVICE in lines[0]


@pytest.fixture
def homeless(folder, monkeypatch):
    """A user whom the system does not know, as containers run them."""

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("HOME", "XDG_CACHE_HOME", "QUANTBENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    return folder


def test_a_user_without_a_home_is_told_what_to_set(homeless, capsys):
    for arguments in (("assets",), ("assets", "fetch", "fashion_mnist"), ("assets", "verify")):
        assert "no home folder: name a folder for the cache in QUANTBENCH_CACHE" in refused(capsys, *arguments)
    assert cli.main([*CELL]) == 2
    assert "no home folder: name a folder for the cache in QUANTBENCH_CACHE" in capsys.readouterr().err
    assert cli.main(["doctor", "--offline"]) == 1
    assert "BROKEN: this user has no home folder" in capsys.readouterr().out
    assert not (homeless / "~").exists()


def test_a_user_without_a_home_measures_what_needs_no_asset(homeless, capsys):
    assert cli.main([*RANDOM, "results_dir=r"]) == 0
    assert capsys.readouterr().err == ""
    assert [row.status for row in store.read_rows(homeless / "r")[0]] == ["ok"]
    assert sorted(path.name for path in homeless.iterdir()) == ["r"]
    reference.forget()
