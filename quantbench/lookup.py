"""Finds what a choice of a config group names: a function of ours by name, or anybody's by its dotted path."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
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


def identified(
    choice: Mapping[str, Any], room: str = "", function: str = "", named: str = "name", digests: Sequence[str] = ()
) -> dict[str, Any]:
    """The choice, with one sha256 of all the files that it means, so that an edited file makes another cell.

    They are the Python files of its `_target_`, what `identity(options)` of its module in `room` adds, if it has one,
    and those whose `digests` are given. Nothing is imported for a module without an `identity`.

    Raises:
        UserError: a file cannot be read.
    """
    options = {str(key): value for key, value in choice.items() if key != SHA256}
    module, _ = path_of(room, function, choice, named)
    source = source_of(module) if room or TARGET in choice else None
    if source is not None and "\ndef identity(" in source.read_text(encoding="utf-8", errors="replace"):
        options = dict(imported(module).identity(options))
    found = [options.pop(SHA256)] if SHA256 in options else []
    if source is not None and TARGET in choice:
        found.append(content_sha256(*sources_of(module)))
    found += digests
    if len(found) > 1:
        found = [hashlib.sha256("+".join(found).encode()).hexdigest()]
    return {**options, SHA256: found[0]} if found else options


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
