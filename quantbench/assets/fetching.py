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
from quantbench.assets.archives import Unusable, extract
from quantbench.assets.asset import Asset, File
from quantbench.assets.catalogue import ASSETS
from quantbench.assets.content import content_sha256
from quantbench.errors import UserError

Status = Literal["missing", "present", "corrupt"]


def cache_folder() -> Path:
    """The folder of all that quantbench keeps between runs: QUANTBENCH_CACHE, else the user's cache folder.

    Raises UserError if it is below a home that the user does not have.
    """
    import platformdirs

    try:
        folder = Path(os.environ.get("QUANTBENCH_CACHE") or platformdirs.user_cache_path("quantbench")).expanduser()
    except RuntimeError as error:
        raise UserError("this user has no home folder: name a folder for the cache in QUANTBENCH_CACHE") from error
    return folder.absolute()


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
    from filelock import FileLock

    asset = _asset(name)
    folder = asset_folder(name)
    if not force and not _absent(asset):
        return verify(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{name}.lock"):
            for leftover in folder.parent.glob(f".{name}-*"):  # of killed downloads: a living one holds the lock
                shutil.rmtree(leftover, ignore_errors=True)
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
        os.replace(work / file.name, folder / file.name)


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
        return path.stat().st_size == file.size and content_sha256(path) == file.sha256
    except (OSError, UserError):
        return False


@contextlib.contextmanager
def _download_folder(asset: Asset, folder: Path) -> Iterator[Path]:
    """A temporary folder on the file system of the cache, so that moving files out of it is atomic."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{asset.name}-", ignore_cleanup_errors=True) as path:
        yield Path(path)


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
