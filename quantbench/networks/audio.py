"""What speech networks hear."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import UserError

SAMPLE_RATE = 16_000


def sound_of(name: str, raw: Any) -> NDArray[np.float32]:
    """The sound float32 [samples] that a raw sample is. Raises UserError if it is something else, or of no length."""
    if not isinstance(raw, np.ndarray) or raw.ndim != 1 or raw.dtype != np.float32:
        raise UserError(f"{name} hears speech, the samples of this task are something else: choose another task")
    if not len(raw):
        raise UserError(f"{name} was given a sound of 0 samples")
    return raw
