"""Texts of a foreign results.csv that command something to what reads them, and what must come of them."""

from __future__ import annotations

HOSTILE = (
    "=x::error::|<script>alert(1)</script>`%0A##[error]\x1b[31m\x1b]0;t\x07\x9b2J\u202e"
    "\r\n::set-env name=a::b&]]>[/x][link](x)$\\frac{"
)


def assert_harmless(text: str) -> None:
    assert not any(letter in text for letter in "\x1b\x07\x9b\u202e\r"), text[:500]
    assert "##[error]" not in text
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())


TEXTS = ("suite", "model", "task", "metric", "calib", "mapping", "skip_layers", "device", "git", "granularity")
HOSTILE_TEXTS = dict.fromkeys(TEXTS, HOSTILE)
