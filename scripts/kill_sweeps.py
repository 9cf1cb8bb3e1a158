"""Kills a sweep with SIGKILL at random moments, again and again, and proves that nothing is lost.

A sweep is measured undisturbed. Then the same sweep is started and its process group killed after a random delay, into
the same folder, until it is let finish by the same command; then into a fresh folder, half of the time with a fresh
cache. After every kill each record that was finished must be there byte for byte, and every file be whole, or an
unfinished temporary one. Whatever was finished must equal the undisturbed sweep, times apart.

The moment is uniform over the cells that are left, counted in finished cells, so that it does not depend on how busy
the machine is. Most sweeps are forked from a process that has imported everything, so that kills do not fall into
imports; every tenth is a command of its own. A quarter of the kills wait for a temporary file, to hit the moment of
writing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from quantbench.assets import fetch
from quantbench.cli import main as cli
from quantbench.errors import UserError
from quantbench.results import store
from quantbench.results.files import write_text
from quantbench.results.histograms import NAMES
from quantbench.results.record import COLUMNS
from quantbench.run.cache import read_arrays
from quantbench.run.environment import git_revision, versions

SWEEP = ("run", "-m", "model=resnet20_fashion", "weight_bits=8,4", "calib=max,percentile,percentile_99_9")
SMALL = ("limit=200", "task.calibration_samples=32", "threads=1")
CELLS = 6
ANEW = {"started", "seconds", "seconds_calibrate", "seconds_fp32", "seconds_quantized", "peak_memory_mb"}
FORKS = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Place:
    """Where a sweep writes: its results folder, and the cache of its own."""

    results: Path
    cache: Path

    def files(self) -> list[Path]:
        """All files of both, the assets apart."""
        folders = [self.results, self.cache / "fp32", self.cache / "histograms"]
        return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]

    def partials(self) -> list[str]:
        """The names of the unfinished temporary files."""
        folders = (self.results, self.results / "cells", self.results / "histograms")
        kept = (self.cache / "fp32", self.cache / "histograms")
        names = [name for folder in (*folders, *kept) if folder.is_dir() for name in os.listdir(folder)]
        return [name for name in names if name.endswith(".partial")]

    def records(self) -> dict[Path, tuple[bytes, int]]:
        """The content and the time of change of every record and of its samples."""
        found = {}
        for record in self.results.glob("cells/*.json"):
            for path in (record, store.samples_path(self.results, record.stem)):
                found[path] = (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else (b"", 0)
        return found


@dataclass
class Outcome:
    """What was seen; `problems` says of each lost, torn or differing file what it was."""

    kills: int = 0
    phases: dict[str, int] = field(default_factory=dict)
    started: dict[str, int] = field(default_factory=dict)
    sweeps_finished: int = 0
    records_checked: int = 0
    cells_compared: int = 0
    lost: int = 0
    torn: int = 0
    differing: int = 0
    leftovers: int = 0
    problems: list[str] = field(default_factory=list)

    def note(self, kind: str, what: str) -> None:
        """Count a problem."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.problems.append(f"{kind}: {what}")
        print(f"{kind}: {what}", flush=True)


