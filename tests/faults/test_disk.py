"""A disk that is full, at whichever moment, or read-only: one clear line, and what is finished stays as it is."""

import errno
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from quantbench.assets import ASSETS, Asset, File, Http, asset_folder, fetch, status
from quantbench.cli import main as cli
from quantbench.results import store
from quantbench.results.load_side import read_side
from quantbench.run import reference
from tests.faults.disks import fill, read_only, small_disk

CELL = ("run", "limit=8", "task.calibration_samples=8", "threads=1", "results_dir=disk/results")


@pytest.fixture
def cache(folder, monkeypatch):
    """A cache of its own, with the asset and nothing else."""
    asset, own = fetch("fashion_mnist"), folder / "cache" / "assets" / "fashion_mnist"
    own.mkdir(parents=True)
    for path in asset.iterdir():
        (own / path.name).symlink_to(path)
    monkeypatch.setenv("QUANTBENCH_CACHE", str(folder / "cache"))
    return folder / "cache"


def contents(results: Path) -> dict[str, bytes]:
    """All files of the cells, hidden ones too."""
    return {path.name: path.read_bytes() for path in (results / "cells").iterdir()}


def ends(capsys, *arguments: str) -> bool:
    """Whether a command ends well; else it ends with one line of advice and exit code 2."""
    capsys.readouterr()
    code = cli.main(list(arguments))
    errors = capsys.readouterr().err.removeprefix("fetching toy (licence: CC0), 0.1 MB\n")
    if code:
        assert code == 2, errors
        assert errors.startswith("quantbench: ") and errors.count("\n") == 1, errors
        assert "No space left" in errors or "File too large" in errors or "Read-only" in errors or "denied" in errors
    return code == 0


def whole(results: Path, *cells: str) -> bool:
    """Whether the folder has these cells, each with its samples, and nothing that is no record."""
    side = read_side(results)
    return {row.cell for row in side.rows} == set(cells) and all(
        side.samples(cell) is not None and store.read_histograms(results, details["histograms"])
        for cell, details in ((row.cell, details) for row, details in store.read_records(results)[0])
    )


MOMENTS = [pytest.param(range(0, 14, 6), id="some"), pytest.param(range(0, 60, 5), id="more", marks=pytest.mark.slow)]


@pytest.mark.parametrize("pages", MOMENTS)
def test_a_disk_that_fills_up_loses_nothing_and_the_same_command_goes_on(cache, folder, capsys, pages):
    with small_disk(folder / "disk", 4 << 20) as disk:
        results = disk / "results"
        assert cli.main([*CELL]) == 0
        first = contents(results)
        (cell,) = (row.cell for row in store.read_rows(results)[0])
        shutil.rmtree(results / "histograms")  # so that they are written into what is left, too
        shutil.copytree(results, folder / "before")
        full = 0
        for left in pages:
            ballast = fill(disk, left)
            ended = ends(capsys, *CELL, "calib=mse")
            full += not ended
            now = contents(results)
            assert {name: now[name] for name in first} == first
            assert not list(disk.rglob(".*.partial"))
            ballast.unlink()
            assert ends(capsys, *CELL, "calib=mse") and len(store.read_rows(results)[0]) == 2
            assert whole(results, cell, *(row.cell for row in store.read_rows(results)[0] if row.calib == "mse"))
            if ended:
                break
            shutil.rmtree(results)
            shutil.copytree(folder / "before", results)
        assert full > 1


OPERATIONS = {"os": ("fsync", "replace", "chmod"), "tempfile": ("mkstemp",)}


@pytest.mark.parametrize("step", [pytest.param(5, id="some"), pytest.param(2, id="more", marks=pytest.mark.slow)])
def test_whichever_write_is_refused_the_finished_cell_stays_whole(cache, folder, capsys, monkeypatch, step):
    results = folder / "disk" / "results"
    assert cli.main([*CELL]) == 0
    (cell,) = (row.cell for row in store.read_rows(results)[0])
    calls, refused_call = 0, None

    def counted(function):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == refused_call:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*arguments, **options)

        return call

    for module, names in ((os, OPERATIONS["os"]), (tempfile, OPERATIONS["tempfile"])):
        for name in names:
            monkeypatch.setattr(module, name, counted(getattr(module, name)))
    assert ends(capsys, *CELL, "force=true")
    failures = 0
    for refused_call in range(1, calls + 1, step):
        shutil.rmtree(results / "histograms")
        calls = 0
        failures += not ends(capsys, *CELL, "force=true")
        refused_call = None
        assert not list(results.rglob(".*.partial"))
        assert read_side(results).samples(cell) is not None
        assert [row.status for row in store.read_rows(results)[0]] == ["ok"]
        assert ends(capsys, *CELL, "force=true") and whole(results, cell)
    assert failures > 9 // step  # forcing a new name to disk may fail unseen


