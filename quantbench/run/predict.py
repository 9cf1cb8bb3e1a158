"""Runs a network, in float or quantized, over the inputs and keeps its outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantbench.errors import UserError
from quantbench.quant import QuantizationError
from quantbench.quant.intercept.mode import slow_path
from quantbench.quant.observe import observe
from quantbench.run.inputs import Inputs
from quantbench.run.memory import memory_for


def predict(
    run: Callable[..., Tensor],
    inputs: Inputs,
    batch_size: int,
    device: str,
    label: str,
    module: nn.Module | None = None,
) -> Tensor:
    """The outputs of `run(*batch)` for all items in their order, float32 [items, ...] on the CPU.

    `module` is asked where a value that is not finite comes up; None where `run` is the module.

    Raises:
        UserError: an output is NaN or infinite; the message names the first sample and site where one is.
        OutOfMemory: a batch did not fit.
        Broken: the network raised something; the message names the batch.
    """
    order: list[int] = []
    parts = []
    batches = inputs.batches(batch_size, device, label)
    with torch.inference_mode(), batches.located(), slow_path():
        for indices, batch in batches:
            output = run(*batch).float().cpu()
            if output.dim() == 0 or len(output) != len(indices):
                raise ValueError(f"outputs of shape {tuple(output.shape)} for {len(indices)} inputs")
            order += indices
            parts.append(output)
    with memory_for(f"the outputs of {len(inputs.samples)} samples ({label})", "lower limit, or free memory"):
        outputs = torch.empty_like(together := _joined(parts))
        outputs[order] = together
        broken = ~torch.isfinite(outputs.flatten(1)).all(1)
    if bool(broken.any()):
        bad = [s for s, items in zip(inputs.samples, inputs.owned, strict=True) if bool(broken[items].any())]
        where = _first_non_finite_site(module or run, Inputs(inputs.network, bad[:1]), device)
        raise UserError(
            f"{label}: the output is NaN or infinite for {len(bad)} of {len(inputs.samples)} samples, first for "
            f"{bad[0].id}; it comes up at {where}"
        )
    return outputs


def _joined(parts: list[Tensor]) -> Tensor:
    """The outputs of all batches, those of shorter texts filled up with zeros as within a batch."""
    if parts[0].dim() > 2:
        longest = max(part.shape[1] for part in parts)
        parts = [F.pad(part, (*[0, 0] * (part.dim() - 2), 0, longest - part.shape[1])) for part in parts]
    return torch.cat(parts)


def _first_non_finite_site(module: Any, one: Inputs, device: str) -> str:
    """Where a NaN or an infinity first enters a layer, in words."""
    try:
        with torch.inference_mode(), observe(module):
            for _, batch in one.batches(1, device, ""):
                module(*batch)
    except QuantizationError as error:
        return str(error)
    return "the network's output, after its last layer"
