"""Bounds of a YAML file that anyone may have written, found without building what it holds."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from quantbench.errors import UserError

LARGEST = 1 << 18  # bytes
MOST_NODES = 20_000  # with all aliases written out: OmegaConf holds them so, and so does a message
DEEPEST = 50

_PLAIN_TAGS = {
    None,
    "!",
    *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq")),
}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_yaml(path: Path) -> None:
    """Raises UserError unless a file is one YAML mapping, not large, also with aliases written out, no own tags."""
    try:
        if os.path.getsize(path) > LARGEST:
            raise UserError(f"{path}: larger than any configuration ({LARGEST // 1024} kB)")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    check_text(content, path)


def check_text(content: bytes, path: Path) -> None:
    """As `check_yaml` for the content of a file, or of a part of it, which may be of any size."""
    try:
        _check(content.decode("utf-8"), path)
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: no YAML ({' '.join(str(error).split())[:150]})") from error


def _check(text: str, path: Path) -> None:
    """Counts the nodes without building them."""
    sizes: dict[str, int] = {}  # of what has an anchor
    open_nodes: list[tuple[str | None, int]] = []  # anchor, nodes before it
    nodes = 0
    for event in yaml.parse(text, Loader=_LOADER):
        where = f"{path}, line {event.start_mark.line + 1 if event.start_mark else 0}"
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise UserError(f"{where}: the alias *{event.anchor} stands for nothing, or for what it is part of")
            nodes += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            tag = getattr(event, "tag", None)
            if tag not in _PLAIN_TAGS:
                raise UserError(f"{where}: the tag {tag} is not for a configuration: give a plain value")
            if not open_nodes and not isinstance(event, yaml.MappingStartEvent) and getattr(event, "value", True):
                raise UserError(f"{where}: must be a mapping: write key: value")
            nodes += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append((event.anchor, nodes - 1))
            elif event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = nodes - before
        if nodes > MOST_NODES or len(open_nodes) > DEEPEST:
            raise UserError(f"{where}: too much for a configuration ({MOST_NODES:,} values, {DEEPEST} levels)")
