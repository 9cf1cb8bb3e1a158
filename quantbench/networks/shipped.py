"""The checkpoints that come with the package."""

from __future__ import annotations

import json
from pathlib import Path

from quantbench.errors import UserError

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""The folder of the checkpoints, each beside a record of how it was trained."""


def shipped(name: str, folder: Path = WEIGHTS) -> tuple[Path, str]:
    """The file of the weights that come with the package, and its sha256 in hex. Raises UserError if there is none."""
    path = folder / f"{name}.safetensors"
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return path, str(record["sha256"])
    except FileNotFoundError as error:
        raise UserError(f"no weights of {name} are shipped: give model.weights=FILE or model.weights=random") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path.with_suffix('.json')} is damaged ({error!r}); install quantbench anew") from error