def main() -> int:
    """Kill, check, finish, compare; 1 if anything was lost, torn or other than in the undisturbed sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--output", type=Path, default=Path("results/faults/kills.json"))
    options = parser.parse_args()
    began, draw, outcome = time.monotonic(), random.Random(options.seed), Outcome()
    os.environ["OMP_NUM_THREADS"] = "1"
    FORKS.set_forkserver_preload(["quantbench.run.job", "quantbench.cli.summary", "hydra"])
    with tempfile.TemporaryDirectory(prefix="kill_sweeps_") as name:
        folder = Path(name)
        undisturbed = Place(folder / "undisturbed", folder / "cache0")
        asset = fetch("fashion_mnist")
        for cache in ("cache0", "cache"):
            shutil.copytree(asset, folder / cache / "assets" / "fashion_mnist")
        measured(undisturbed, "forked")  # the first one waits for the imports
        lengths = {how: measured(undisturbed, how) for how in ("command", "forked")}
        expected = figures(undisturbed, outcome)
        assert len(expected) == CELLS, "the undisturbed sweep did not finish"
        print(f"undisturbed: {CELLS} cells; first file and end after {lengths} s", flush=True)
        kill_and_finish(Place(folder / "killed", folder / "cache"), options.kills, draw, lengths, expected, outcome)
    said = {
        **asdict(outcome),
        "cells_of_the_sweep": CELLS,
        "sweep": " ".join(SWEEP + SMALL),
        "first_file_and_end_undisturbed_s": lengths,
        "seed": options.seed,
        "seconds": round(time.monotonic() - began),
        "git": git_revision(),
        "versions": versions(),
    }
    write_text(options.output, json.dumps(said, indent=1) + "\n")
    print(json.dumps({key: value for key, value in said.items() if key != "versions"}, indent=1))
    return 1 if outcome.problems else 0


def measured(place: Place, how: str) -> tuple[float, float]:
    """Run the sweep undisturbed into a fresh folder; seconds until its first file is there, and until its end."""
    began, first = time.monotonic(), None
    for old in (place.results, place.cache / "fp32", place.cache / "histograms"):
        shutil.rmtree(old, ignore_errors=True)
    sweep = Sweep(place, how)
    while sweep.code() is None:
        if first is None and place.files():
            first = time.monotonic() - began
        time.sleep(0.01)
    assert sweep.code() == 0 and first is not None, sweep.log.read_text()
    return round(first, 2), round(time.monotonic() - began, 2)


def kill_and_finish(
    place: Place,
    kills: int,
    draw: random.Random,
    lengths: dict[str, tuple[float, float]],
    expected: dict[str, Any],
    outcome: Outcome,
) -> None:
    """Kill `kills` times; let a sweep finish about every twelfth time, and at the end."""
    while outcome.kills < kills or place.results.exists():
        finish = outcome.kills >= kills or draw.random() < 1 / 12
        how = "command" if draw.random() < 1 / 10 else "forked"
        outcome.started[how] = outcome.started.get(how, 0) + 1
        before = place.records()
        sweep = Sweep(place, how)
        further, delay = moment(lengths[how], CELLS - len(before) // 2, draw)
        killed = not finish and sweep.kill(len(before) // 2 + further, delay, draw.random() < 1 / 4)
        if killed:
            outcome.kills += 1
            hit = phase(place, before)
            outcome.phases[hit] = outcome.phases.get(hit, 0) + 1
        elif (code := sweep.wait()) != 0:
            outcome.note("differing", f"exit code {code}: {sweep.log.read_text()[-500:]}")
        check(place, before, expected, outcome)
        if not killed:
            compare(place, expected, outcome)
            shutil.rmtree(place.results)
            for kept in ("fp32", "histograms") if draw.random() < 0.5 else ():
                shutil.rmtree(place.cache / kept)
        print(
            f"{outcome.kills}/{kills} kills, {len(place.records()) // 2} cells there, {outcome.sweeps_finished} sweeps "
            f"finished, lost {outcome.lost}, torn {outcome.torn}, differing {outcome.differing}",
            flush=True,
        )


class Sweep:
    """The sweep as a process that leads a group of its own."""

    def __init__(self, place: Place, how: str) -> None:
        self.place = place
        self.log = place.cache / "log"
        arguments = [*SWEEP, *SMALL, f"results_dir={place.results}"]
        self.process: Any
        if how == "command":
            command = [sys.executable, "-m", "quantbench.cli.main", *arguments]
            environment = {**os.environ, "QUANTBENCH_CACHE": str(place.cache)}
            with self.log.open("wb") as log:
                self.process = subprocess.Popen(
                    command, stdout=log, stderr=log, env=environment, start_new_session=True
                )
        else:
            self.process = FORKS.Process(target=run_forked, args=(arguments, place.cache, self.log))
            self.process.start()

    def code(self) -> int | None:
        """The exit code, None while it runs."""
        found = self.process.poll() if isinstance(self.process, subprocess.Popen) else self.process.exitcode
        return None if found is None else int(found)

    def wait(self) -> int:
        """The exit code, at the end."""
        while (code := self.code()) is None:
            time.sleep(0.01)
        return code

    def kill(self, records: int, delay: float, writing: bool) -> bool:
        """Kill the group `delay` seconds after so many records are there and, if `writing`, at a temporary file.

        False if it ended before.
        """
        until = None
        while self.code() is None:
            if until is None and len(list(self.place.results.glob("cells/*.json"))) >= records:
                until = time.monotonic() + delay
            now = until is not None and time.monotonic() >= until
            if now and (not writing or self.place.partials()):
                try:
                    os.killpg(self.process.pid, signal.SIGKILL)
                except ProcessLookupError:  # it does not lead its group yet
                    os.kill(self.process.pid, signal.SIGKILL)
                return self.wait() == -signal.SIGKILL
            time.sleep(0.0002 if now and writing else 0.005)  # a temporary file lives for some milliseconds
        return False


def run_forked(arguments: list[str], cache: Path, log: Path) -> None:
    """The sweep, in a process forked for it."""
    os.setsid()
    os.environ["QUANTBENCH_CACHE"] = str(cache)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.exit(cli.main(arguments))


def moment(length: tuple[float, float], missing: int, draw: random.Random) -> tuple[int, float]:
    """When to kill: so many seconds after so many further cells, which is uniform over what is left of the sweep.

    However busy the machine is. A kill before the first cell is uniform over the start of the program.
    """
    first, end = length
    further = draw.randrange(missing + 1)
    return further, draw.uniform(0.0, (end - first) / CELLS if further else first)


def phase(place: Place, before: dict[Path, Any]) -> str:
    """What a kill hit."""
    if place.partials():
        return "while a temporary file was there"
    if len(place.records()) > len(before):
        return "between the cells it measured"
    return "before its first cell" if not before else "before its first further cell"


def check(place: Place, before: dict[Path, tuple[bytes, int]], expected: dict[str, Any], outcome: Outcome) -> None:
    """What was finished is there byte for byte, untouched; every file is whole or temporary."""
    now = place.records()
    outcome.records_checked += len(before) // 2
    for path, kept in before.items():
        if now.get(path) != kept:
            outcome.note("lost", f"{path.name} changed or is gone")
    for path in place.files():
        try:
            if not is_whole(path, place, expected):
                outcome.note("torn", f"{path.name} is no file of a sweep")
        except (OSError, ValueError, KeyError, UserError) as error:
            outcome.note("torn", f"{path.name}: {error}")


def is_whole(path: Path, place: Place, expected: dict[str, Any]) -> bool:
    """Whether a file is complete, or unfinished under a temporary name. A torn one may raise as well."""
    name, folder = path.name, path.parent.name
    if path.suffix == ".partial" or name == ".results.lock":
        return True
    if name == "results.csv":
        lines = path.read_text().splitlines()
        return lines[0] == ",".join(COLUMNS) and all(line.count(",") >= len(COLUMNS) - 1 for line in lines)
    if folder == "cells":
        if name.endswith(".samples.csv"):
            return path.read_bytes() == expected[name.partition(".")[0]]["samples"]
        return store.read_row(place.results, path.stem) is not None
    if path.suffix == ".npz":
        names = ("outputs", "seconds") if folder == "fp32" else (*NAMES, "seconds")
        return read_arrays(path, NAMES if path.is_relative_to(place.results) else names) is not None
    if folder == "runs":
        return all(isinstance(json.loads(line), dict) for line in path.read_text().splitlines())
    return folder == "multirun"  # Hydra's own


def figures(place: Place, outcome: Outcome) -> dict[str, Any]:
    """Of each cell its row, times apart, what it was decided by, and its samples."""
    records, problems = store.read_records(place.results)
    for problem in problems:
        outcome.note("torn", problem)
    return {
        row.cell: {
            "row": {name: value for name, value in asdict(row).items() if name not in ANEW},
            "details": {name: details.get(name) for name in ("ranges", "site_sqnr_db", "histograms", "config")},
            "samples": store.samples_path(place.results, row.cell).read_bytes(),
        }
        for row, details in records
    }


def compare(place: Place, expected: dict[str, Any], outcome: Outcome) -> None:
    """A finished sweep is the undisturbed one, and nothing unfinished is left."""
    outcome.sweeps_finished += 1
    found = figures(place, outcome)
    outcome.cells_compared += len(found)
    for cell in expected.keys() | found.keys():
        if found.get(cell) != expected.get(cell):
            outcome.note("differing", f"cell {cell} is other than in the undisturbed sweep")
    for name in place.partials():
        outcome.note("leftovers", name)
    if len((place.results / "results.csv").read_text().splitlines()) != CELLS + 1:
        outcome.note("differing", "results.csv has not one line a cell")


if __name__ == "__main__":
    sys.exit(main())
