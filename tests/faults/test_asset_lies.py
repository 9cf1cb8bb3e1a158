"""Assets that are not what they say: every lie is found out, in one line, and nothing of it gets into the cache.

tests/test_assets.py has the others: wrong checksums of a wheel and of a member, bombs, broken archives, damaged files.
"""

import contextlib
import hashlib
import os
import socketserver
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from quantbench.assets import ASSETS, Asset, File, Http, Installed, asset_folder, cache_folder, fetch, status, verify
from quantbench.cli import main as cli
from quantbench.errors import UserError

CONTENT = b"what it should be " * 1000
FILE = File("a.txt", "pack/a.txt", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % len(CONTENT)
ANSWERS = {
    "breaks off": (OK + LENGTH + CONTENT[:5000], "checksum of a.txt is wrong"),
    "nothing": (OK + LENGTH, "checksum of a.txt is wrong"),
    "other content of equal size": (OK + LENGTH + CONTENT[::-1], "checksum of a.txt is wrong"),
    "a page of another site": (OK + b"\r\n<html>log in first</html>", "checksum of a.txt is wrong"),
    "breaks off in a chunk": (OK + CHUNKED + b"ffff\r\n" + CONTENT, "cannot be read (IncompleteRead"),
    "no chunks": (OK + CHUNKED + b"not hexadecimal\r\n", "cannot be read (IncompleteRead"),
    "hangs up": (b"", "closed connection without response"),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", "cannot be read (SSH-2.0-OpenSSH)"),
    "a header without end": (OK + b"X: " + b"y" * 100_000, "cannot be read (got more than 65536 bytes"),
}


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Asset:
    """An asset of one file that no source has."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    asset = Asset("toy", "a text", "MIT", len(CONTENT), (Installed("no-such-package"),), (FILE,))
    monkeypatch.setitem(ASSETS, "toy", asset)
    return asset


@pytest.fixture
def served(toy, tmp_path, monkeypatch) -> Path:
    """The same asset, from a folder that holds the file."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.txt").write_bytes(CONTENT)
    monkeypatch.setitem(ASSETS, "toy", replace(toy, sources=(Http(((tmp_path / "served").as_uri() + "/",)),)))
    return tmp_path / "served"


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


def fetched(capsys, *options: str) -> str:
    """The one line with which fetching fails; nothing half-fetched is left."""
    capsys.readouterr()
    assert cli.main(["assets", "fetch", *options, "toy"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if not line.startswith("fetching")] == lines[-1:]
    assert lines[-1].startswith("quantbench: ")
    assert not list((cache_folder() / "assets").glob(".toy-*"))
    return lines[-1]


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_server_that_lies_is_found_out(toy, monkeypatch, capsys, kind):
    answer, said = ANSWERS[kind]
    monkeypatch.setenv("no_proxy", "*")
    with server(answer) as address:
        monkeypatch.setitem(ASSETS, "toy", replace(toy, sources=(Http((address,)),)))
        line = fetched(capsys)
    assert said in line and "toy cannot be fetched" in line and f"put the result into {asset_folder('toy')}" in line
    assert status("toy") == "missing"


def test_a_file_that_changed_after_it_was_verified_is_found_whatever_its_size_and_time_say(served):
    path = fetch("toy") / "a.txt"
    found = path.stat()
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (found.st_size, found.st_mtime_ns)
    assert status("toy") == "corrupt"
    assert fetch("toy", force=True) and status("toy") == "present"


def test_a_folder_where_a_file_should_be_is_named(served, capsys):
    path = asset_folder("toy") / "a.txt"
    path.mkdir(parents=True)
    (path / "precious").write_text("not ours")
    for options in ((), ("--force",)):
        line = fetched(capsys, *options)
        assert f"{path} is a folder, and a file of toy belongs there; remove it, run this again" in line
    assert (path / "precious").read_text() == "not ours"
    assert status("toy") == "missing"


@pytest.mark.parametrize("target", ["a.txt", "nowhere"])
def test_a_link_to_itself_or_to_nothing_is_no_file_and_gives_way(served, target):
    path = asset_folder("toy") / "a.txt"
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    assert status("toy") == "missing"
    assert (fetch("toy") / "a.txt").read_bytes() == CONTENT and not path.is_symlink()


def test_an_asset_folder_that_is_a_link_to_itself_is_said(served, capsys):
    asset_folder("toy").parent.mkdir(parents=True)
    asset_folder("toy").symlink_to("toy")
    assert f"cannot write to {asset_folder('toy')} (File exists)" in fetched(capsys)
    assert status("toy") == "missing"


def test_an_archive_that_is_encrypted_is_named(toy, capsys):
    path = asset_folder("toy") / "toy.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pack/a.txt", CONTENT)
    content = path.read_bytes()
    local, central = content.index(b"PK\3\4"), content.index(b"PK\1\2")
    damaged = bytearray(content)
    damaged[local + 6] |= 1  # the flag of an encrypted member
    damaged[central + 8] |= 1
    path.write_bytes(damaged)
    assert "toy.zip cannot be read (File 'pack/a.txt' is encrypted, password required" in fetched(capsys)


def test_verify_names_a_file_that_was_cut_off(served, capsys):
    path = fetch("toy") / "a.txt"
    path.write_bytes(CONTENT[:-1])
    capsys.readouterr()
    assert cli.main(["assets", "verify"]) == 1
    assert "corrupt: toy; run quantbench assets fetch --force toy" in capsys.readouterr().out
    with pytest.raises(UserError, match="is damaged or cannot be read; run 'quantbench assets fetch --force toy'"):
        verify("toy")
