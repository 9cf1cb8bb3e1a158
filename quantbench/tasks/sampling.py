"""What the tasks share: which samples are drawn, and how they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantbench.errors import UserError

T = TypeVar("T")


def reading(raw: Any) -> Callable[[], Any]:
    """The `read` of a sample that is in memory already."""
    return partial(_same, raw)


def by_hash(items: Sequence[T], texts: Sequence[str], seed: str) -> list[T]:
    """The items in the order of the SHA-256 of seed and text: a shuffle that no version of a library can change."""
    order = sorted(range(len(items)), key=lambda i: hashlib.sha256(f"{seed}:{texts[i]}".encode()).digest())
    return [items[i] for i in order]


def damaged(path: Path, why: object) -> UserError:
    """What to say of a file of an asset that is not as published; the asset is called as its folder."""
    return UserError(f"{path} is damaged ({why}); run 'quantbench assets fetch --force {path.parent.name}'")


def _same(raw: Any) -> Any:
    return raw


def draw(available: int, count: int, seed: int, what: str) -> list[int]:
    """`count` different indices below `available`, drawn by `seed`; a larger draw begins with the smaller one.

    Raises UserError if there are not as many, or if `count` is not positive.
    """
    if not 0 < count <= available:
        raise UserError(f"task.calibration_samples={count} must be from 1 to {available}, the number of {what}")
    return [int(index) for index in np.random.default_rng(seed).permutation(available)[:count]]


def read_photo(path: Path) -> NDArray[np.uint8]:
    """A photo as uint8 [H, W, 3] RGB. Raises UserError if the file cannot be decoded."""
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is not a readable photo ({error}); replace or remove it") from error
