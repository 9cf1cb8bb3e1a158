"""The names of ImageNet's classes, from the files of an installed package."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def wnids() -> tuple[str, ...]:
    """WordNet's identifiers of the 1,000 classes of ILSVRC 2012, such as n01440764, in the order of class indices."""
    return tuple(_text("imagenet_synsets.txt").split())


@cache
def words() -> dict[str, str]:
    """WordNet's words for each identifier, commas between them: "tench, Tinca tinca"."""
    lines = _text("imagenet_synset_to_lemma.txt").splitlines()
    return {wnid: names for wnid, _, names in (line.partition("\t") for line in lines)}


def _text(name: str) -> str:
    """A file of timm's, which need not be imported for it."""
    spec = find_spec("timm")
    assert spec is not None and spec.origin is not None
    return (Path(spec.origin).parent / "data" / "_info" / name).read_text(encoding="utf-8")
