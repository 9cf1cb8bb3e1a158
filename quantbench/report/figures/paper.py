"""The paper's figures 1, 4 and 7, by the formulas of sections 3.1 and 5.2.

They are those of quant/mapping.py in NumPy, so that a report need not wait for torch; a test holds one against the
other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.special import erf, expit

from quantbench.report.figures.figure import BLACK, BLUE, GREY, LIGHT_GREY, MINUS, VERMILION, Figure, blank, styled

A, B = "\N{GREEK SMALL LETTER ALPHA}", "\N{GREEK SMALL LETTER BETA}"

# Figure 1: the interval, and how far apart two integers are drawn, in units of the real axis.
BETA, ALPHA = -0.8, 2.4
INTEGER_UNIT = 2 / 127
# Figure 7: a range that max calibration gives where large values occur, and the clipped one (GELU10).
WIDE, CLIPPED = 50.0, 10.0


Reals = NDArray[np.float32]


@dataclass(frozen=True)
class Mapping:
    """x_q = clip(round(scale * x) + zero, low, high)."""

    scale: np.float32
    zero: int
    low: int
    high: int

    def quantized(self, x: Reals) -> Reals:
        """The integers of x; ties go to even."""
        integers: Reals = np.clip(np.rint(x * self.scale) + np.float32(self.zero), self.low, self.high)
        return integers

    def fake_quantized(self, x: Reals) -> Reals:
        """What the integers of x mean."""
        return (self.quantized(x) - np.float32(self.zero)) / self.scale

    def derivative(self, x: Reals) -> Reals:
        """That of the straight-through estimator: 1 inside the range, 0 outside."""
        inside: Reals = (np.abs(x * self.scale) - 1e-3 <= self.high).astype(np.float32)
        return inside


def scale_mapping(alpha: float, bits: int) -> Mapping:
    """Of [-alpha, alpha], symmetric."""
    high = 2 ** (bits - 1) - 1
    return Mapping(np.float32(high) / np.float32(alpha), 0, -high, high)


def affine_mapping(beta: float, alpha: float, bits: int) -> Mapping:
    """Of [beta, alpha], which holds 0."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scale = np.float32(high - low) / (np.float32(alpha) - np.float32(beta))
    return Mapping(scale, int(-np.rint(np.float32(beta) * scale)) + low, low, high)


def gelu(x: Reals) -> Reals:
    """X times the normal distribution's share below x."""
    outputs: Reals = x * np.float32(0.5) * (1 + erf(x / np.sqrt(np.float32(2))))
    return outputs


def swish(x: Reals) -> Reals:
    """X times the logistic function of x."""
    outputs: Reals = x * expit(x)
    return outputs


FUNCTIONS = {"GELU": gelu, "swish": swish}


def figure1_mapping() -> Figure:
    """Affine and scale mapping of a real interval to int8 (figure 1)."""
    affine = affine_mapping(BETA, ALPHA, 8)
    scale = scale_mapping(ALPHA, 8)
    zero = str(affine.zero)
    with styled():
        drawing = blank(4.6)
        upper, lower = drawing.subplots(2, 1)
        _draw_mapping(upper, affine, {f"{B} = {BETA:g}": BETA, "0": 0.0, f"{A} = {ALPHA:g}": ALPHA})
        upper.set_title(f"Affine: scale s = {float(affine.scale):.2f}, zero point z = {_signed(zero)}")
        _draw_mapping(lower, scale, {f"-{A} = {-ALPHA:g}": -ALPHA, "0": 0.0, f"{A} = {ALPHA:g}": ALPHA})
        lower.set_title(f"Scale: s = {float(scale.scale):.2f}, no zero point")
    return Figure(
        "figure1_mapping",
        "Affine and scale quantization (figure 1)",
        "Real values (upper line of each pair) and the int8 values they become (lower line). Affine quantization maps "
        f"[{B}, {A}] to all 256 integers and 0 to the zero point z; scale quantization maps [-{A}, {A}] to -127 to 127 "
        "and 0 to 0. Values outside the range (dashed) are clipped to its ends.",
        f"Two pairs of number lines. Affine: {BETA:g} maps to {affine.low}, 0 to {zero}, "
        f"{ALPHA:g} to {affine.high}. Scale: {-ALPHA:g} maps to {scale.low}, 0 to 0, {ALPHA:g} to {scale.high}.",
        drawing,
    )


def _draw_mapping(axes: Axes, mapping: Mapping, marked: dict[str, float]) -> None:
    """The real line at height 1, the integer line at height 0, and lines from values to their integers."""
    ends = sorted(marked.values())
    for x in (tenths / 10 for tenths in range(-30, 31, 2)):
        outside = not ends[0] <= x <= ends[-1]
        look = {"color": VERMILION, "linestyle": "--"} if outside else {"color": LIGHT_GREY, "linestyle": "-"}
        _draw_line(axes, x, mapping, "clipped" if outside else "inside", linewidth=1.0, **look)
    for text, x in marked.items():
        q = _draw_line(axes, x, mapping, text, color=BLUE, linewidth=2.0)
        name = "z = " if x == 0 and mapping.zero else ""
        axes.text(x, 1.12, _signed(text), ha="center", va="bottom")
        axes.text(q * INTEGER_UNIT, -0.12, f"{name}{_signed(f'{q:.0f}')}", ha="center", va="top")
    axes.plot([-3.2, 3.2], [1, 1], color=BLACK)
    axes.plot([mapping.low * INTEGER_UNIT, mapping.high * INTEGER_UNIT], [0, 0], color=BLACK)
    axes.text(-3.3, 1, "real x", ha="right", va="center")
    axes.text(-3.3, 0, "int8", ha="right", va="center")
    axes.set(xlim=(-3.9, 3.3), ylim=(-0.45, 1.45))
    axes.set_axis_off()


