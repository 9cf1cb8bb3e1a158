"""Any classification model of torchvision, with torchvision's weights or those of a file."""

from __future__ import annotations

import difflib
import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torchvision import models

from quantbench.errors import UserError
from quantbench.networks.checkpoint import read, restore
from quantbench.networks.network import Network, one_item
from quantbench.networks.random_weights import seeded

_CLASSES = 1000
_TRANSFORM_INPUT = ("googlenet", "inception_v3")
"""Networks whose published weights expect inputs that the module itself brings from -1 .. 1 to other means."""
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # heads that only training runs; published files may lack them


def load(
    *,
    name: str,
    weights: str = "IMAGENET1K_V1",
    seed: int = 0,
    arch: str | None = None,
    classes: int = _CLASSES,
    preprocessing: str | None = None,
    transform_input: bool | None = None,
) -> Network:
    """Torchvision's model `arch` (by default `name`).

    `weights` is a name of torchvision's for that model (IMAGENET1K_V1, DEFAULT, ...), `random` or the path of a file.
    The preprocessing belongs to the weights called `preprocessing`, by default `weights` if torchvision knows them,
    else IMAGENET1K_V1. `classes` and `transform_input` are for random weights and files only; the latter is
    for GoogLeNet and Inception, and true if not given, as torchvision's weights expect it. Raises UserError if there is
    no such model or the weights cannot be had.
    """
    arch = arch or name
    known = models.list_models(module=models)
    if arch not in known:
        near = difflib.get_close_matches(arch, known, 3) or ["resnet18", "resnet50", "mobilenet_v2"]
        raise UserError(f"torchvision has no classification model {arch!r}: did you mean {', '.join(near)}?")
    names = models.get_model_weights(arch).__members__
    transforms = _member(arch, preprocessing, "preprocessing") if preprocessing else None
    if transform_input is not None and (arch not in _TRANSFORM_INPUT or weights in names):
        raise UserError(f"model.transform_input: is for {' and '.join(_TRANSFORM_INPUT)} with weights of a file alone")
    categories, remarks = None, []
    if weights in names:
        entry = names[weights]
        if classes != entry_classes(entry):
            raise UserError(f"model.classes={classes}, but {weights} of {arch} has {entry_classes(entry)} classes")
        module, identity = _pretrained(arch, entry)
        transforms, categories = transforms or entry, tuple(entry.meta["categories"])
    else:
        transforms = transforms or names.get("IMAGENET1K_V1") or _member(arch, "DEFAULT", "preprocessing")
        module = seeded(partial(_build, arch, classes, transforms, transform_input, weights == "random"), seed)
        known = ", ".join(names)
        identity = restore(module, weights, seed=seed, known_as=known, rename=_modern, optional=_AUXILIARY)
        if arch in _TRANSFORM_INPUT and weights != "random" and transform_input is None:
            remarks.append(
                f"{name}: inputs are transformed as torchvision's weights of {arch} expect it; for weights trained "
                "without that write transform_input: false into its file"
            )
    transform = transforms.transforms()
    preprocess = partial(_preprocess, transform=transform)
    size = preprocess(np.zeros((512, 512, 3), np.uint8)).shape
    return Network(
        name=name,
        module=module.eval(),
        preprocess=one_item(preprocess),
        example=(torch.zeros(1, *size),),
        weights=identity,
        preprocessing=" ".join(repr(transform).split())
        + (f", transform_input={module.transform_input}" if arch in _TRANSFORM_INPUT else ""),
        outputs=classes,
        classes=categories,
        remarks=tuple(remarks),
    )


def entry_classes(entry: Any) -> int:
    """The number of classes of one of torchvision's sets of weights."""
    return len(entry.meta["categories"])


def _preprocess(photo: Any, transform: Any) -> Tensor:
    """A photo, uint8 [H, W, 3] or [H, W, 1], as float32 [3, h, w]. Through PIL, as the published figures were."""
    pixels: NDArray[np.uint8] = np.asarray(photo)
    if pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    prepared: Tensor = transform(Image.fromarray(pixels))
    return prepared


def _member(arch: str, name: str, option: str) -> Any:
    names = models.get_model_weights(arch).__members__
    if name not in names:
        raise UserError(f"model.{option}={name}: torchvision's weights of {arch} are {', '.join(names)}")
    return names[name]


def _build(arch: str, classes: int, entry: Any, transform_input: bool | None, random: bool) -> nn.Module:
    """The network as torchvision builds it for the weights `entry`, with other weights."""
    more: dict[str, Any] = {}
    if arch in _TRANSFORM_INPUT:
        # Their way to random weights takes seconds, which those of a file would replace.
        more |= {"transform_input": transform_input is not False, "init_weights": random}
    if arch.startswith("vit_"):
        more["image_size"] = entry.meta["min_size"][0]
    if arch.startswith("maxvit"):
        more["input_size"] = entry.meta["min_size"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # two models announce another initialization
        module: nn.Module = models.get_model(arch, weights=None, num_classes=classes, **more)
    return module


def _modern(key: str) -> str:
    """A key of DenseNet's published files, which are older than the rule that names of modules have no dots."""
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", key)


def _pretrained(arch: str, entry: Any) -> tuple[nn.Module, str]:
    """The model with torchvision's weights, downloaded into torch's own cache, which other programs share."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rpartition("/")[2]
    digits = path.stem.rpartition("-")[2]  # the name ends with the first digits of the sha256
    if not path.is_file():
        _download(entry.url, path, digits)
    # torchvision reads the file with the full pickle reader: it gets there only after the strict one has read it.
    _, found = read(path, digits)
    module: nn.Module = models.get_model(arch, weights=entry)
    return module, f"sha256:{found}"


def _download(url: str, path: Path, digits: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), digits, progress=False)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())[:120]
        raise UserError(
            f"{url} cannot be downloaded ({reason}): download it on a machine with network and put it at {path}, "
            "or give model.weights=FILE"
        ) from error
