"""Runs a module with the operands of its layers fake-quantized (section 4 of the paper)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from quantbench.quant import QuantizationError
from quantbench.quant import mapping as maps
from quantbench.quant.intercept.mode import intercept
from quantbench.quant.intercept.operations import Call, Operand
from quantbench.quant.scheme import SiteMappings
from quantbench.quant.tensors import CHUNK, flatten_dense


@contextmanager
def simulate(module: nn.Module, mappings: Mapping[str, maps.Mapping], residual_adds: bool = False) -> Iterator[None]:
    """While this is open, `module` runs quantized: every site that `mappings` names is, every other stays in float.

    Of SiteMappings, as `decide` gives them, no site stays in float that was not met before: a parameter gets the range
    of its own, all else is refused. Parameters are quantized once, at their first use. Activations go into scratch
    memory that is used again by the next layer; where gradients are recorded they go into fresh memory, with the
    straight-through estimator. `residual_adds` is what the mappings were found with.

    Raises:
        QuantizationError: (on running the module) a site was not met before; the message names it.
    """
    weights: dict[tuple[str, str], Tensor] = {}
    strict = mappings if isinstance(mappings, SiteMappings) else None
    scratch = (_Scratch(), _Scratch())

    def mapping_of(layer: str, operand: Operand) -> maps.Mapping | None:
        site = operand.site
        mapping = mappings.get(site)
        if strict is None:
            return mapping
        if mapping is None:
            return strict.missing(layer, site, operand.tensor if operand.is_parameter else None, operand.channel)
        if not operand.steady:
            raise QuantizationError(f"site {site}: the weight that is computed there is not that of the calibration")
        return mapping

    def quantized(layer: str, operand: Operand, buffer: _Scratch) -> Tensor | None:
        key = operand.base, operand.identity
        recorded = torch.is_grad_enabled()
        if operand.is_parameter and not recorded and key in weights:
            return weights[key]
        mapping = mapping_of(layer, operand)
        if mapping is None:
            return None
        if recorded:
            return maps.fake_quantize_ste(operand.tensor, mapping)
        if operand.is_parameter:
            weights[key] = maps.fake_quantize(operand.tensor, mapping)
            return weights[key]
        return fake_quantize_into(operand.tensor, mapping, buffer)

    def run(call: Call) -> Tensor:
        first, second = (quantized(call.layer, o, s) for o, s in zip(call.operands, scratch, strict=True))
        return call.run(first, second)

    with intercept(module, run, residual_adds=residual_adds, learn=False):
        yield


class _Scratch:
    """Flat memory that grows to the largest request and is handed out again at every request."""

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def take(self, like: Tensor) -> Tensor:
        """A flat tensor with the number of elements, dtype and device of `like`."""
        memory = self._memory
        if (
            memory is None
            or memory.numel() < like.numel()
            or memory.dtype != like.dtype
            or memory.device != like.device
            or memory.is_inference() != torch.is_inference_mode_enabled()
        ):
            self._memory = None  # frees the old memory before the new is asked for
            self._memory = memory = torch.empty(like.numel(), dtype=like.dtype, device=like.device)
        return memory[: like.numel()]


def fake_quantize_into(x: Tensor, mapping: maps.Mapping, scratch: _Scratch) -> Tensor:
    """mapping.fake_quantize(x), written to scratch memory in pieces that stay in the processor's cache.

    The result is bit for bit that of `fake_quantize`; it is valid until the next call with this scratch.
    """
    if mapping.scale.numel() != 1:
        return maps.fake_quantize(x, mapping)
    scale, zero_point = float(mapping.scale), float(mapping.zero_point)
    flat, restore = flatten_dense(x)
    memory = scratch.take(flat)
    if scale == 0:
        return restore(memory.zero_())
    for start in range(0, flat.numel(), CHUNK):
        part = memory[start : start + CHUNK]
        torch.mul(flat[start : start + CHUNK], scale, out=part)
        if mapping.symmetric:
            part.round_().clamp_(mapping.low, mapping.high).div_(scale)
        else:
            part.add_(zero_point).round_().clamp_(mapping.low, mapping.high).sub_(zero_point).div_(scale)
    return restore(memory)
