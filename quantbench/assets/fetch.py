"""The cache of assets: a folder each, its files verified before they are used."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from quantbench.assets import sources
from quantbench.assets.archives import Unusable, extract, sha256
from quantbench.assets.asset import Asset, File
from quantbench.assets.catalogue import ASSETS
from quantbench.assets.content import identity
from quantbench.errors import UserError
from quantbench.results.locking import locked

Status = Literal["missing", "present", "corrupt"]

_hashes: dict[tuple[int, ...], str] = {}
"""sha256 of the files this process has read, by `identity`."""


def cache_folder() -> Path:
    """The folder of all that quantbench keeps between runs: QUANTBENCH_CACHE, else the user's cache folder.

    Raises UserError if it is below a home that the user does not have.
    """
    named = os.environ.get("QUANTBENCH_CACHE")
    if named and not named.startswith("~"):
        return Path(named).absolute()
    import platformdirs

    try:
        folder = Path(named).expanduser() if named else platformdirs.user_cache_path("quantbench")
    except RuntimeError:
        folder = Path("~")
    if not folder.is_absolute():  # older versions of platformdirs leave the ~ where there is no home
        raise UserError("this user has no home folder: name a folder for the cache in QUANTBENCH_CACHE")
    return folder


def asset_folder(name: str) -> Path:
    """The folder of an asset's files, which is also where a person puts them, or their archive, by hand."""
    return cache_folder() / "assets" / name


def status(name: str) -> Status:
    """Whether all files of an asset are in the cache, intact. Raises UserError if there is no such asset."""
    asset = _asset(name)
    if _damaged(asset) is not None:
        return "corrupt"
    return "missing" if _absent(asset) else "present"


def verify(name: str) -> Path:
    """The folder of an asset that is in the cache; UserError if a file is missing or damaged. Downloads nothing."""
    asset = _asset(name)
    if (damaged := _damaged(asset)) is not None:
        path = asset_folder(name) / damaged.name
        raise UserError(
            f"{path} is damaged or cannot be read; run 'quantbench assets fetch --force {name}' to fetch it anew"
        )
    if absent := _absent(asset):
        path = asset_folder(name) / absent[0].name
        raise UserError(f"{path} is missing; run 'quantbench assets fetch {name}'")
    return asset_folder(name)


def fetch(name: str, *, force: bool = False) -> Path:
    """The folder with the verified files of an asset, downloaded if they are not in the cache.

    Files appear in the folder one by one, each complete and verified, so a killed download is never taken for a
    finished one and processes that fetch at the same time do no harm. With `force`, all files are fetched anew.
    Raises UserError if a cached file is damaged (unless `force`), if the cache cannot be written, or if no source has
    the files; the message then says what to download by hand and where to put it.
    """
    asset = _asset(name)
    folder = asset_folder(name)
    if not force and not _absent(asset):
        return verify(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder.parent / f".{name}.lock") as alone:
            if alone:
                _remove_leftovers(asset, folder.parent)
            if force or _absent(asset):  # else another process fetched it while this one waited
                _fetch(asset, folder, force)
    except OSError as error:
        advice = "free some space or name another folder in QUANTBENCH_CACHE"
        raise UserError(f"cannot write to {folder} ({error.strerror or error}); {advice}") from error
    return verify(name)


def _fetch(asset: Asset, folder: Path, force: bool) -> None:
    failures: list[str] = []
    if _take_dropped(asset, folder, failures, force):
        return
    with _progress(asset) as tick:
        for source in asset.sources:
            with _download_folder(asset, folder) as work:
                try:
                    sources.get(source, asset, work, tick)
                except Unusable as error:
                    failures.append(str(error))
                    continue
                _move(asset.files, work, folder)
                return
    ways = [way for source in asset.sources if (way := sources.by_hand(source, asset)) is not None]
    raise UserError(
        f"{asset.name} cannot be fetched ({'; '.join(failures)}): on a machine with network {' or '.join(ways)}, "
        f"put the result into {folder} and run this again"
    )


def _take_dropped(asset: Asset, folder: Path, failures: list[str], force: bool) -> bool:
    """Use the archives a person has put into the asset's folder; whether nothing is left to download then."""
    names = {file.name for file in asset.files}
    wanted = list(asset.files) if force else _absent(asset)
    for dropped in sorted(path for path in folder.iterdir() if path.is_file() and path.name not in names):
        with _download_folder(asset, folder) as work:
            try:
                taken = extract(dropped, wanted, work)
            except Unusable as error:
                failures.append(str(error))
                continue
            _move(taken, work, folder)
            wanted = [file for file in wanted if file not in taken]
    return not wanted


def _move(files: Iterable[File], work: Path, folder: Path) -> None:
    for file in files:
        path = folder / file.name
        if path.is_dir() and not path.is_symlink():
            raise UserError(f"{path} is a folder, and a file of {folder.name} belongs there; remove it, run this again")
        os.replace(work / file.name, path)


def _asset(name: str) -> Asset:
    if name not in ASSETS:
        raise UserError(f"no asset {name!r}: there are {', '.join(ASSETS)}")
    return ASSETS[name]


def _absent(asset: Asset) -> list[File]:
    folder = asset_folder(asset.name)
    return [file for file in asset.files if not os.path.isfile(folder / file.name)]


def _damaged(asset: Asset) -> File | None:
    """The first file that is there but is not what it should be."""
    folder = asset_folder(asset.name)
    for file in asset.files:
        path = folder / file.name
        if os.path.isfile(path) and not _intact(path, file):  # unlike Path's, it never raises
            return file
    return None


def _intact(path: Path, file: File) -> bool:
    try:
        found = path.stat()
        if found.st_size != file.size:
            return False
        key = identity(found)
        if key not in _hashes:
            _hashes[key] = sha256(path)
    except OSError:
        return False
    return _hashes[key] == file.sha256


@contextlib.contextmanager
def _download_folder(asset: Asset, folder: Path) -> Iterator[Path]:
    """A temporary folder on the file system of the cache, so that moving files out of it is atomic."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{asset.name}-", ignore_cleanup_errors=True) as path:
        yield Path(path)


def _remove_leftovers(asset: Asset, parent: Path) -> None:
    """Remove the folders of killed downloads. Whoever downloads the asset holds its lock, as the caller does."""
    for path in parent.glob(f".{asset.name}-*"):
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _progress(asset: Asset) -> Iterator[sources.Tick]:
    """A progress bar on a terminal, otherwise one line; both on standard error."""
    label = f"fetching {asset.name} (licence: {asset.licence})"
    if not sys.stderr.isatty():
        print(f"{label}, {asset.size / 1e6:.1f} MB", file=sys.stderr)
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(label, total=asset.size)
        yield lambda done: progress.update(bar, completed=min(done, asset.size))
