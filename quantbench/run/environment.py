"""What a machine has: cores and memory. Only memory imports torch, and only for a GPU."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path


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
