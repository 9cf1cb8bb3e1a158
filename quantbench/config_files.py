"""Reads YAML files that anyone may have written: within bounds, and without what would make Hydra look elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from quantbench.errors import UserError

LARGEST = 1 << 18  # bytes
MOST_NODES = 20_000  # with all aliases written out, as OmegaConf holds them
DEEPEST = 50
SEARCHPATH = "hydra.searchpath could import any package: put the files into one folder and give it as --config-dir"

_PLAIN_TAGS = {None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq"))}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class CheckedFiles(FileConfigSource):
    """Hydra's files, each checked before it is read. Those that come with quantbench need no check."""

    def load_config(self, config_path: str) -> ConfigResult:
        """As Hydra does. Raises UserError."""
        path = Path(self.path, self._normalize_file_name(config_path))
        if self.provider != "main" and path.is_file():
            check_yaml(path)
        found = super().load_config(config_path)
        if OmegaConf.is_dict(found.config) and OmegaConf.select(found.config, "hydra.searchpath") is not None:
            raise UserError(f"{path}: {SEARCHPATH}")
        return found


def check_files() -> None:
    """Make Hydra read files as CheckedFiles, in this process."""
    Plugins.instance()  # registers Hydra's own, and keeps what is there
    SourcesRegistry.instance().types[CheckedFiles.scheme()] = CheckedFiles


def check_yaml(path: Path) -> None:
    """Raises UserError unless a file is YAML: one mapping, not large, also with its aliases written out, no own tags."""
    try:
        if os.path.getsize(path) > LARGEST:
            raise UserError(f"{path}: larger than any configuration ({LARGEST // 1024} kB)")
        text = path.read_bytes().decode("utf-8")
        _check(text, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: no YAML ({' '.join(str(error).split())[:150]})") from error


def _check(text: str, path: Path) -> None:
    """Counts the nodes without building them."""
    sizes: dict[str, int] = {}  # of what has an anchor
    open_nodes: list[tuple[str | None, int]] = []  # anchor, nodes before it
    nodes = 0
    for event in yaml.parse(text, Loader=_LOADER):
        where = f"{path}, line {event.start_mark.line + 1}"
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
