"""ImageNet (ILSVRC 2012) from a folder: `val/<wnid>/*.JPEG` is evaluated, `train/<wnid>/*.JPEG` calibrates."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from quantbench.errors import UserError
from quantbench.tasks.metrics.classification import ACCURACY, predicted_class
from quantbench.tasks.sampling import draw, read_photo
from quantbench.tasks.task import Sample, Task

_LAYOUT = "expected are FOLDER/val/<wnid>/*.JPEG and FOLDER/train/<wnid>/*.JPEG"
_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # as torchvision's


def load(
    *, calibration_samples: int = 1024, seed: int = 0, path: str | os.PathLike[str] | None = None, classes: int = 1000
) -> Task:
    """The task: all photos of `path`/val, calibrated by photos of `path`/train that `seed` draws.

    The target of a photo is the rank of its folder's name among all class folders, of which there must be `classes`.
    A sample reads as uint8 [H, W, 3]. Raises UserError if the folder is not as expected.
    """
    if path is None:
        raise UserError(f"the task imagenet needs its photos: give task.path=FOLDER; {_LAYOUT}")
    root = Path(path).expanduser()
    for folder in (root / "val", root / "train"):
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}: give task.path=FOLDER; {_LAYOUT}")
    wnids = sorted({entry for split in ("val", "train") for entry in _folders(root / split)})
    if len(wnids) != classes:
        raise UserError(
            f"{root} has {len(wnids)} class folders, not {classes}: a class is the rank of its folder, so all must be "
            f"there; task.classes={len(wnids)} is right for a network with as many classes"
        )
    targets = {wnid: rank for rank, wnid in enumerate(wnids)}
    evaluation = _photos(root / "val")
    available = _photos(root / "train")
    calibration = [
        available[index] for index in draw(len(available), calibration_samples, seed, f"photos in {root / 'train'}")
    ]

    def make(photo: str) -> Sample:
        wnid = photo.split("/")[1]
        found = (root / photo).stat()
        version = f"{found.st_size}-{found.st_mtime_ns}"
        return Sample(photo, partial(read_photo, root / photo), targets[wnid], version)

    remarks = (_unread(root / split, set(photos)) for split, photos in (("val", evaluation), ("train", available)))
    return Task(
        name="imagenet",
        metrics=(ACCURACY,),
        calibration=[make(photo) for photo in calibration],
        evaluation=[make(photo) for photo in evaluation],
        predict=predicted_class,
        classes=tuple(wnids),
        remarks=tuple(filter(None, remarks)),
    )


def _folders(split: Path) -> list[str]:
    with os.scandir(split) as entries:
        return [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]


def _photos(split: Path) -> list[str]:
    """`val/<wnid>/<file>` of all photos, sorted. scandir, because a training set has 1.3 million."""
    photos = []
    for wnid in sorted(_folders(split)):
        with os.scandir(split / wnid) as entries:
            names = [entry.name for entry in entries if entry.name.lower().endswith(_SUFFIXES)]
        photos += [f"{split.name}/{wnid}/{name}" for name in sorted(names)]
    if not photos:
        raise UserError(f"{split} holds no photos ({', '.join(_SUFFIXES)}); {_LAYOUT}")
    return photos


def _unread(split: Path, read: set[str]) -> str:
    """What is in the folders of a split beside the photos, counted, in a sentence; empty where nothing is."""
    left: list[str] = []
    for folder in (split, *(split / name for name in _folders(split))):
        with os.scandir(folder) as entries:
            for entry in entries:
                place = f"{split.name}/{folder.name}/{entry.name}" if folder != split else f"{split.name}/{entry.name}"
                is_class = folder == split and entry.is_dir()
                if not entry.name.startswith(".") and not is_class and place not in read:
                    left.append(place + ("/" if entry.is_dir() else ""))
    if not left:
        return ""
    known = ", ".join(_SUFFIXES)
    return f"{len(left)} files or folders of {split} are not read, such as {min(left)}: photos are {known}"
