"""Finds what a choice of a config group names: a function of ours by name, or anybody's by its dotted path."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from quantbench.assets.content import content_sha256
from quantbench.errors import UserError, in_one_line

TARGET = "_target_"  # in the file of a choice: the dotted path, as everywhere in Hydra
SHA256 = "sha256"  # of the files that a choice means; no option
NO_OPTIONS = ("name", TARGET, SHA256)


def find(room: str, function: str, choice: Mapping[str, Any], named: str = "name") -> Callable[..., Any]:
    """What `_target_` of a choice names, else `function` of the module of `room` that is called as its key `named`.

    Raises:
        UserError: there is no such module or function.
    """
    module, name = path_of(room, function, choice, named)
    try:
        found: Callable[..., Any] = getattr(imported(module), name)
    except UserError as error:
        raise UserError(f"{choice.get('name')}: {error}") from error
    except AttributeError as error:
        raise UserError(f"{choice.get('name')}: {module} has no {name}") from error
    if not callable(found):
        raise UserError(f"{choice.get('name')}: {module}.{name} is no function")
    return found


def imported(module: str) -> ModuleType:
    """A module, imported; a file of anybody's may raise anything then. Raises UserError."""
    try:
        return import_module(module)
    except Exception as error:
        raise UserError(f"{module} cannot be imported ({type(error).__name__}: {in_one_line(error)})") from error


def path_of(room: str, function: str, choice: Mapping[str, Any], named: str = "name") -> tuple[str, str]:
    """The module of what `find` finds, and its name in there."""
    module, _, name = str(choice.get(TARGET) or f"{room}.{choice.get(named)}.{function}").rpartition(".")
    return module, name


def options_of(choice: Mapping[str, Any]) -> dict[str, Any]:
    """The options among the keys of a choice."""
    return {str(key): value for key, value in choice.items() if key not in NO_OPTIONS}


def check_options(function: Callable[..., Any], what: str, options: Mapping[str, Any], given: int = 0) -> None:
    """Check options against the signature of what they go to, whose first `given` arguments come from elsewhere.

    Raises:
        UserError: there is no such option or one is missing; the message names those that there are.
    """
    try:
        signature = inspect.signature(function)
        signature.bind(*[None] * given, **options)
    except ValueError as error:
        raise UserError(f"{what}: {error}; write a function of your own around it") from error
    except TypeError as error:
        known = ", ".join(list(signature.parameters)[given:])
        raise UserError(f"{what}: {error}; {f'its options are {known}' if known else 'it has no options'}") from None


def identified(choice: Mapping[str, Any]) -> dict[str, Any]:
    """The choice, with the sha256 of the Python files that its `_target_` means: an edited file makes another cell."""
    files = sources_of(path_of("", "", choice)[0]) if TARGET in choice else []
    return {**choice, SHA256: content_sha256(*files)} if files else dict(choice)


def sources_of(module: str) -> list[Path]:
    """The file of a module and the Python files beside it, which it may import; none where there is no such module."""
    source = source_of(module)
    return [] if source is None else sorted({source, *source.parent.glob("*.py")})


def source_of(module: str) -> Path | None:
    """The file of a module, found without importing it; None if there is none."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
