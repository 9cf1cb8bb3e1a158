"""`quantbench doctor`: what this machine is and has, and what would stop a run, before a run finds it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from quantbench import __version__ as VERSION
from quantbench import console
from quantbench.cli.arguments import Parser
from quantbench.errors import UserError, in_one_line
from quantbench.results.maker import PACKAGES, cpu_flags, cpu_name, isa, version_of
from quantbench.run.environment import cores

# Shown as yes or no: name -> flags of which one must be set.
FEATURES = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "AMX int8": {"amx_int8"},
    "bf16": {"avx512_bf16", "amx_bf16", "bf16"},
}
LAUNCHERS = ("hydra-joblib-launcher", "hydra-submitit-launcher", "hydra-ray-launcher")
ASSETS_SPACE, KEPT_SPACE = 1e9, 1e8  # bytes that the cache needs: for all assets, and for what runs keep
SECONDS = 4.0  # that a probe of the network may take


def main(arguments: list[str]) -> int:
    """Prints all findings; 1 if one of them keeps quantbench from working."""
    parser = Parser("quantbench doctor", description="Show what this machine has, and what would stop a run.")
    parser.add_argument("--offline", action="store_true", help="do not try the network")
    options = parser.parse_args(arguments)
    # The probes wait for the network while torch is being imported.
    with ThreadPoolExecutor() as pool:
        probes = {} if options.offline else {name: pool.submit(probe) for name, probe in PROBES.items()}
        broken = _section("versions", _versions())
        broken |= _section("device", _device())
        broken |= _section("cache and assets", _cache())
        _section("reachable", ((name, probe.result()) for name, probe in probes.items()))
    return 1 if broken else 0


def _section(title: str, findings: Iterable[tuple[str, str]]) -> bool:
    """Prints a section as it is found out; True if something in it is broken."""
    print(title)
    broken = False
    for name, value in findings:
        console.folded(f"  {name:<24}  {value}")
        sys.stdout.flush()
        broken |= value.startswith("BROKEN")
    return broken


def _versions() -> Iterable[tuple[str, str]]:
    yield "quantbench", VERSION
    yield "python", f"{platform.python_version()} ({sys.executable})"
    for package in (*PACKAGES, "hydra-core", "datasets"):
        yield package, version_of(package) or "BROKEN: not installed"
    for package in LAUNCHERS:
        yield package, version_of(package) or "not installed (docs/launchers says what for)"
    yield "torch + torchvision", _operators()


def _operators() -> str:
    """A torchvision built for another torch imports, or not, but its operators are not there."""
    try:
        import torch
        import torchvision.ops

        torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    except Exception as error:
        return f"BROKEN: torchvision does not match torch; install both anew together ({in_one_line(error)[:80]})"
    return "match"


def _device() -> Iterable[tuple[str, str]]:
    yield "CPU", cpu_name()
    yield "cores", f"{cores()} of {os.cpu_count()}"
    flags = cpu_flags()
    for name, needed in FEATURES.items():
        yield name, ("yes" if needed & flags else "no") if flags else "unknown"
    yield "best for int8", isa()
    try:
        import torch
    except Exception as error:
        yield "torch", f"BROKEN: {in_one_line(error)[:100]}"
        return
    yield "torch's kernels", torch.backends.cpu.get_cpu_capability()
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
    yield "writable", _writable(folder)
    states = {name: status(name) for name in ASSETS}
    yield "free", _free(folder, ASSETS_SPACE if "missing" in states.values() else KEPT_SPACE)
    said = {
        "present": "present",
        "missing": "missing (quantbench assets fetch {})",
        "corrupt": "BROKEN: corrupt (quantbench assets fetch --force {})",
    }
    for name, state in states.items():
        yield name, said[state].format(name)


def _writable(folder: Path) -> str:
    """Whether a file can be written there; the folder is made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x" * 4096)
            file.flush()
    except OSError as error:
        return f"BROKEN: {error.strerror}: name another folder in QUANTBENCH_CACHE"
    return "yes"


def _free(folder: Path, needed: float) -> str:
    """How much room there is for files, beside the bytes that may be needed."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"unknown ({error.strerror})"
    said = f"{free / 1e9:.1f} GB"
    if free < needed:
        return f"BROKEN: {said} of the {needed / 1e9:g} GB that may be needed: free some, or set QUANTBENCH_CACHE"
    return said


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
