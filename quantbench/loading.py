"""Calls the `load` of a module by the keys of a config group."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from quantbench.errors import UserError


def load_from(module: str, options: Mapping[str, Any], what: str) -> Any:
    """`load(**options)` of `module`, imported when it is used.

    Raises:
        UserError: the loader has no such option or needs another; the message begins with `what` and names its options.
    """
    loader = import_module(module).load
    signature = inspect.signature(loader)
    try:
        signature.bind(**options)
    except TypeError as error:
        raise UserError(f"{what}: {error}; its options are {', '.join(signature.parameters)}") from None
    return loader(**options)
