"""Runs a network over samples and keeps its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from quantbench.errors import UserError
from quantbench.networks.network import Network
from quantbench.progress import track
from quantbench.quant.errors import QuantizationError
from quantbench.quant.observe import observe
from quantbench.tasks.task import Sample

# Preprocessed inputs up to this many bytes are kept, so that several passes decode once.
KEPT_BYTES = 1 << 30


class Inputs:
    """The preprocessed inputs of samples, decoded on first use; with `keep`, kept where they are small."""

    def __init__(self, network: Network, samples: Sequence[Sample], keep: bool = False) -> None:
        """Decode nothing yet."""
        self.samples = samples
        self.network = network
        self._kept: dict[int, Tensor] = {}
        size = sum(t.numel() * t.element_size() for t in network.example)
        self._keep = keep and size * len(samples) <= KEPT_BYTES

    def batches(self, size: int, device: str, label: str) -> Iterator[Tensor]:
        """Stacked inputs in the order of the samples, with a progress bar."""
        starts = range(0, len(self.samples), size)
        for start in track(starts, label, len(starts)):
            indices = range(start, min(start + size, len(self.samples)))
            yield in_fast_layout(torch.stack([self._input(i) for i in indices])).to(device)

    def _input(self, index: int) -> Tensor:
        if index in self._kept:
            return self._kept[index]
        tensor = self.network.preprocess(self.samples[index].read())
        if self._keep:
            self._kept[index] = tensor
        return tensor


def in_fast_layout(batch: Tensor) -> Tensor:
    """The same values, images [N, C, H, W] laid out channels last: convolutions take half to all of the time so."""
    return batch.contiguous(memory_format=torch.channels_last) if batch.dim() == 4 else batch


def predict(module: nn.Module, inputs: Inputs, batch_size: int, device: str, label: str) -> Tensor:
    """The outputs of all samples, float32 [n, ...] on the CPU.

    Raises:
        UserError: an output is NaN or infinite; the message names the first sample and site where one is.
    """
    with torch.inference_mode():
        outputs = torch.cat([module(batch).float().cpu() for batch in inputs.batches(batch_size, device, label)])
    broken = ~torch.isfinite(outputs.flatten(1)).all(1)
    if bool(broken.any()):
        first = inputs.samples[int(broken.nonzero()[0])]
        where = _first_non_finite_site(module, Inputs(inputs.network, [first]), device)
        raise UserError(
            f"{label}: the output is NaN or infinite for {int(broken.sum())} of {len(outputs)} samples, first for "
            f"{first.id}; it comes up at {where}"
        )
    return outputs


def _first_non_finite_site(module: nn.Module, one: Inputs, device: str) -> str:
    """Where a NaN or an infinity first enters a layer, in words."""
    try:
        with torch.inference_mode(), observe(module):
            module(next(one.batches(1, device, "")))
    except QuantizationError as error:
        return str(error)
    return "the network's output, after its last layer"
