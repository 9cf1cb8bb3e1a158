"""What is drawn where: looked up on the canvas, as it will be saved."""

from __future__ import annotations

from itertools import combinations
from typing import Any
from unittest.mock import patch

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from quantbench.report.figures.figure import Figure, styled


def boxes(drawing: Drawing) -> list[tuple[str, Bbox]]:
    """Every text that is drawn, tick labels included, with its place in pixels."""
    drawn: dict[int, Text] = {}
    draw = Text.draw

    def noting(self: Text, *arguments: Any, **options: Any) -> None:
        drawn[id(self)] = self
        draw(self, *arguments, **options)

    canvas = FigureCanvasAgg(drawing)
    with styled(), patch.object(Text, "draw", noting):
        canvas.draw()
    texts = [text for text in drawn.values() if text.get_visible() and text.get_text().strip()]
    # An annotation's own extent would take in its leader line.
    return [(text.get_text(), Text.get_window_extent(text, canvas.get_renderer())) for text in texts]


def cut_off(drawing: Drawing, found: list[tuple[str, Bbox]]) -> list[str]:
    """The texts that an edge of the picture cuts off."""
    edge = drawing.bbox.padded(0.5)
    inside = [edge.x0 <= box.x0 and edge.y0 <= box.y0 and box.x1 <= edge.x1 and box.y1 <= edge.y1 for _, box in found]
    return [text for (text, _), whole in zip(found, inside, strict=True) if not whole]


def overlapping(found: list[tuple[str, Bbox]]) -> list[tuple[str, str]]:
    """Pairs of texts that cover each other by more than a pixel."""
    return [
        (one, other)
        for (one, a), (other, b) in combinations(found, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]


def assert_readable(figure: Figure) -> None:
    found = boxes(figure.drawing)
    assert cut_off(figure.drawing, found) == []
    assert overlapping(found) == []
    assert figure.drawing.get_figwidth() == 7.0
    assert 1 <= figure.caption.count(". ") + 1 <= 3 and figure.caption.endswith(".")
    assert figure.alt.endswith(".") and figure.title


def line(axes: Axes, label: str) -> Line2D:
    """The one line of a label."""
    (found,) = lines(axes, label)
    return found


def lines(axes: Axes, label: str) -> list[Line2D]:
    return [line for line in axes.get_lines() if line.get_label() == label]
