"""The packages below quantbench and their versions. Imports none of them: one that is broken does no harm here."""

from __future__ import annotations

from importlib import metadata

# Those that can change a figure.
PACKAGES = ("torch", "torchvision", "timm", "transformers", "numpy", "scipy", "pillow", "soundfile", "hydra-core")


def version_of(package: str) -> str | None:
    """The version that is installed; None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
