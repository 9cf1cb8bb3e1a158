"""Faults of a machine that stop a run or spoil it, seen before: each in a few words that say what to do.

A finding that begins with BROKEN keeps quantbench from working, one with WARNING may.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from quantbench import console

GIB = 2**30
NARROW = 60  # columns below which tables become lines
LEAST_MEMORY, LOW_MEMORY = 0.5 * GIB, 2 * GIB  # bytes: torch alone takes the first
TEMPORARY_SPACE = RESULTS_SPACE = 1e8  # bytes: archives are unpacked in the one, a sweep's records are in the other
AHEAD = 3600.0  # seconds that another machine's clock may be ahead


def terminal() -> Iterator[tuple[str, str]]:
    """What standard output can show."""
    encoding = (sys.stdout.encoding or "unknown").lower()
    advice = "" if encoding.startswith("utf") else ": other letters are escaped; set PYTHONUTF8=1"
    yield "encoding", f"{encoding}{advice}"
    if not console.is_terminal():
        yield "width", "no terminal: lines as long as they come"
    else:
        columns = console.width()
        yield "width", f"{columns}{': tables become lines' if columns < NARROW else ''}"


def memory(meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> str:
    """Free memory of the machine, or of the container where that is less."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        total, free = (int(lines[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError, KeyError):
        return "unknown"
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii")) - _reclaimable(group)
        total, free = min(total, limit), min(free, max(0, limit - used))
    except (OSError, ValueError):  # no container, or no limit: the word is max
        pass
    said = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if free < LEAST_MEMORY:
        return f"BROKEN: {said}: end other programs, or take a larger machine"
    return f"WARNING: {said}: a batch that does not fit is halved" if free < LOW_MEMORY else said


def _reclaimable(group: Path) -> int:
    """Bytes that a container's files take in memory and that programs get as soon as they ask."""
    try:
        words = (group / "memory.stat").read_text(encoding="ascii").split()
        return int(words[words.index("inactive_file") + 1])
    except (OSError, ValueError):
        return 0


def threads(used: int, cores: int) -> str:
    """Whether torch computes with more threads than there are cores, which is slower, not faster."""
    if used > cores:
        return f"WARNING: {used} on {cores} cores: run with threads={cores}, or set OMP_NUM_THREADS={cores}"
    return str(used)


def folders() -> Iterator[tuple[str, str]]:
    """Those that libraries write to without being asked."""
    try:
        temporary = Path(tempfile.gettempdir())
    except OSError as error:
        yield "temporary", f"BROKEN: {error.strerror}: name a folder in TMPDIR"
    else:
        yield "temporary", str(temporary)
        yield "temporary writable", writable(temporary, "name another folder in TMPDIR")
        yield "temporary free", space(temporary, TEMPORARY_SPACE, "or name one in TMPDIR")
    try:
        home = Path.home()
        state = writable(home, "set HOME, or HF_HOME and QUANTBENCH_CACHE", "WARNING")
    except RuntimeError:
        state = "WARNING: there is none: set HOME, or HF_HOME and QUANTBENCH_CACHE"
    yield "home writable", state


def results(folder: Path) -> Iterator[tuple[str, str]]:
    """A results folder, its records and what killed runs left in it."""
    yield "folder", str(folder)
    if not folder.is_dir():
        yield "there", "BROKEN: no such folder: give another one with --results"
        return
    yield "writable", writable(folder, "choose another results_dir")
    yield "free", space(folder, RESULTS_SPACE, "or choose another results_dir")
    from quantbench.results.store import read_records

    records, problems = read_records(folder)
    failed = sum(row.status in ("failed", "error") for row, _ in records)
    again = f", {failed} of them failed (retry=failed measures these again)" if failed else ""
    yield "records", f"{len(records)}{again}"
    for number, problem in enumerate(problems[:3], 1):
        more = f" (and {len(problems) - 3} more)" if number == 3 < len(problems) else ""
        yield f"unusable record {number}", f"WARNING: {problem}{more}"
    if left := sum(1 for _ in folder.rglob(".*.partial")):
        yield (
            "left-over files",
            f"{left} (.*.partial): of a run that goes on, or was killed: the next run clears those",
        )
    yield "clock", clock(folder)


def kept_arrays(folder: Path) -> str:
    """Outputs and histograms that the cache keeps: how many, and which are damaged."""
    kept = [path for kind in ("fp32", "histograms") for path in sorted((folder / kind).glob("*.npz"))]
    damaged = [path for path in kept if not _whole(path)]
    if not damaged:
        return f"{len(kept)}"
    named = " ".join(str(path) for path in damaged[:3])
    return f"WARNING: {len(damaged)} of {len(kept)} damaged: computed anew when needed; delete {named}"


def clock(folder: Path) -> str:
    """Whether files are newer than now, which says that this clock is wrong, or was when they were written."""
    limit = time.time() + AHEAD
    for path in _files(folder):
        try:
            if (changed := path.stat().st_mtime) > limit:
                then, now = (time.strftime("%Y-%m-%d %H:%M", time.gmtime(t)) for t in (changed, time.time()))
                return f"WARNING: it is {now} UTC here, but {path} is of {then}: set the clock"
        except (OSError, ValueError, OverflowError):
            continue
    return "plausible"


def writable(folder: Path, advice: str, severity: str = "BROKEN") -> str:
    """Whether a file can be written there; the folder is made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x" * 4096)
            file.flush()
    except OSError as error:
        return f"{severity}: {error.strerror}: {advice}"
    return "yes"


def space(folder: Path, needed: float, advice: str) -> str:
    """How much room there is for files."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"unknown ({error.strerror})"
    said = f"{free / 1e9:.1f} GB"
    if free < needed:
        return f"BROKEN: {said}, a run may need {needed / 1e9:g} GB: free some, {advice}"
    return f"WARNING: {said}: soon full" if free < 2 * needed else said


def program(name: str) -> bool:
    """Whether a program is at hand; pip is called as a module of this Python."""
    return importlib.util.find_spec("pip") is not None if name == "pip" else shutil.which(name) is not None


def _files(folder: Path) -> Iterable[Path]:
    """Some thousand files below a folder."""
    for count, (parent, _, names) in enumerate(os.walk(folder)):
        if count > 200:
            return
        yield from (Path(parent, name) for name in names[:1000])


def _whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError):
        return False  # what a damaged file raises depends on the byte that is damaged
