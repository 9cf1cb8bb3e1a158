"""What is fetched, and that nothing but the files themselves gets into the cache."""

import gzip
import multiprocessing
import os
import pwd
import shutil
import subprocess
import threading
import time
from dataclasses import replace

import pytest

from quantbench import assets
from quantbench.assets import (
    ASSETS,
    fetch,
    sources,
    status,
    verify,
)
from quantbench.errors import UserError
from tests.assets.toy import CONTENT, file, leftovers, message, wheel


def test_an_unknown_asset_names_the_known_ones(toy):
    for function in (fetch, status, verify):
        with pytest.raises(UserError, match=r"no asset 'nothing'.*fashion_mnist"):
            function("nothing")


@pytest.mark.parametrize("kind", ["wheel", "gz", "files"])
def test_what_a_person_puts_into_the_folder_is_used(toy, tmp_path, monkeypatch, kind):
    folder = assets.asset_folder("toy")
    folder.mkdir(parents=True)
    files = tuple(file(name, f"pack/{name}.gz" if kind == "gz" else "") for name in CONTENT)
    monkeypatch.setitem(ASSETS, "toy", replace(toy, files=files))
    if kind == "wheel":
        wheel(folder / "some_name-9-cp399-cp399-plan9.whl")
    else:
        for name, data in CONTENT.items():
            path = folder / (name + ".gz" if kind == "gz" else name)
            path.write_bytes(gzip.compress(data) if kind == "gz" else data)
    assert (fetch("toy") / "b.txt").read_bytes() == CONTENT["b.txt"]
    assert status("toy") == "present"
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_damaged_file_is_found_whatever_its_size_and_time_say_and_fetched_anew(pip):
    pip()
    path = fetch("toy") / "b.txt"
    found = path.stat()
    data = bytearray(CONTENT["b.txt"])
    data[17] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert status("toy") == "corrupt"
    for function in (fetch, verify):
        with pytest.raises(UserError) as error:
            function("toy")
        assert str(path) in message(error) and "quantbench assets fetch --force toy" in message(error)
    fetch("toy", force=True)
    assert path.read_bytes() == CONTENT["b.txt"]
    assert status("toy") == "present"


def test_force_accepts_what_a_person_put_there(toy):
    folder = assets.asset_folder("toy")
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"damaged")
    wheel(folder / "toy.whl")
    assert fetch("toy", force=True) == folder
    assert (folder / "a.txt").read_bytes() == CONTENT["a.txt"]


def test_leftovers_of_killed_downloads_do_not_count_and_are_removed(pip):
    pip()
    parent = assets.asset_folder("toy").parent
    left, other = parent / ".toy-x1y2", parent / ".toy_other-x1y2"
    for folder in (left, other):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_bytes(CONTENT["a.txt"][:100])
    assert status("toy") == "missing"
    fetch("toy")
    assert not left.exists()
    assert other.exists()  # of another asset, whose lock another process may hold


def test_a_killed_download_leaves_nothing_that_counts(pip, monkeypatch):
    pip()

    def killed(self, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "poll", killed)
    with pytest.raises(KeyboardInterrupt):
        fetch("toy")
    assert status("toy") == "missing" and leftovers() == []
    monkeypatch.undo()


def _fetch_toy(start: float) -> str:
    time.sleep(max(0.0, start - time.time()))
    return str(fetch("toy"))


def test_processes_that_fetch_at_once_do_no_harm(pip):
    pip()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        folders = pool.map(_fetch_toy, [time.time() + 0.2] * 4)
    assert set(folders) == {str(assets.asset_folder("toy"))}
    assert status("toy") == "present"
    assert leftovers() == []


def test_the_size_of_a_folder_whose_content_comes_and_goes(tmp_path):
    (tmp_path / "stays").write_bytes(bytes(100))
    done = threading.Event()

    def churn():
        while not done.is_set():
            (tmp_path / "a" / "b").mkdir(parents=True)
            (tmp_path / "a" / "b" / "file").write_bytes(bytes(10))
            shutil.rmtree(tmp_path / "a")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        sizes = {sources._size(tmp_path) for _ in range(3000)}
    finally:
        done.set()
        thread.join()
    assert 100 in sizes and sizes <= {100, 110}


@pytest.mark.parametrize("target", ["a.txt", "nowhere"])
def test_a_link_to_itself_or_to_nothing_is_no_file_and_gives_way(toy, target):
    path = assets.asset_folder("toy") / "a.txt"
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    assert status("toy") == "missing"
    wheel(path.parent / "toy.whl")
    assert (fetch("toy") / "a.txt").read_bytes() == CONTENT["a.txt"] and not path.is_symlink()


def test_a_cache_that_cannot_be_written_names_the_setting(toy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError) as error:
        fetch("toy")
    assert "QUANTBENCH_CACHE" in message(error)
    assert status("toy") == "missing"


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path))
    assert assets.cache_folder() == tmp_path
    monkeypatch.delenv("QUANTBENCH_CACHE")
    assert assets.cache_folder().name == "quantbench"


@pytest.mark.parametrize("named", ["", "~/cache"])
def test_a_user_without_a_home_is_told_what_to_set(monkeypatch, named):
    """As containers run them: the system does not know the user."""

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUANTBENCH_CACHE", named)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UserError, match="no home folder: name a folder for the cache in QUANTBENCH_CACHE"):
        assets.cache_folder()
