"""What a record says of where it came from: versions, git, ISA, memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from quantbench.packages import PACKAGES, version_of


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a figure."""
    packages = {package: version_of(package) or "not installed" for package in ("quantbench", *PACKAGES)}
    return {"python": platform.python_version(), "platform": platform.platform(), **packages}


@cache
def git_revision() -> str | None:
    """The commit of the source checkout this runs from; None when installed.

    `-dirty` where files differ from it, results/ left out: a run writes there, and nothing reads it.
    """
    root = Path(__file__).resolve().parents[1]
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


def reset_peak_memory(device: str = "cpu") -> None:
    """Start a new measurement of peak memory, where the system can (Linux, CUDA)."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mb(device: str = "cpu") -> float:
    """The largest resident memory of this process, or memory taken on the GPU, since the last reset: in 2^20 bytes."""
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated()) / 2**20
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
