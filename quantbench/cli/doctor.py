"""`quantbench doctor`: what this machine is and has, and what would stop a run, before a run finds it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from quantbench import __version__ as VERSION
from quantbench import console
from quantbench.cli import health
from quantbench.cli.arguments import Parser
from quantbench.errors import UserError
from quantbench.run.environment import FEATURES, PACKAGES, cores, cpu_flags, cpu_name, isa, version_of
from quantbench.sweep.launchers import LAUNCHERS

RESULTS = "quantbench-results"  # where a run writes unless it is told otherwise
ASSETS_SPACE, KEPT_SPACE = 1e9, 1e8  # bytes that the cache needs: for all assets, and for what runs keep
# What cannot be done without them.
PROGRAMS = {
    "pip": "assets that come from the package index cannot be fetched",
    "apt-get": "assets that come from Debian cannot be fetched",
    "dpkg-deb": "archives from Debian cannot be opened",
    "git": "records do not say of which commit they are",
}
SECONDS = 4.0  # that a probe of the network may take


def main(arguments: list[str]) -> int:
    """Prints all findings; 1 if one of them keeps quantbench from working."""
    parser = Parser("quantbench doctor", description="Show what this machine has, and what would stop a run.")
    parser.add_argument("--offline", action="store_true", help="do not try the network")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="a results folder to look through")
    options = parser.parse_args(arguments)
    # The probes wait for the network while torch is being imported.
    with ThreadPoolExecutor() as pool:
        probes = {} if options.offline else {name: pool.submit(probe) for name, probe in PROBES.items()}
        broken = _section("versions", _versions())
        broken |= _section("device", _device())
        broken |= _section("terminal", health.terminal())
        broken |= _section("cache", _cache())
        broken |= _section("other folders", health.folders())
        results = options.results or Path(RESULTS)
        if options.results or results.is_dir():
            broken |= _section("results", health.results(results))
        broken |= _section("assets", _assets())
        broken |= _section("programs", _programs())
        _section("reachable", ((name, probe.result()) for name, probe in probes.items()))
    return 1 if broken else 0


def _section(title: str, findings: Iterable[tuple[str, str]]) -> bool:
    """Prints a section as it is found out; True if something in it is broken."""
    print(title)
    broken = False
    for name, value in findings:
        console.folded(f"  {name:<20}  {value}")
        sys.stdout.flush()
        broken |= value.startswith("BROKEN")
    return broken


def _versions() -> Iterable[tuple[str, str]]:
    yield "quantbench", VERSION
    yield "python", f"{platform.python_version()} ({sys.executable})"
    for package in (*PACKAGES, "datasets"):
        yield package, version_of(package) or "BROKEN: not installed"
    yield "torch + torchvision", _operators()


def _operators() -> str:
    """A torchvision built for another torch imports, or not, but its operators are not there."""
    try:
        import torch
        import torchvision.ops

        torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    except Exception as error:
        reason = " ".join(str(error).split())[:80]
        return f"BROKEN: torchvision does not match torch; install both anew together ({reason})"
    return "match"


def _device() -> Iterable[tuple[str, str]]:
    yield "CPU", cpu_name()
    yield "cores", f"{cores()} of {os.cpu_count()}"
    yield "memory", health.memory()
    flags = cpu_flags()
    for name, needed in FEATURES.items():
        yield name, ("yes" if needed & flags else "no") if flags else "unknown"
    yield "best for int8", isa()
    try:
        import torch
    except Exception as error:
        yield "torch", f"BROKEN: {' '.join(str(error).split())[:100]}"
        return
    yield "torch's kernels", torch.backends.cpu.get_cpu_capability()
    yield "threads", health.threads(torch.get_num_threads(), cores())
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield "CUDA", ", ".join(devices) or "no device"


def _cache() -> Iterable[tuple[str, str]]:
    from quantbench.assets import ASSETS, cache_folder, status

    try:
        folder = cache_folder()
    except UserError as error:
        yield "folder", f"BROKEN: {error}"
        return
    yield "folder", str(folder)
    yield "writable", health.writable(folder, "name another folder in QUANTBENCH_CACHE")
    missing = any(status(name) != "present" for name in ASSETS)
    yield "free", health.space(folder, ASSETS_SPACE if missing else KEPT_SPACE, "or name one in QUANTBENCH_CACHE")
    yield "kept arrays", health.kept_arrays(folder)
    yield "clock", health.clock(folder)


def _assets() -> Iterable[tuple[str, str]]:
    from quantbench.assets import ASSETS, cache_folder, status

    try:
        cache_folder()
    except UserError:  # said above
        return
    for name in ASSETS:
        state = status(name)
        said = {
            "present": "present",
            "missing": f"missing (quantbench assets fetch {name})",
            "corrupt": f"BROKEN: corrupt (quantbench assets fetch --force {name})",
        }
        yield name, said[state]


def _programs() -> Iterable[tuple[str, str]]:
    for program, without in PROGRAMS.items():
        yield program, "yes" if health.program(program) else f"no ({without})"
    for launcher, (package, extra) in LAUNCHERS.items():
        yield f"launcher {launcher}", version_of(package) or f"no (pip install 'quantbench[{extra}]')"


def _index() -> str:
    """The package index as pip is set up on this machine, asked through pip."""
    command = [sys.executable, "-m", "pip", "index", "versions", "pip", "--retries", "0", "--timeout", str(SECONDS)]
    command += ["--disable-pip-version-check", "--quiet"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS + 1, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "no (no answer)"
    return "yes" if done.returncode == 0 else "no"


def _site(url: str) -> str:
    """Whether anything answers there, be it with an error."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=SECONDS).close()
    except urllib.error.HTTPError as answer:
        # A proxy that lets nothing through answers in the site's place.
        return "no (refused)" if answer.code in (403, 407, 502, 503, 504) else "yes"
    except OSError as error:
        reason = getattr(error, "reason", error)
        return f"no ({getattr(reason, 'strerror', None) or type(reason).__name__})"
    return "yes"


PROBES: dict[str, Callable[[], str]] = {
    "package index": _index,
    "model hub": lambda: _site(os.environ.get("HF_ENDPOINT", "https://huggingface.co")),
    "torchvision": lambda: _site("https://download.pytorch.org"),
    "Fashion-MNIST": lambda: _site("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"),
}
