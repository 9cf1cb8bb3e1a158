"""The entry point: subcommands, help, exit codes, and what is set for every process."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quantbench.cli import main as cli
from quantbench.errors import UserError
from tests.shared import refused

ROOT = Path(__file__).resolve().parents[2]


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys; from quantbench.cli.main import main; main(['--help']);"
        "assert not {'torch', 'hydra', 'numpy', 'rich'} & set(sys.modules), sorted(sys.modules);"
        "main(['run', '--help']); main(['list']);"
        "assert not {'torch', 'numpy', 'pandas'} & set(sys.modules), sorted(sys.modules)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: quantbench" in done.stdout
    assert time.perf_counter() - start < 5  # far above what it takes, for a busy machine; make bench measures


@pytest.mark.parametrize("command", ["run", "inspect", "list", "assets", "doctor"])
def test_every_command_has_help(command, capsys):
    try:
        assert cli.main([command, "--help"]) == 0
    except SystemExit as leave:  # argparse's own way
        assert leave.code == 0
    assert f"usage: quantbench {command}" in capsys.readouterr().out


def test_unknown_command_names_the_nearest(capsys):
    assert "did you mean inspect?" in refused(capsys, "inspct")


def test_debug_shows_the_traceback():
    with pytest.raises(UserError):
        cli.main(["list", "nothing", "--debug"])


def test_an_error_that_nobody_expects_is_one_line(monkeypatch, capsys):
    def broken(arguments):
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr(cli, "_dispatch", broken)
    assert cli.main(["list"]) == 1
    assert capsys.readouterr().err == "quantbench: RuntimeError: first second (--debug shows where)\n"


def test_broken_pipe_is_silent():
    code = f"{sys.executable} -m quantbench list | true"
    done = subprocess.run(["bash", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_working_folder_that_is_gone_is_one_line(folder, capsys):
    (folder / "gone").mkdir()
    os.chdir(folder / "gone")
    shutil.rmtree(folder / "gone")
    try:
        said = "the working folder cannot be used (No such file or directory): change into another one"
        assert refused(capsys, "list") == f"quantbench: {said}\n"
        assert cli.main(["--help"]) == 0
    finally:
        os.chdir(folder)


@pytest.mark.parametrize("name", cli.OPENMP_WAITING)
def test_idle_threads_sleep_soon_unless_the_user_says_otherwise(monkeypatch, name):
    for known in cli.OPENMP_WAITING:
        monkeypatch.delenv(known, raising=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, "1")
        cli.main(["--version"])
        assert [known for known in cli.OPENMP_WAITING if known in os.environ] == [name]
    cli.main(["--version"])
    assert os.environ["GOMP_SPINCOUNT"] == cli.SPIN_COUNT
