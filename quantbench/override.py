"""Values as Hydra's override grammar spells them."""

from __future__ import annotations

import re
from typing import Any

PLAIN = re.compile(r"[\w./:+-]+")


def spelled(value: Any) -> str:
    """A value of YAML as the right side of `key=value`: null for None, quotes around what is no plain word."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(spelled(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{spelled(item)}' for key, item in value.items())}}}"
    text = str(value)
    if not isinstance(value, str) or PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
