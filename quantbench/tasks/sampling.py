"""What the tasks share: which samples are drawn, and how they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantbench.console import say
from quantbench.errors import UserError

T = TypeVar("T")
_TIFF_BITS, _TIFF_PHOTOMETRIC = 258, 262  # tags: bits of a sample, and 0 where 0 is white


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
    """A photo as uint8 [H, W, 3] RGB. Raises UserError if it cannot be decoded or says not which value is white.

    More than 8 bits become 8 in proportion. Transparency is left out, as where networks are trained; that is said once.
    """
    try:
        with Image.open(path) as opened:
            image: Image.Image = opened
            if image.mode.startswith("I") or image.mode == "F":
                return _from_grey(image, path)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                if np.asarray(image.getchannel("A")).min() < 255:
                    _say_transparent(path.parent.parent)
            return np.array(image.convert("RGB"))
    except UserError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is not a readable photo ({error}); replace or remove it") from error


def _from_grey(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """A picture of more than 8 bits as uint8 [H, W, 3]."""
    # Pillow reads 16 bits of some formats as I, and has brought PNM's values to 16 bits.
    if not image.mode.startswith("I;16") and not (image.mode == "I" and image.format in ("PNG", "PPM")):
        raise UserError(
            f"{path} is a picture of mode {image.mode}, 32 bits a pixel, of which nothing says what is white: save it "
            "with 8 or 16 bits, or remove it"
        )
    tags = getattr(image, "tag_v2", {})  # of TIFF, where Pillow looks at neither of the two beyond 8 bits
    white = 2 ** tags.get(_TIFF_BITS, (16,))[0] - 1
    values = np.asarray(image).astype(np.int64)
    if tags.get(_TIFF_PHOTOMETRIC) == 0:
        values = white - values
    grey = ((values * 255 + white // 2) // white).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


@cache
def _say_transparent(folder: Path) -> None:
    say(f"photos in {folder} have transparent pixels: their colour is taken as it is in the file")
