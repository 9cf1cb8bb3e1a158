"""Affine and scale mapping between real values and b-bit integers (sections 3.1 and 3.2 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quantbench.quant import QuantizationError

MIN_BITS, MAX_BITS = 2, 8

# Ranges up to this are treated as empty: everything becomes zero, as in NVIDIA's pytorch-quantization.
TINY_RANGE = 2.0**-24


@dataclass(frozen=True)
class Mapping:
    """x_q = clip(round(scale * x) + zero_point, low, high) and x^ = (x_q - zero_point) / scale.

    `scale` and `zero_point` are float32 tensors that broadcast against x: a scalar per tensor, or one value a channel.
    Where the range is empty, `scale` is 0 and x^ is 0 whatever x is.
    """

    scale: Tensor
    zero_point: Tensor
    low: int
    high: int

    @property
    def symmetric(self) -> bool:
        """True for scale quantization: the zero point is 0."""
        return self.low == -self.high


def scale_mapping(alpha: Tensor, bits: int) -> Mapping:
    """Scale (symmetric) quantization of [-alpha, alpha] to [-(2^(b-1) - 1), 2^(b-1) - 1] (section 3.1.2).

    Args:
        alpha: float range, a scalar or broadcastable against the tensor to quantize; not negative.
        bits: 2 to 8.

    Raises:
        QuantizationError: `bits` or `alpha` is out of range.
    """
    _check_bits(bits)
    alpha = alpha.to(torch.float32)
    if not bool((alpha >= 0).all()) or not bool(torch.isfinite(alpha).all()):
        raise QuantizationError("a scale range must be finite and not negative")
    high = 2 ** (bits - 1) - 1
    scale = torch.where(alpha > TINY_RANGE, torch.full_like(alpha, high) / alpha, 0.0)
    return Mapping(scale, torch.zeros_like(scale), -high, high)


def affine_mapping(beta: Tensor, alpha: Tensor, bits: int) -> Mapping:
    """Affine (asymmetric) quantization of [beta, alpha] to [-2^(b-1), 2^(b-1) - 1] (section 3.1.1).

    The range is widened to hold 0 where it does not, so that 0 is exactly representable.

    Args:
        beta: float lower end, a scalar or broadcastable against the tensor to quantize.
        alpha: float upper end, of the same shape.
        bits: 2 to 8.

    Raises:
        QuantizationError: `bits` is out of range, or an end is not finite, or beta > alpha.
    """
    _check_bits(bits)
    beta, alpha = beta.to(torch.float32), alpha.to(torch.float32)
    if not bool((beta <= alpha).all()) or not bool(torch.isfinite(alpha - beta).all()):
        raise QuantizationError("an affine range must be finite, its lower end not above its upper end")
    beta, alpha = beta.clamp(max=0), alpha.clamp(min=0)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    span = alpha - beta
    scale = torch.where(span > TINY_RANGE, torch.full_like(span, high - low) / span, 0.0)
    return Mapping(scale, -torch.round(beta * scale) + low, low, high)


def quantize(x: Tensor, mapping: Mapping) -> Tensor:
    """The integers of x, as float32 of x's shape; rounds to nearest, ties to even."""
    return _steps(x, mapping).clamp_(mapping.low, mapping.high)


def _steps(x: Tensor, mapping: Mapping) -> Tensor:
    scaled = x * mapping.scale
    return torch.round(scaled if mapping.symmetric else scaled + mapping.zero_point)


def dequantize(q: Tensor, mapping: Mapping) -> Tensor:
    """The real values of the integers q (float32, the shape of q); 0 where the range is empty."""
    divisor = torch.where(mapping.scale > 0, mapping.scale, 1.0)
    return torch.where(mapping.scale > 0, (q - mapping.zero_point) / divisor, 0.0)


def fake_quantize(x: Tensor, mapping: Mapping) -> Tensor:
    """dequantize(quantize(x)), the simulation of integers in float32 (section 4)."""
    return dequantize(quantize(x, mapping), mapping).to(x.dtype)


class _StraightThrough(torch.autograd.Function):
    """Fake quantization whose gradient is 1 inside the range and 0 outside (section 5.2, figure 4)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mapping: Mapping) -> Tensor:
        steps = _steps(x, mapping)
        # Scale: |x| <= alpha, up to the rounding of x * scale. Affine: the range as nudged to the grid.
        reached = (x * mapping.scale).abs() - 1e-3 if mapping.symmetric else steps
        inside = (reached >= mapping.low) & (reached <= mapping.high) & (mapping.scale > 0)
        ctx.save_for_backward(inside)
        return dequantize(steps.clamp_(mapping.low, mapping.high), mapping).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None


def fake_quantize_ste(x: Tensor, mapping: Mapping) -> Tensor:
    """fake_quantize with the straight-through estimator, for training."""
    return _StraightThrough.apply(x, mapping)  # type: ignore[no-any-return]


def _check_bits(bits: int) -> None:
    if not MIN_BITS <= bits <= MAX_BITS:
        raise QuantizationError(f"bits must be {MIN_BITS} to {MAX_BITS}, not {bits}")
