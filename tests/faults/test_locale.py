"""No locale, closed streams, folders of any name or none: the same figures, one clear line, never a traceback."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from quantbench.cli import main as cli
from quantbench.results import store
from quantbench.results.record import Record
from tests import faulty
from tests.shared import ROW, refused

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
POSIX = {**ASCII, "LC_ALL": "", "LANG": "POSIX", "TZ": "No/Where"}


def called(folder, *arguments, streams="", options="", **environment):
    """The command in a process of its own, with some streams closed: standard output and error as bytes."""
    paths = os.pathsep.join((str(ROOT), str(HERE)))
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **environment}
    script = f'exec "$0" {options} "$@" {streams}'
    command = ["bash", "-c", script, sys.executable, str(HERE / "faulty.py"), *arguments]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, check=False)


@pytest.mark.parametrize("environment", [ASCII, pytest.param(POSIX, marks=pytest.mark.slow)])
def test_an_ascii_terminal_gets_every_text(folder, environment):
    row = replace(ROW, model="rés±net", skip_layers="größe")
    store.write_record(folder / "quantbench-results", Record(row))
    done = called(folder, "compare", "quantbench-results", "quantbench-results", "--markdown", "a.md", **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"r\xe9s\xb1net" in done.stdout
    assert "rés±net" in (folder / "a.md").read_text(encoding="utf-8")  # files are UTF-8 whatever the locale


def test_an_override_that_the_locale_cannot_spell_is_refused(folder):
    done = called(folder, "run", "results_dir=größe", **ASCII)
    assert done.returncode == 2
    assert done.stderr.endswith(b": the locale cannot spell it; set PYTHONUTF8=1\n") and done.stderr.count(b"\n") == 1


@pytest.mark.slow
def test_a_run_without_streams_and_asserts_in_a_folder_of_odd_bytes(folder):
    odd = os.fsencode(folder) + b"/a b=c,d \xff \xc3\xbc"
    os.mkdir(odd)
    environment = {**ASCII, "PYTHONOPTIMIZE": "2", "HYDRA_FULL_ERROR": "1"}
    done = called(odd, "run", streams="<&- >&- 2>&-", **environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    with open(odd + b"/quantbench-results/results.csv", encoding="utf-8") as file:
        content = file.read()
    assert content.startswith("cell,") and ",ok," in content and content.count("\n") == 2


def test_a_working_folder_that_is_gone_is_one_line(folder, monkeypatch, capsys):
    (folder / "gone").mkdir()
    os.chdir(folder / "gone")
    shutil.rmtree(folder / "gone")
    try:
        for command in ("run", "list", "doctor"):
            said = "the working folder cannot be used (No such file or directory): change into another one"
            assert refused(capsys, command) == f"quantbench: {said}\n"
        assert cli.main(["--help"]) == 0
    finally:
        os.chdir(folder)


@pytest.fixture
def run(folder, monkeypatch):
    command = faulty.install(folder, monkeypatch)
    return lambda *overrides: cli.main([*command, *overrides])


@pytest.mark.parametrize("name", ["a b", "a=b", "a,b", "größe", "x(1)"])
def test_a_results_folder_of_any_name(run, folder, name):
    assert run(f"results_dir='{name}'") == 0
    assert (folder / name / "results.csv").is_file()


def test_a_results_folder_with_a_comma_takes_a_sweep(run, folder):
    assert run("-m", "results_dir='a,b'", "weight_bits=8,7") == 0
    assert len(list((folder / "a,b" / "cells").glob("*.json"))) == 2
    assert run("-m", "results_dir='a','b'", "weight_bits=8,7") == 2 and not (folder / "a").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "results_dir=a=b",
            "cannot read the override results_dir=a=b: write key=value, and a value with signs such as",
        ),
        (
            "results_dir=file",
            "results_dir=file: cannot write there (Not a directory); free some space or choose another results_dir",
        ),
        ("threads=0", "threads=0: must be an integer from 1 to 1024"),
        ("threads=99999999999", "threads=99999999999: must be an integer from 1 to 1024"),
        ("seed=99999999999999999999", "seed=99999999999999999999: must be an integer from 0 to 2147483647"),
    ],
)
def test_values_beyond_all_measure_are_refused(run, folder, capsys, override, said):
    (folder / "file").write_text("", encoding="utf-8")
    assert run(override) == 2
    assert f"quantbench: {said}" in capsys.readouterr().err


def test_a_limit_beyond_the_data_takes_all(run, capsys):
    assert run("limit=1000000000000") == 0
    assert "on 20 labelled samples" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_no_file_is_opened_in_the_encoding_of_the_locale(folder):
    """Python itself tells where."""
    done = called(folder, "run", "-m", "weight_bits=8,7", options="-X warn_default_encoding", **ASCII)
    ours = [line for line in done.stderr.decode().splitlines() if "EncodingWarning" in line and f"{ROOT}/quant" in line]
    ours = [line for line in ours if "locking.py" not in line]  # a lock has no content
    assert done.returncode == 0 and ours == []
