"""What the tasks on texts share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

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