def _draw_line(axes: Axes, x: float, mapping: Mapping, label: str, **look: str | float) -> float:
    q = float(mapping.quantized(np.array(x, np.float32)))
    axes.plot([x, q * INTEGER_UNIT], [1, 0], label=label, marker="|", markersize=7, **look)  # type: ignore[arg-type]
    return q


def figure4_fake_quantization() -> Figure:
    """3-bit fake quantization and the derivative of its straight-through estimator (figure 4)."""
    alpha = 1.0
    mapping = scale_mapping(alpha, 3)
    reals = np.linspace(-1.6, 1.6, 3201, dtype=np.float32)
    with styled():
        drawing = blank(3.3)
        left, right = drawing.subplots(1, 2)
        ends = [_signed(f"-{A}"), "0", A]
        left.plot(reals, reals, color=GREY, linestyle="--", linewidth=1.0, label="x")
        left.plot(reals, mapping.fake_quantized(reals), color=BLUE, linewidth=2.0, label="fake-quantized x")
        left.set(ylim=(-1.6, 1.6), xlabel="x", title="Fake quantization to 3 bits")
        left.legend(loc="upper left", fontsize=9)
        right.plot(reals, mapping.derivative(reals), color=VERMILION, linewidth=2.0, label="derivative")
        right.set(ylim=(-0.1, 1.3), yticks=[0, 1], xlabel="x", title="Derivative of the straight-through estimator")
        left.set_yticks([-alpha, 0, alpha], ends)
        for axes in (left, right):
            axes.set_xticks([-alpha, 0, alpha], ends)
            for x_end in (-alpha, alpha):
                axes.axvline(x_end, color=LIGHT_GREY, linewidth=1.0, zorder=0)
    steps = mapping.high - mapping.low + 1
    return Figure(
        "figure4_fake_quantization",
        "Fake quantization and its derivative (figure 4)",
        f"Left: 3 bits leave {steps} values from -{A} to {A}; beyond the range the output stays at its end. Right: the "
        "derivative that training uses instead of the staircase's own, which is 0 almost everywhere: 1 inside the "
        "range, 0 outside.",
        f"Left, a staircase of {steps} steps that follows the line y = x from -{A} to {A} and is flat outside. "
        f"Right, a function that is 1 from -{A} to {A} and 0 outside.",
        drawing,
    )


def figure7_gelu_swish() -> Figure:
    """GELU and swish with their int8 outputs under a wide and a clipped range (figure 7)."""
    x = np.linspace(-6, 6, 2401, dtype=np.float32)
    with styled():
        drawing = blank(5.2)
        grid = drawing.subplots(2, 2)
        for column, (name, function) in enumerate(FUNCTIONS.items()):
            whole, lobe = grid[0, column], grid[1, column]
            for axes in (whole, lobe):
                _draw_outputs(axes, x, function(x))
            whole.set(title=name, xlim=(-6, 6), ylim=(-1, 6.3), ylabel="output")
            lobe.set(
                title=f"{name}, the negative lobe", xlim=(-6, 0.6), ylim=(-0.45, 0.15), xlabel="x", ylabel="output"
            )
        drawing.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    lost, kept = (
        {name: _levels(function(x), alpha) for name, function in FUNCTIONS.items()} for alpha in (WIDE, CLIPPED)
    )
    return Figure(
        "figure7_gelu_swish",
        "GELU and swish in int8 (figure 7)",
        f"Outputs in fp32 and fake-quantized to int8 with range {WIDE:g} (large values occur) and {CLIPPED:g} (outputs "
        f"clipped, as in GELU10). With range {WIDE:g} the negative lobe falls into {lost['GELU']} (GELU) and "
        f"{lost['swish']} (swish) negative levels, so that its shape is lost; with range {CLIPPED:g} into "
        f"{kept['GELU']} and {kept['swish']}.",
        f"Four plots: GELU and swish, each whole and magnified below zero. With range {WIDE:g} the negative lobe of "
        f"GELU becomes a flat line at zero and that of swish one step; with range {CLIPPED:g} stairs follow both.",
        drawing,
    )


def _draw_outputs(axes: Axes, x: Reals, outputs: Reals) -> None:
    axes.axhline(0, color=LIGHT_GREY, linewidth=1.0, zorder=0)
    axes.plot(x, outputs, color=BLACK, linewidth=1.2, label="fp32")
    for alpha, color, dashes in ((CLIPPED, BLUE, "-"), (WIDE, VERMILION, (0, (4, 1.5)))):
        mapping = scale_mapping(alpha, 8)
        label = f"int8, range {alpha:g} (step {1 / float(mapping.scale):.3f})"
        axes.plot(x, mapping.fake_quantized(outputs), color=color, linestyle=dashes, linewidth=1.8, label=label)


def _levels(outputs: Reals, alpha: float) -> int:
    """How many negative integers the outputs take in int8."""
    integers = scale_mapping(alpha, 8).quantized(outputs)
    return len(set(integers[integers < 0].tolist()))


def _signed(text: str) -> str:
    return text.replace("-", MINUS)
