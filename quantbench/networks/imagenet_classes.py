"""The 1,000 classes of ImageNet (ILSVRC 2012) in the order that published networks have, by all their usual names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torchvision


@cache
def imagenet_classes() -> tuple[str, ...]:
    """For each class its names, separated by commas: the wnid, torchvision's, and WordNet's; wnids are in order.

    "n01440764, tench, Tinca tinca". From timm's list of wnids, which needs no import of timm, and torchvision's names.
    """
    spec = find_spec("timm")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "data" / "_info"
    wnids = (folder / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    lines = (folder / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    lemmas = dict(line.split("\t", 1) for line in lines)
    shown = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    return tuple(f"{wnid}, {name}, {lemmas[wnid]}" for wnid, name in zip(wnids, shown, strict=True))


def known_classes(names: Sequence[str]) -> Sequence[str]:
    """Names of classes; those that are wnids of ImageNet's, or torchvision's names, with all names of each.

    They are so where all are in such a list, or all of the list is among them, as beside a class for background.
    """
    standard = imagenet_classes()
    for column in (0, 1):
        places = {one.split(", ", 2)[column]: place for place, one in enumerate(standard)}
        if set(names) <= places.keys() or places.keys() <= set(names):
            return [standard[places[name]] if name in places else name for name in names]
    return names
