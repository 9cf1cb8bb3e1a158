"""What made a record: the code that computes, the versions of the libraries that do, the device and instruction set.

Figures of another maker need not be those of this one, so a finished row of another one is measured again. What does
not compute is no part of a maker: report, gate and command line, Python's version and that of the system, git, threads.
Only `maker` and the name of a GPU need torch: `quantbench doctor` works where torch does not.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from quantbench.results.record import fingerprint

# Those that can change a figure.
PACKAGES = (
    *("torch", "torchvision", "timm", "transformers", "tokenizers", "numpy", "scipy", "pillow", "soundfile"),
    *("torchmetrics", "jiwer"),
)
# What computes a float pass and the histograms: sources, and the checksums of the assets (catalogue.yaml).
PASSES = ("assets", "lookup.py", "quant", "networks", "tasks", "sweep/cell.py", "run", "results/histograms.py")
# And what makes a record of them.
COMPUTES = (*PASSES, "methods", "backends", "results/stats.py")
PACKAGE = Path(__file__).resolve().parents[1]
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
CPUINFO = Path("/proc/cpuinfo")


def maker(device: str) -> dict[str, Any]:
    """What makes a record here, on `cpu` or `cuda`: `code`, `versions`, `device` by its name, and `isa`."""
    import torch

    return {
        "code": code_version(),
        "versions": {**{package: version_of(package) for package in PACKAGES}, "torch": torch.__version__},  # its build
        "device": device_name(device),
        "isa": isa(),
    }


def maker_id(device: str) -> str:
    """Twelve hexadecimal digits that name the maker."""
    return fingerprint(maker(device))


@cache
def code_version(sources: tuple[str, ...] = COMPUTES, package: Path = PACKAGE) -> str:
    """Twelve hexadecimal digits of the content of source files: computed once a process, in some milliseconds.

    Args:
        sources: files and folders of the package.
        package: its folder.
    """
    digest = hashlib.sha256()
    for file in _files(sources, package):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _files(sources: tuple[str, ...], package: Path) -> Iterator[Path]:
    """The sources in a fixed order; among them are the checksums that lie beside weights that are shipped."""
    for source in sources:
        path = package / source
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in found if file.suffix in (".py", ".yaml", ".json") and file.is_file())


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a figure."""
    packages = {package: version_of(package) or "not installed" for package in ("quantbench", *PACKAGES, "hydra-core")}
    return {"python": platform.python_version(), "platform": platform.platform(), **packages}


@cache
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
    root = PACKAGE.parent
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


@cache
def device_name(device: str) -> str:
    """The model of the CPU in words, or, for `cuda`, of the GPU."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    return cpu_name()


@cache
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


def _cpuinfo(key: str, cpuinfo: Path) -> str:
    """The value of the first line `key : value`; empty where there is none."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.split(":")[0].strip() == key), "")