def test_a_write_that_breaks_off_leaves_no_part_of_a_file(cache, folder, capsys):
    assert cli.main([*CELL]) == 0
    before = contents(folder / "disk" / "results")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        assert not ends(capsys, *CELL, "weight_bits=4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(folder / "disk" / "results") == before


def test_a_line_that_did_not_fit_into_the_runs_list_is_said_and_hides_no_other(tmp_path):
    entry = {"cell": "a" * 4000}
    with small_disk(tmp_path / "disk", 4 * 4096) as disk:
        with pytest.raises(store.Unwritable, match=r"r\.jsonl: cannot be written \(No space left on device\)"):
            for _ in range(9):
                store.note_in_run(disk, "r", entry)
        assert all(found == entry for found in store.read_run(disk, "r"))


def test_a_full_cache_keeps_nothing_and_changes_nothing(cache, folder, capsys):
    assert cli.main([*CELL, "results_dir=roomy"]) == 0
    for name in ("fp32", "histograms"):
        shutil.rmtree(cache / name)
    reference.forget()
    with small_disk(cache / "fp32", 4096), small_disk(cache / "histograms", 4096):
        for name in ("fp32", "histograms"):
            (cache / name / "ballast").write_bytes(bytes(4096))
        assert ends(capsys, *CELL)
        assert [path.name for name in ("fp32", "histograms") for path in (cache / name).iterdir()] == ["ballast"] * 2
    for name in ("agreement", "sqnr_db", "quantized", "fp32"):
        rows = [store.read_rows(folder / results)[0][0] for results in ("roomy", "disk/results")]
        assert getattr(rows[0], name) == getattr(rows[1], name)


def test_an_asset_that_does_not_fit_says_what_to_do(tmp_path, monkeypatch, capsys):
    content = os.urandom(100_000)
    (tmp_path / "big").write_bytes(content)
    file = File("big", "big", len(content), hashlib.sha256(content).hexdigest())
    toy = Asset("toy", "noise", "CC0", len(content), (Http((tmp_path.as_uri() + "/",)),), (file,))
    monkeypatch.setitem(ASSETS, "toy", toy)
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "disk"))
    with small_disk(tmp_path / "disk", 20 * 4096) as disk:
        assert not ends(capsys, "assets", "fetch", "toy")
        assert status("toy") == "missing" and not [path for path in disk.rglob("*") if path.name.startswith(".toy-")]
    assert cli.main(["assets", "fetch", "toy"]) == 0


@pytest.fixture
def results(cache, folder) -> Path:
    assert cli.main([*CELL]) == 0
    return folder / "disk" / "results"


WRITERS = {
    "report": ("report", "results_dir=place/results"),
    "markdown": ("check", "disk/results", "--baseline", "disk/results", "--markdown", "place/out.md"),
    "junit": ("check", "disk/results", "--baseline", "disk/results", "--junit", "place/out.xml"),
    "json": ("check", "disk/results", "--baseline", "disk/results", "--json", "place/out.json"),
    "figure": ("compare", "disk/results", "disk/results", "--figure", "place/out"),
    "table": ("compare", "disk/results", "disk/results", "--markdown", "place/out.md"),
    "plot": ("plot", "paper", "out=place"),
    "run": (*CELL[:-1], "results_dir=place/results", "weight_bits=4"),
    "sweep": (*CELL[:-1], "-m", "results_dir=place/results", "weight_bits=4,5"),
}


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_what_cannot_be_written_is_said_in_one_line(results, folder, capsys, state):
    place = folder / "place"
    if state == "full":
        disk = small_disk(place, 1 << 20)
    else:
        shutil.copytree(results, place / "results")
        disk = read_only(place)
    with disk:
        if state == "full":
            shutil.copytree(results, place / "results")
            fill(place, 0)
        before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
        for name, command in WRITERS.items():
            assert not ends(capsys, *command), name
        after = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
        assert {path: after[path] for path in before} == before
        assert not list(place.rglob(".*.partial"))


def test_an_output_that_cannot_be_written_is_said_in_one_line():
    command = [sys.executable, "-m", "quantbench.cli.main", "list"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    said = "quantbench: the output cannot be written ([Errno 28] No space left on device); free some space\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_a_cache_that_cannot_be_written_is_done_without(cache, folder, capsys):
    with read_only(cache):
        assert ends(capsys, *CELL)
        assert not ends(capsys, "assets", "fetch", "foolbox_photos")
    assert not (cache / "fp32").exists() and not asset_folder("foolbox_photos").exists()
