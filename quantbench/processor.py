"""What the CPU can do, by the flags that Linux names. Imports nothing heavy."""

from __future__ import annotations

import os
import platform
from pathlib import Path

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
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.split(":")[0].strip() == key), "")


def cores() -> int:
    """The cores that this process may use: of the machine, of its mask, and of the container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(allowed, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or no quota: the word is max
        return allowed
