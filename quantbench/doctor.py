"""`quantbench doctor`: what this machine is and has, for a person with a problem and for the records."""

from __future__ import annotations

import argparse
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

from quantbench.errors import UserError
from quantbench.packages import PACKAGES, version_of
from quantbench.version import VERSION

# Name -> flags that all must be set, the best first. It decides how fast int8 is, and whether a engine saturates.
ISAS = {
    "amx_int8": {"amx_int8"},
    "avx512_vnni": {"avx512_vnni"},
    "avx_vnni": {"avx_vnni"},
    "avx512": {"avx512f", "avx512bw"},
    "avx2": {"avx2"},
    "avx": {"avx"},
    "neon_i8mm": {"i8mm"},
    "neon_dotprod": {"asimddp"},
    "neon": {"asimd"},
}
# Shown as yes or no: name -> flags of which one must be set.
FEATURES = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "AMX int8": {"amx_int8"},
    "bf16": {"avx512_bf16", "amx_bf16", "bf16"},
}
SECONDS = 4.0  # that a probe of the network may take


def main(arguments: list[str]) -> int:
    """Prints all findings; 1 if one of them keeps quantbench from working."""
    parser = argparse.ArgumentParser("quantbench doctor", description="Show versions, device, caches, reachable sites.")
    parser.add_argument("--offline", action="store_true", help="do not try the network")
    options = parser.parse_args(arguments)
    # The probes wait for the network while torch is being imported.
    with ThreadPoolExecutor() as pool:
        probes = {} if options.offline else {name: pool.submit(probe) for name, probe in PROBES.items()}
        broken = _section("versions", _versions())
        broken |= _section("device", _device())
        broken |= _section("cache", _cache())
        broken |= _section("assets", _assets())
        _section("reachable", ((name, probe.result()) for name, probe in probes.items()))
    return 1 if broken else 0


def isa(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The best instruction set for int8 that this CPU has, such as `avx512_vnni`; the architecture if none is known."""
    flags = cpu_flags(cpuinfo)
    return next((name for name, needed in ISAS.items() if needed <= flags), platform.machine().lower() or "unknown")


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """The CPU's flags as Linux names them; empty elsewhere."""
    return set(_cpuinfo("flags", cpuinfo).split()) or set(_cpuinfo("Features", cpuinfo).split())


def cpu_name() -> str:
    """The CPU's model in words."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The value of the first line `key : value`."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.split(":")[0].strip() == key), "")


def _section(title: str, findings: Iterable[tuple[str, str]]) -> bool:
    """Prints a section as it is found out; True if something in it is broken."""
    print(title)
    broken = False
    for name, value in findings:
        print(f"  {name:<20}  {value}", flush=True)
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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "cores", f"{cores} of {os.cpu_count()}"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        yield "memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
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
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield "CUDA", ", ".join(devices) or "no device"


def _cache() -> Iterable[tuple[str, str]]:
    from quantbench.assets import cache_folder

    try:
        folder = cache_folder()
    except UserError as error:
        yield "folder", f"BROKEN: {error}"
        return
    yield "folder", str(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        yield "writable", "yes"
        yield "free", f"{shutil.disk_usage(folder).free / 1e9:.1f} GB"
    except OSError as error:
        yield "writable", f"BROKEN: {error.strerror}"


def _assets() -> Iterable[tuple[str, str]]:
    from quantbench.assets import ASSETS, cache_folder, status

    try:
        cache_folder()
    except UserError:  # said above
        return
    for name in ASSETS:
        state = status(name)
        advice = f"quantbench assets fetch {'--force ' if state == 'corrupt' else ''}{name}"
        yield name, state if state == "present" else f"{state} ({advice})"


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
