"""Hydra's launchers, which come with extras of ours."""

from __future__ import annotations

from quantbench.errors import UserError
from quantbench.run.environment import version_of

# hydra/launcher -> (its package, our extra that installs it)
LAUNCHERS = {
    "joblib": ("hydra-joblib-launcher", "joblib"),
    "submitit_slurm": ("hydra-submitit-launcher", "slurm"),
    "ray": ("hydra-ray-launcher", "ray"),
}


def refuse_missing_launcher(name: str) -> None:
    """Refuses a launcher whose package is missing: our file of it can be composed all the same."""
    package, extra = LAUNCHERS.get(name, ("", ""))
    if package and version_of(package) is None:
        raise UserError(f"hydra/launcher={name} needs {package}: pip install 'quantbench[{extra}]'")
