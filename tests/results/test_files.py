import errno
import os
import tempfile
import time

import pytest

from quantbench.results.files import OLD, Unwritable, remove_leftovers, write_bytes, write_files, write_text


@pytest.mark.parametrize(("module", "name"), [(os, "fsync"), (os, "replace"), (tempfile, "mkstemp")])
def test_a_write_that_breaks_off_leaves_the_old_files_and_no_scrap(tmp_path, monkeypatch, module, name):
    files = (tmp_path / "samples", tmp_path / "record")
    write_files(*((path, b"old") for path in files))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, name, full)
    with pytest.raises(Unwritable, match=r"samples: cannot be written \(No space left on device\); free some space"):
        write_files(*((path, b"new") for path in files))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(files, b"old")


def test_files_take_their_places_in_order_once_all_are_on_disk(tmp_path, monkeypatch):
    order = []
    replaced, synced = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("sync"), synced(descriptor)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(b.name), replaced(a, b)))
    write_files((tmp_path / "samples", b"1"), (tmp_path / "record", b"2"))
    assert order == ["sync", "sync", "samples", "record", "sync"]  # the last is that of the folder


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(Unwritable, match=r"file: cannot be written \(Is a directory\)"):
        write_bytes(tmp_path / "file", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_process_left_goes_once_it_is_old(tmp_path):
    names = (".a.json.x1.partial", ".b.json.x2.partial", "mine.partial")
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    for name in names[1:]:
        os.utime(tmp_path / name, (time.time() - OLD - 60,) * 2)
    (tmp_path / ".c.partial").mkdir()  # nothing that quantbench leaves
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {names[0], names[2], ".c.partial"}


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_is_written_through(tmp_path, there):
    (tmp_path / "far").mkdir()
    if there:
        (tmp_path / "far" / "real.csv").write_text("old")
    (tmp_path / "results.csv").symlink_to("far/real.csv")
    write_text(tmp_path / "results.csv", "new")
    assert (tmp_path / "results.csv").is_symlink() and (tmp_path / "far" / "real.csv").read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["far", "real.csv", "results.csv"]
