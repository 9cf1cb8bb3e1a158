"""Ways to make a quantized network of a float one, a file each: `quantize(bench, **options) -> Quantized`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quantbench import lookup


def find(choice: Mapping[str, Any]) -> Callable[..., Any]:
    """The `quantize` of the method that a config group chose. Raises UserError."""
    return lookup.find(__name__, "quantize", choice)
