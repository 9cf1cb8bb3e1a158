"""Finds what a choice of a config group names: a function of ours by name, or anybody's by its dotted path."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from quantbench.errors import UserError

TARGET = "_target_"  # in the file of a choice: the dotted path, as everywhere in Hydra


def find(room: str, function: str, choice: Mapping[str, Any]) -> Callable[..., Any]:
    """`function` of the module `room.<name>`, or what `_target_` of the choice names.

    Raises:
        UserError: there is no such module or function.
    """
    if target := choice.get(TARGET):
        module, _, function = str(target).rpartition(".")
    else:
        module = f"{room}.{choice['name']}"
        if find_spec(module) is None:
            raise UserError(f"{choice['name']}: there is no {module}; name a function of yours with {TARGET}")
    try:
        found: Callable[..., Any] = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{module}.{function} cannot be imported: {error}") from error
    return found


def options_of(choice: Mapping[str, Any]) -> dict[str, Any]:
    """The options among the keys of a choice."""
    return {str(key): value for key, value in choice.items() if key not in ("name", TARGET)}


def check_options(function: Callable[..., Any], what: str, options: Mapping[str, Any], given: int) -> None:
    """Check options against the signature of what they go to, whose first `given` arguments come from elsewhere.

    Raises:
        UserError: there is no such option or one is missing; the message names those that there are.
    """
    signature = inspect.signature(function)
    try:
        signature.bind(*[None] * given, **options)
    except TypeError as error:
        known = ", ".join(list(signature.parameters)[given:])
        raise UserError(f"{what}: {error}; {f'its options are {known}' if known else 'it has no options'}") from None
