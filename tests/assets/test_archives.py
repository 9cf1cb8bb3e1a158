"""Archives of anyone: only what an asset names is taken out of them, whole and as it should be, or nothing."""

from __future__ import annotations

import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from quantbench.assets import File
from quantbench.assets.archives import Unusable, extract
from tests.assets.archive_files import CONTENT, FILE, deb, member, tarred, zipped

DPKG = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")


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


def taken(folder: Path, name: str, content: bytes, file: File = FILE) -> bytes | None:
    """The content of `file` as it was extracted, None where it was not; nothing else is written anywhere."""
    (folder / "into").mkdir()
    (folder / name).write_bytes(content)
    try:
        written = extract(folder / name, [file], folder / "into")
    except Unusable as error:
        assert name in str(error) or file.name in str(error)
        written = []
    found = {path.name for path in folder.rglob("*") if path.is_file()}
    assert found <= {name, file.name} and not os.path.exists("/tmp/quantbench_a.txt")
    return (folder / "into" / file.name).read_bytes() if written else None


ONE = zipped(("pack/a.txt", CONTENT))
ZIPS = {
    "names that lead outside": zipped(
        ("../a.txt", CONTENT), ("/tmp/quantbench_a.txt", CONTENT), ("pack/../a.txt", b"")
    ),
    "other content": zipped(("pack/a.txt", CONTENT[::-1])),
    "more content": zipped(("pack/a.txt", CONTENT + bytes(50_000_000))),
    "an encrypted member": encrypted(ONE),
    "an unknown compression": method(ONE, 97),
    "lzma that is none": method(ONE, zipfile.ZIP_LZMA),
    "a member larger than declared": larger(ONE),
    "a directory in its place": zipped(("pack/a.txt/", b"")),
    "nothing": b"",
}


@pytest.mark.parametrize("kind", ZIPS)
def test_a_wheel_that_lies_gives_nothing(tmp_path, kind):
    assert taken(tmp_path, "toy.whl", ZIPS[kind]) is None


DEBS = {
    "names that lead outside": tarred(member("../a.txt"), member("/tmp/quantbench_a.txt")),
    "a symbolic link": tarred(member("./pack/a.txt", tarfile.SYMTYPE, "/etc/passwd")),
    "a hard link": tarred(member("./pack/a.txt", tarfile.LNKTYPE, "/etc/passwd")),
    "a device": tarred(member("./pack/a.txt", tarfile.CHRTYPE)),
    "other content": tarred(member("./pack/a.txt"), content=b"another"),
    "a tar that is cut": tarred(member("./pack/a.txt"))[:700],
    "no tar": b"noise" * 1000,
}


@DPKG
@pytest.mark.parametrize("kind", DEBS)
def test_a_deb_that_lies_gives_nothing(tmp_path, kind):
    assert taken(tmp_path, "toy.deb", deb(DEBS[kind])) is None


@DPKG
def test_a_sound_deb_is_read_and_a_link_in_it_passed_over(tmp_path):
    content = deb(tarred(member("./pack/a.txt", tarfile.SYMTYPE, "/etc/passwd"), member("./pack/a.txt")))
    assert taken(tmp_path, "toy.deb", content) == CONTENT


def test_what_is_no_deb_gives_nothing(tmp_path):
    assert taken(tmp_path, "toy.deb", ONE) is None


def test_a_compressed_file_that_grows_without_an_end_gives_nothing(tmp_path):
    small = zlib.compressobj(9, zlib.DEFLATED, 31)
    content = small.compress(bytes(1 << 24)) + small.flush()
    packed = File("a.txt", "pack/a.txt.gz", len(CONTENT), FILE.sha256)
    assert taken(tmp_path, "a.txt.gz", content, packed) is None
