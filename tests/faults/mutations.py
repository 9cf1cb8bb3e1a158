"""Damage to sound files and texts: what a bad disk, a bad download or a bad person makes of them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
WIDE = (b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\x00\x00\x00\x80", b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f")

quick = settings(
    max_examples=60,
    derandomize=True,
    deadline=20_000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ASKED = os.environ.get("QUANTBENCH_FUZZ_EXAMPLES")
MANY = int(ASKED or "300")
large = settings(quick, max_examples=MANY, derandomize=ASKED is None)
composing = settings(large, max_examples=max(1, MANY // 5))  # each example composes a configuration


@st.composite
def mutated(draw: st.DrawFn, originals: Sequence[bytes]) -> bytes:
    """One of the originals after one to six changes: flips, cuts, insertions, doubled parts, parts of another."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 64))
        match draw(st.sampled_from(("flip", "set", "wide", "cut", "end", "insert", "double", "splice"))):
            case "flip" if at < len(content):
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if at < len(content):
                content[at] = draw(st.sampled_from(INTERESTING) | st.integers(0, 255))
            case "wide":
                replacement = draw(st.sampled_from(WIDE))
                content[at : at + len(replacement)] = replacement
            case "cut":
                del content[at : at + length]
            case "end":
                del content[at:]
            case "insert":
                content[at:at] = draw(st.binary(max_size=16))
            case "double":
                content[at:at] = content[at : at + length]
            case "splice":
                other = draw(st.sampled_from(originals))
                start = draw(st.integers(0, len(other)))
                content[at : at + length] = other[start : start + length]
    return bytes(content)


def mutated_text(originals: Sequence[str]) -> st.SearchStrategy[str]:
    """One of the texts after the same changes; what is no UTF-8 then is replaced."""
    return mutated([text.encode() for text in originals]).map(lambda content: content.decode(errors="replace"))
