"""Archives of anyone in the folder of an asset: nothing lands outside of it, each is named in one line, exit code 2.

Members that are too large, and `../` in a wheel, are tested in tests/test_assets.py too; .nemo in
tests/networks/test_nvidia_speech.py and test_hostile_checkpoints.py.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from quantbench.assets import ASSETS, Asset, File, Installed
from quantbench.assets.archives import Unusable, extract
from quantbench.cli import main as cli
from tests.faults.archive_files import CONTENT, FILE, deb, member, tarred, zipped


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Path:
    """The folder of an asset that no source has: what a person puts there is all there is."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    asset = Asset("toy", "a text", "MIT", len(CONTENT), (Installed("no-such-package"),), (FILE,))
    monkeypatch.setitem(ASSETS, "toy", asset)
    folder = tmp_path / "cache" / "assets" / "toy"
    folder.mkdir(parents=True)
    return folder


def encrypted(content: bytes) -> bytes:
    """The archive with the flag of encryption on its one member, in both its headers."""
    for place in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
        content = content[:place] + b"\x01" + content[place + 1 :]
    return content


def method(content: bytes, number: int) -> bytes:
    for place in (content.index(b"PK\x03\x04") + 8, content.index(b"PK\x01\x02") + 10):
        content = content[:place] + struct.pack("<H", number) + content[place + 2 :]
    return content


def larger(content: bytes) -> bytes:
    """The member holds more than the directory declares."""
    place = content.index(b"PK\x01\x02") + 24
    return content[:place] + struct.pack("<I", 10) + content[place + 4 :]


ONE = zipped(("pack/a.txt", CONTENT))
ZIPS = {
    "names that lead outside": zipped(
        ("../a.txt", CONTENT), ("/tmp/quantbench_a.txt", CONTENT), ("pack/../a.txt", b"")
    ),
    "a member twice": zipped(("pack/a.txt", CONTENT), ("pack/a.txt", b"another")),
    "an encrypted member": encrypted(ONE),
    "an unknown compression": method(ONE, 97),
    "lzma that is none": method(ONE, zipfile.ZIP_LZMA),
    "bzip2 that is none": method(ONE, zipfile.ZIP_BZIP2),
    "deflate that is none": method(ONE, zipfile.ZIP_DEFLATED),
    "a member larger than declared": larger(ONE),
    "a directory in its place": zipped(("pack/a.txt/", b"")),
    "nothing": b"",
    "noise": bytes(range(256)) * 10,
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ZIPS)
def test_a_wheel_that_lies(toy, capsys, kind):
    (toy / "toy.whl").write_bytes(ZIPS[kind])
    assert cli.main(["assets", "fetch", "toy"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("quantbench: toy cannot be fetched (") and "put the result into" in error
    root = toy.parent.parent.parent
    assert {path.name for path in root.rglob("*") if path.is_file()} <= {"toy.whl", ".toy.lock"}
    assert not os.path.exists("/tmp/quantbench_a.txt")


def long_name() -> bytes:
    info = member("x", tarfile.GNUTYPE_LONGNAME)
    info.size = 1 << 30
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(10_000)


DEBS = {
    "names that lead outside": tarred(member("../a.txt"), member("/tmp/quantbench_a.txt")),
    "a symbolic link": tarred(member("./pack/a.txt", tarfile.SYMTYPE, "/etc/passwd")),
    "a hard link": tarred(member("./pack/a.txt", tarfile.LNKTYPE, "/etc/passwd")),
    "a device": tarred(member("./pack/a.txt", tarfile.CHRTYPE)),
    "a pipe": tarred(member("./pack/a.txt", tarfile.FIFOTYPE)),
    "other content": tarred(member("./pack/a.txt"), content=b"another"),
    "a name of a gigabyte": long_name(),
    "a tar that is cut": tarred(member("./pack/a.txt"))[:700],
    "no tar": b"noise" * 1000,
}


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
@pytest.mark.parametrize("kind", DEBS)
def test_a_deb_that_lies(toy, capsys, kind):
    (toy / "toy.deb").write_bytes(deb(DEBS[kind]))
    assert cli.main(["assets", "fetch", "toy"]) == 2
    assert "quantbench: toy cannot be fetched (" in capsys.readouterr().err.splitlines()[-1]
    assert {path.name for path in toy.rglob("*")} == {"toy.deb"} and not os.path.exists("/tmp/quantbench_a.txt")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_a_sound_deb_is_read_so_these_are_debs(toy, capsys):
    content = deb(tarred(member("./pack/a.txt", tarfile.SYMTYPE, "/etc/passwd"), member("./pack/a.txt")))
    (toy / "toy.deb").write_bytes(content)
    assert subprocess.run(["dpkg-deb", "--contents", toy / "toy.deb"], capture_output=True, check=False).returncode in (
        0,
        2,
    )
    assert cli.main(["assets", "fetch", "toy"]) == 0
    assert (toy / "a.txt").read_bytes() == CONTENT and not (toy / "a.txt").is_symlink()


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"!<arch>\n" + b"x" * 200, ONE, os.urandom(1000)])
def test_a_deb_that_is_none(toy, capsys, content):
    (toy / "toy.deb").write_bytes(content)
    assert cli.main(["assets", "fetch", "toy"]) == 2
    assert "quantbench: toy cannot be fetched (" in capsys.readouterr().err.splitlines()[-1]


def test_a_compressed_file_that_grows_without_an_end(tmp_path):
    small = zlib.compressobj(9, zlib.DEFLATED, 31)
    content = small.compress(bytes(1 << 24)) + small.flush()
    (tmp_path / "a.txt.gz").write_bytes(content)
    packed = File("a.txt", "pack/a.txt.gz", len(CONTENT), FILE.sha256)
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(Unusable, match=r"the checksum of a\.txt is wrong"):
        extract(tmp_path / "a.txt.gz", [packed], into)
    assert not list(into.iterdir())
