"""What executes a quantized network, a file each: `open(quantized, example, **options)` gives an Execution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quantbench import lookup


def find(choice: Mapping[str, Any]) -> Callable[..., Any]:
    """The `open` of the backend that a config group chose. Raises UserError."""
    return lookup.find(__name__, "open", choice)
