"""`quantbench doctor` names each fault, with what to do, before a run finds it."""

import os
import shutil
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from quantbench.cli import doctor, health
from quantbench.cli import main as cli
from quantbench.results import store
from quantbench.results.record import Record
from tests.shared import ROW, refused

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def found(folder, monkeypatch, capsys):
    """What doctor says by name, with a cache of its own, and its exit code."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(folder / "cache"))
    monkeypatch.setattr(doctor, "_operators", lambda: "match")  # seconds of imports

    def called(*arguments):
        code = cli.main(["doctor", "--offline", *arguments])
        captured = capsys.readouterr()
        assert captured.err == "" and "Traceback" not in captured.out
        lines = [line for line in captured.out.splitlines() if line.startswith("  ")]
        return code, {line[:22].strip(): line[22:].strip() for line in lines if line[22:24] == "  "} | {"all": lines}

    return called


def test_a_sound_machine_has_nothing_broken(found):
    code, all_of_it = found()
    assert code == 0 and not any("BROKEN" in line for line in all_of_it["all"])
    assert all_of_it["kept arrays"] == "0" and all_of_it["clock"] == "plausible"
    assert len(all_of_it["all"]) < 70


def test_full_disks(found, folder, monkeypatch):
    (folder / "out" / "cells").mkdir(parents=True)
    free = {"cache": 9e8, "out": 5e7, "tmp": 1.5e8}
    monkeypatch.setattr(health.tempfile, "gettempdir", lambda: str(folder / "tmp"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1e12, 0, free[Path(path).name]))
    code, said = found("--results", "out")
    assert code == 1
    lines = " ".join(said["all"])
    assert "free                  BROKEN: 0.9 GB, a run may need 1 GB: free some, or name one in QUANTBENCH" in lines
    assert "free                  BROKEN: 0.1 GB, a run may need 0.1 GB: free some, or choose another results_" in lines
    assert said["temporary free"] == "WARNING: 0.1 GB: soon full"


def test_folders_that_cannot_be_written(found, folder, monkeypatch):
    (folder / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("QUANTBENCH_CACHE", str(folder / "file" / "cache"))
    monkeypatch.setenv("HOME", str(folder / "file"))
    code, said = found()
    assert code == 1
    assert said["writable"] == "BROKEN: Not a directory: name another folder in QUANTBENCH_CACHE"
    assert said["home writable"].startswith("WARNING: ")


def test_little_memory(tmp_path):
    info, group = tmp_path / "meminfo", tmp_path / "group"
    info.write_text("MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n", encoding="ascii")
    group.mkdir()
    assert health.memory(info, group) == "8.0 of 16.0 GiB free"
    (group / "memory.current").write_text(str(3 << 30), encoding="ascii")
    (group / "memory.max").write_text(str(4 << 30), encoding="ascii")
    assert health.memory(info, group) == "WARNING: 1.0 of 4.0 GiB free: a batch that does not fit is halved"
    (group / "memory.max").write_text(str(3 << 30), encoding="ascii")
    assert health.memory(info, group).startswith("BROKEN: 0.0 of 3.0 GiB free: end other programs")
    (group / "memory.stat").write_text(f"anon {1 << 30}\ninactive_file {2 << 30}\n", encoding="ascii")
    assert health.memory(info, group).startswith("2.0 of 3.0 GiB free")  # what files take is free when it is asked for
    assert health.memory(tmp_path / "nothing") == "unknown"


def test_more_threads_than_cores():
    assert health.threads(2, 2) == "2"
    said = "WARNING: 16 on 2 cores: run with threads=2, or set OMP_NUM_THREADS=2"
    assert health.threads(16, 2) == said


def test_damaged_arrays_and_a_wrong_clock(found, folder):
    import numpy as np

    for kind, name in (("fp32", "good"), ("fp32", "cut"), ("histograms", "garbled")):
        path = folder / "cache" / kind / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, outputs=np.arange(1000.0))
    cut, garbled = folder / "cache/fp32/cut.npz", folder / "cache/histograms/garbled.npz"
    cut.write_bytes(cut.read_bytes()[:200])
    content = garbled.read_bytes()
    garbled.write_bytes(content[:300] + bytes(64) + content[364:])
    code, said = found()
    assert code == 0
    assert said["kept arrays"] == f"WARNING: 2 of 3 damaged: computed anew when needed; delete {cut} {garbled}"
    os.utime(cut, (time.time() + 1e6, time.time() + 1e6))
    assert f"UTC here, but {cut} is of " in found()[1]["clock"]


def test_a_results_folder_is_looked_through(found, folder):
    results = folder / "quantbench-results"
    store.write_record(results, Record(ROW))
    (results / "cells" / "bbbbbbbbbbbb.json").write_text("{", encoding="utf-8")
    (results / "cells" / "notes.txt").write_text("mine", encoding="utf-8")
    (results / "cells" / ".x.json.abc.partial").write_text("", encoding="utf-8")
    code, said = found()
    assert code == 0 and said["records"] == "1"
    assert "bbbbbbbbbbbb.json: not a readable record" in said["unusable record 1"]
    assert "notes.txt: not a file of quantbench" in said["unusable record 2"]
    assert said["left-over files"].startswith("1 (.*.partial)")
    code, said = found("--results", "nowhere")
    assert code == 1 and said["there"].startswith("BROKEN: no such folder")


def test_programs_and_launchers_that_are_missing(found, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(doctor, "version_of", lambda package: None if "launcher" in package else "1")
    code, said = found()
    assert code == 0
    assert said["git"] == "no (records do not say of which commit they are)"
    assert said["apt-get"].startswith("no (") and said["dpkg-deb"].startswith("no (") and said["pip"]
    assert said["launcher ray"] == "no (pip install 'quantbench[ray]')"


def test_an_encoding_without_letters(monkeypatch, capsys):
    import io

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert dict(health.terminal())["encoding"] == "ascii: other letters are escaped; set PYTHONUTF8=1"


def test_a_word_that_it_does_not_know_is_one_line(capsys):
    assert "unrecognized arguments: --nonsense" in refused(capsys, "doctor", "--nonsense")
