"""What killed processes left half-written is removed, by locks and not by clocks; what is being written is not."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

from quantbench.cli import main as cli
from quantbench.results import files, store
from quantbench.results.files import remove_leftovers, write_bytes

WRITING = """
import sys
from pathlib import Path
from quantbench.results.files import _partial

with _partial(Path(sys.argv[1])) as path:
    path.write_bytes(b"half")
    print(path, flush=True)
    sys.stdin.read()
"""
CELL = ("run", "model=resnet18", "model.weights=random", "task=synthetic", "limit=1", "task.calibration_samples=1")
MISSING = ("run", "task=imagenet", "model=resnet18", "model.weights=random", "task.path=nowhere", "results_dir=r")


def partials(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob(".*.partial"))


def test_what_a_living_process_writes_stays_whatever_its_age_and_goes_once_it_is_killed(folder):
    (folder / "r" / "cells").mkdir(parents=True)
    command = [sys.executable, "-c", WRITING, str(folder / "r" / "cells" / "abc.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        partial = Path(process.stdout.readline().strip())
        for seconds in (0, 4_000_000_000):
            os.utime(partial, (seconds, seconds))
            assert cli.main(MISSING) == 2  # of any run the first thing is to remove what is left over
            assert partials(folder) == [partial] and partial.read_bytes() == b"half"
        process.send_signal(signal.SIGKILL)
    assert partial.exists()
    assert cli.main([*MISSING, "retry=failed"]) == 2
    assert partials(folder) == []


def test_leftovers_go_from_every_folder_that_files_are_written_into(folder, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(folder / "cache"))
    places = [folder / "r", *(folder / "r" / name for name in ("cells", "histograms", "tables", "figures"))]
    places += [folder / "cache" / name for name in ("fp32", "histograms")]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        (place / ".name.npz.x1y2z3.partial").write_bytes(b"half")
        (place / "mine.partial").write_bytes(b"not ours")
    assert cli.main([*CELL, "results_dir=r"]) == 0
    assert partials(folder) == []
    assert all((place / "mine.partial").exists() for place in places)


def test_where_there_are_no_locks_files_are_written_and_nothing_is_removed(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    (tmp_path / ".a.x.partial").write_bytes(b"half")
    write_bytes(tmp_path / "a", b"whole")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.x.partial", "a"]


CLEANING = """
import sys
from pathlib import Path
from quantbench.results.files import remove_leftovers

print("ready", flush=True)
while True:
    remove_leftovers(Path(sys.argv[1]))
"""


def test_a_cleaner_never_gets_in_the_way_of_a_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)  # the disk's own pace shows nothing here
    with subprocess.Popen([sys.executable, "-c", CLEANING, tmp_path], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline()
            for number in range(500):
                write_bytes(tmp_path / "file", b"%d" % number)
                assert (tmp_path / "file").read_bytes() == b"%d" % number
        finally:
            process.kill()
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".partial"] == ["file"]


def test_a_run_into_a_folder_whose_leftover_it_may_not_touch_goes_on(tmp_path):
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / ".abc.json.x.partial").mkdir()  # nothing that quantbench leaves
    store.check_writable(tmp_path)
