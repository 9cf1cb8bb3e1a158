"""ImageNet without ImageNet: 20 labelled ImageNet photos, and crops of unlabelled photos for agreement with fp32.

20 labels tell a broken network from a working one and no more; the crops carry the statistics of agreement. Crops of
the same photo are not independent of each other, so an interval over them is narrower than one over new photos.
Calibration and evaluation share no photo. Both sides hold natural scenes with a person, things and fine texture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantbench.assets import fetch
from quantbench.assets.imagenet import wnids
from quantbench.errors import UserError
from quantbench.tasks.metrics.classification import ACCURACY, predicted_class
from quantbench.tasks.sampling import read_photo
from quantbench.tasks.task import Sample, Task

EVALUATION_PHOTOS = (
    ("scikit_image_photos", "astronaut.png"),
    ("scikit_image_photos", "chelsea.png"),
    ("scikit_image_photos", "coffee.png"),
    ("scikit_image_photos", "motorcycle_left.png"),
)
CALIBRATION_PHOTOS = (
    ("scikit_learn_photos", "china.jpg"),
    ("scikit_learn_photos", "flower.jpg"),
    ("matplotlib_photos", "grace_hopper.jpg"),
    ("scikit_image_photos", "rocket.jpg"),
)
"""Asset and file of the unlabelled photos."""

EVALUATION_CROPS = 160
_EVALUATION_SEED = 2004_09602  # fixed: the seed of a cell chooses its calibration, never what it is judged by
_SMALLEST = 200  # pixels of the shorter side of a crop: close to the 224 to 260 that networks take


@dataclass(frozen=True)
class _Crop:
    photo: Path
    x: int
    y: int
    width: int
    height: int


def load(*, calibration_samples: int = 256, seed: int = 0) -> Task:
    """The task: 20 labelled photos and 160 unlabelled crops, calibrated by crops of other photos that `seed` draws.

    A sample reads as uint8 [H, W, 3] of varying size, its target is the ImageNet class index or None.
    Raises UserError if the photos cannot be had.
    """
    if calibration_samples < 1:
        raise UserError(f"task.calibration_samples={calibration_samples} must be at least 1")
    photos = sorted(fetch("foolbox_photos").glob("imagenet_*.jpg"))
    labelled = [Sample(photo.stem, partial(read_photo, photo), label(photo.name)) for photo in photos]
    return Task(
        name="imagenet_photos",
        metrics=(ACCURACY,),
        calibration=_crops(CALIBRATION_PHOTOS, calibration_samples, seed),
        evaluation=[*labelled, *_crops(EVALUATION_PHOTOS, EVALUATION_CROPS, _EVALUATION_SEED)],
        predict=predicted_class,
        classes=wnids(),
    )


def _cut(crop: _Crop) -> NDArray[np.uint8]:
    return _decoded(crop.photo)[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]


def label(name: str) -> int:
    """The class index in the name of one of foolbox's photos: 243 of `imagenet_00_243.jpg`."""
    found = re.fullmatch(r"imagenet_\d+_(\d+)\.jpg", name)
    if found is None:
        raise ValueError(f"no class index in {name}")
    return int(found[1])


def _crops(photos: tuple[tuple[str, str], ...], count: int, seed: int) -> list[Sample]:
    """`count` different crops, of the photos in turn; a larger draw begins with the smaller one."""
    paths = [fetch(asset) / name for asset, name in photos]
    generator = np.random.default_rng(seed)
    crops: dict[_Crop, None] = {}
    while len(crops) < count:
        path = paths[len(crops) % len(paths)]
        crops.setdefault(_crop(path, generator))
    return [
        Sample(f"{crop.photo.stem}@{crop.x},{crop.y},{crop.width}x{crop.height}", partial(_cut, crop), None)
        for crop in crops
    ]


def _crop(photo: Path, generator: np.random.Generator) -> _Crop:
    """A crop of 200 pixels to the whole of the photo's shorter side, with a ratio of sides from 3:4 to 4:3."""
    height, width = _decoded(photo).shape[:2]
    shorter = int(generator.integers(_SMALLEST, min(height, width) + 1))
    longer = int(shorter * generator.uniform(1.0, 4 / 3))
    wide = bool(generator.integers(2))
    crop_width, crop_height = (longer, shorter) if wide else (shorter, longer)
    crop_width, crop_height = min(crop_width, width), min(crop_height, height)
    x = int(generator.integers(width - crop_width + 1))
    y = int(generator.integers(height - crop_height + 1))
    return _Crop(photo, x, y, crop_width, crop_height)


@lru_cache(maxsize=len(EVALUATION_PHOTOS) + len(CALIBRATION_PHOTOS))
def _decoded(photo: Path) -> NDArray[np.uint8]:
    """A photo, kept: all crops look into the same memory, about 1 MB each."""
    pixels = read_photo(photo)
    pixels.flags.writeable = False
    return pixels
