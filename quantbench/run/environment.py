"""Where a record came from, and what a machine has: versions, git, CPU and instruction set, memory.

Only the two functions of memory import torch, and only for a GPU: `quantbench doctor` works where torch does not.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

# Those that can change a figure.
PACKAGES = ("torch", "torchvision", "timm", "transformers", "numpy", "scipy", "pillow", "soundfile", "hydra-core")
# Name -> flags that all must be set, the best first. It decides how fast int8 is, and whether an engine saturates.
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
CPUINFO = Path("/proc/cpuinfo")


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a figure."""
    packages = {package: version_of(package) or "not installed" for package in ("quantbench", *PACKAGES)}
    return {"python": platform.python_version(), "platform": platform.platform(), **packages}


def version_of(package: str) -> str | None:
    """The version that is installed; None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache
def git_revision() -> str | None:
    """The commit of the source checkout this runs from; None when installed.

    `-dirty` where files differ from it, results/ left out: a run writes there, and nothing reads it.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    git = ["git", "-C", str(root)]
    try:
        described = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, encoding="utf-8", check=True
        )
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ".", ":!results"], check=False)
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip() + ("-dirty" if changed.returncode else "")


def isa(cpuinfo: Path = CPUINFO) -> str:
    """The best instruction set for int8 that this CPU has, such as `avx512_vnni`; the architecture if none is known."""
    flags = cpu_flags(cpuinfo)
    return next((name for name, needed in ISAS.items() if needed <= flags), platform.machine().lower() or "unknown")


def cpu_flags(cpuinfo: Path = CPUINFO) -> set[str]:
    """The CPU's flags as Linux names them; empty elsewhere."""
    return set(_cpuinfo("flags", cpuinfo).split()) or set(_cpuinfo("Features", cpuinfo).split())


def cpu_name() -> str:
    """The CPU's model in words."""
    return _cpuinfo("model name", CPUINFO) or platform.processor() or platform.machine()


def cores() -> int:
    """The cores that this process may use: of the machine, of its mask, and of the container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(allowed, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or no quota: the word is max
        return allowed


def reset_peak_memory(device: str = "cpu") -> None:
    """Start a new measurement of peak memory, where the system can (Linux, CUDA)."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mb(device: str = "cpu") -> float:
    """The largest resident memory of this process, or memory taken on the GPU, since the last reset: in 2^20 bytes."""
    if device == "cuda":
        import torch

        return float(torch.cuda.max_memory_allocated()) / 2**20
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _cpuinfo(key: str, cpuinfo: Path) -> str:
    """The value of the first line `key : value`; empty where there is none."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.split(":")[0].strip() == key), "")
