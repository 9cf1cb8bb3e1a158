"""A figure of the report: what it is, its style, and how it is saved."""

from __future__ import annotations

import hashlib
import io
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure as Drawing

from quantbench.results.files import write_bytes

WIDTH = 7.0  # inches: at 700 px, a 10 pt letter is 14 px high
DPI = 150
LONGEST = 100  # letters of a part of a file name, of which file systems take 255

# The palette of Okabe and Ito, which colour-blind readers can tell apart; markers and dashes do so in greyscale.
BLACK, BLUE, VERMILION, GREEN, PURPLE = "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY, LIGHT_GREY = "#7F7F7F", "#D0D0D0"
MINUS = "\N{MINUS SIGN}"  # what matplotlib writes at its ticks

STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.facecolor": "white",
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, hence the same on every machine
    "font.size": 10,
    "legend.frameon": False,
    "lines.markersize": 5,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",  # looks the same where the font is missing; the caption and alt text stay text
    "svg.hashsalt": "quantbench",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


@dataclass(frozen=True)
class Figure:
    """A drawing with the words that belong to it. `name` is the stem of its files."""

    name: str
    title: str
    caption: str
    alt: str
    drawing: Drawing


def styled() -> AbstractContextManager[None]:
    """The style of all figures, whatever the user's own matplotlib settings are; draw and save within it."""
    return style.context(["default", STYLE])


def blank(height: float) -> Drawing:
    """An empty drawing, `height` inches high, that needs no window and leaves no global state."""
    return Drawing(figsize=(WIDTH, height), layout="constrained")


def stem(text: str) -> str:
    """`text` as part of a file name; what is too long for one is told apart by its SHA-256."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("_.")
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def save(figure: Figure, folder: Path) -> tuple[Path, Path]:
    """Write NAME.png (150 dpi) and NAME.svg; the same figure gives the same bytes.

    Raises:
        Unwritable: the folder cannot be written.
    """
    png, svg = folder / f"{figure.name}.png", folder / f"{figure.name}.svg"
    about = {"Title": figure.title}
    with styled():
        write_bytes(png, _rendered(figure.drawing, "png", {**about, "Software": "quantbench"}))
        write_bytes(svg, _rendered(figure.drawing, "svg", {**about, "Creator": "quantbench", "Date": None}))
    return png, svg


def _rendered(drawing: Drawing, form: str, metadata: dict[str, str | None]) -> bytes:
    buffer = io.BytesIO()
    drawing.savefig(buffer, format=form, dpi=DPI, metadata=metadata)
    return buffer.getvalue()
