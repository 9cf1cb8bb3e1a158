"""Small archives, for several tests."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile

from quantbench.assets import File

CONTENT = b"content " * 100
FILE = File("a.txt", "pack/a.txt", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def deb(data: bytes) -> bytes:
    """An .deb archive around the content of data.tar."""
    parts = ((b"debian-binary", b"2.0\n"), (b"control.tar", tarred()), (b"data.tar", data))
    content = b"!<arch>\n"
    for name, part in parts:
        content += (
            b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name, 0, 0, 0, b"100644", len(part)) + part + b"\n" * (len(part) % 2)
        )
    return content


def tarred(*members: tarfile.TarInfo, content: bytes = CONTENT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.GNU_FORMAT) as archive:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info
