"""Bounds what the interpolations of a configuration come to.

OmegaConf resolves an interpolation anew wherever it is met: thirty keys, each of which is twice the next, are a billion
look-ups. So their cost is added up first, each key once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from quantbench.errors import UserError

MOST = 1_000_000  # letters and look-ups

Path = tuple[str, ...]

_INNERMOST = re.compile(r"\$\{([^${}]*)\}")
_INNER = "\0"  # stands for an interpolation inside another
_KEY = re.compile(r"\.*[\w@/-]+(?:[.\[\]]+[\w@/-]+)*\]?|\.+")
_BY_KEY = ("oc.select", "oc.deprecated", "oc.dict.keys", "oc.dict.values", "hydra")
_RESOLVERS = (*_BY_KEY, "oc.env", "now", "python_version")


def check_interpolations(root: Mapping[Any, Any]) -> None:
    """Raises UserError if an interpolation of a configuration, as it was written, has no end, no key or no bounds."""
    costs = _Costs(root)
    for key in root:
        if key != "hydra":  # what Hydra itself wrote there is not all known before a job begins
            costs.of((str(key),))


class _Costs:
    """What it costs to resolve each key, by its path."""

    def __init__(self, root: Mapping[Any, Any]) -> None:
        self._root = root
        self._known: dict[Path, int] = {}
        self._open: set[Path] = set()

    def of(self, path: Path) -> int:
        if path in self._open:
            raise UserError(f"{'.'.join(path)}: its interpolation comes back to itself")
        if path not in self._known:
            self._open.add(path)
            try:
                cost = self._node(_at(self._root, path), path)
            except RecursionError:
                raise UserError(f"{'.'.join(path)}: interpolations that refer to too many others") from None
            self._open.remove(path)
            if cost > MOST:
                raise UserError(f"{'.'.join(path)}: its interpolations come to more than {MOST:,} values")
            self._known[path] = cost
        return self._known[path]

    def _node(self, node: Any, path: Path) -> int:
        if isinstance(node, Mapping):
            return 1 + sum(self.of((*path, str(key))) for key in node)
        if isinstance(node, list):
            return 1 + sum(self.of((*path, str(place))) for place in range(len(node)))
        if isinstance(node, str) and "${" in node:
            return 1 + len(node) + sum(self._referred(key, path, node) for key in _keys(node, path))
        return 1 + (len(node) if isinstance(node, str) else 0)

    def _referred(self, key: Path, path: Path, text: str) -> int:
        """The cost of what an interpolation refers to: of the nearest that is there, where it leads through another."""
        for length in range(1, len(key) + 1):
            node = _at(self._root, key[:length])
            if node is None and not _is_there(self._root, key[:length]):
                if path[0] == "hydra" or key[0] == "hydra" or ":" in text or "\\" in text:
                    return 1
                raise UserError(f"{'.'.join(path)}={text}: there is no key {'.'.join(key)}")
            if isinstance(node, str) and length < len(key):
                return self.of(key[:length])
        return self.of(key) if key else MOST + 1


def _keys(text: str, path: Path) -> Iterator[Path]:
    """The keys that a text with interpolations refers to."""
    while found := _INNERMOST.search(text):
        body = found[1].strip()
        name, colon, arguments = body.partition(":")
        if colon and name not in _RESOLVERS:
            raise UserError(
                f"{'.'.join(path)}: no resolver {name} in interpolations: there are {', '.join(_RESOLVERS)}"
            )
        words = [word.strip() for word in arguments.split(",")] if colon else [body]
        for word in words if name in _BY_KEY or not colon else []:
            if _KEY.fullmatch(word):
                yield _absolute(word, path, "hydra" if name == "hydra" else "")
            elif word != _INNER and (_INNER in word or not colon):
                raise UserError(f"{'.'.join(path)}: an interpolation must name its key plainly, such as ${{key.below}}")
        text = f"{text[: found.start()]}{_INNER}{text[found.end() :]}"


def _absolute(word: str, path: Path, below: str) -> Path:
    dots = len(word) - len(word.lstrip("."))
    words = [part for part in re.split(r"[.\[\]]+", word) if part]
    if below:
        return (below, *words)
    return (*path[: max(0, len(path) - dots)], *words) if dots else tuple(words)


def _at(root: Any, path: Path) -> Any:
    """What is at a path; None where there is nothing."""
    node = root
    for word in path:
        if isinstance(node, Mapping):
            node = node.get(word, node.get(int(word)) if word.isdecimal() else None)
        elif isinstance(node, Sequence) and not isinstance(node, str) and word.isdecimal() and int(word) < len(node):
            node = node[int(word)]
        else:
            return None
    return node


def _is_there(root: Any, path: Path) -> bool:
    parent = _at(root, path[:-1])
    return isinstance(parent, str) or (isinstance(parent, Mapping) and path[-1] in map(str, parent))
