"""Which choices and keys there are; Hydra must be initialized."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig


def choices_of(group: str) -> list[str]:
    """The names of a group's files; empty where there is no such group."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.object_type import ObjectType

    return GlobalHydra.instance().config_loader().get_group_options(group, ObjectType.CONFIG)


def lines_of(overrides: Sequence[Override]) -> list[str]:
    """The overrides as they were written."""
    return [override.input_line or "" for override in overrides]


def known_keys(name: str, overrides: Sequence[Override]) -> set[str]:
    """Every key that the configuration has with the choices among the overrides."""
    from hydra import compose

    return set(_keys(compose(name, lines_of([o for o in overrides if choices_of(o.key_or_group)]))))


def lacking(overrides: Sequence[Override], known: set[str]) -> list[Override]:
    """The overrides that need a key which is not known."""
    free = [override for override in overrides if not (override.is_add() or override.is_hydra_override())]
    return [o for o in free if o.key_or_group not in known and not choices_of(o.key_or_group)]


def keys_elsewhere(name: str, group: str) -> dict[str, list[str]]:
    """The keys below a group with the choices that have them: calib.percentile with calib=percentile."""
    from hydra import compose

    owners: dict[str, list[str]] = {}
    for choice in choices_of(group):
        with suppress(Exception):  # a broken file owns nothing
            for key in _keys(compose(name, [f"{group}={choice}"])):
                if key.startswith(f"{group}."):
                    owners.setdefault(key, []).append(f"{group}={choice}")
    return owners


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """The dotted name of every key."""
    for key, child in config.items_ex(resolve=False):
        name = prefix + str(key)
        yield name
        if hasattr(child, "items_ex"):
            yield from _keys(child, f"{name}.")
