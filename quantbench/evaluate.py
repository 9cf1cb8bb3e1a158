"""Runs a network over samples and keeps its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from quantbench.errors import UserError
from quantbench.networks.network import Network
from quantbench.progress import track
from quantbench.tasks.task import Sample

# Preprocessed inputs up to this many bytes are kept, so that several passes decode once.
KEPT_BYTES = 1 << 30


class Inputs:
    """The preprocessed inputs of samples, decoded on first use and kept where they are small."""

    def __init__(self, network: Network, samples: Sequence[Sample]) -> None:
        """Decode nothing yet."""
        self.samples = samples
        self._network = network
        self._kept: dict[int, Tensor] = {}
        size = sum(t.numel() * t.element_size() for t in network.example)
        self._keep = size * len(samples) <= KEPT_BYTES

    def batches(self, size: int, device: str, label: str) -> Iterator[Tensor]:
        """Stacked inputs in the order of the samples, with a progress bar."""
        starts = range(0, len(self.samples), size)
        for start in track(starts, label, len(starts)):
            indices = range(start, min(start + size, len(self.samples)))
            yield torch.stack([self._input(i) for i in indices]).to(device)

    def _input(self, index: int) -> Tensor:
        if index in self._kept:
            return self._kept[index]
        tensor = self._network.preprocess(self.samples[index].read())
        if self._keep:
            self._kept[index] = tensor
        return tensor


def predict(module: nn.Module, inputs: Inputs, batch_size: int, device: str, label: str) -> Tensor:
    """The outputs of all samples, float32 [n, ...] on the CPU.

    Raises:
        UserError: an output is NaN or infinite; the message names the sample.
    """
    with torch.inference_mode():
        outputs = torch.cat([module(batch).float().cpu() for batch in inputs.batches(batch_size, device, label)])
    broken = ~torch.isfinite(outputs.flatten(1)).all(1)
    if bool(broken.any()):
        first = inputs.samples[int(broken.nonzero()[0])].id
        raise UserError(
            f"{label}: the network's output is NaN or infinite for {int(broken.sum())} samples, first {first}"
        )
    return outputs


def signal_to_noise(reference: Tensor, outputs: Tensor) -> Tensor:
    """10 log10(sum reference^2 / sum (reference - outputs)^2) over all but the first dimension: float64 [n] in dB."""
    reference, outputs = reference.double().flatten(1), outputs.double().flatten(1)
    return 10 * torch.log10(reference.square().sum(1) / (reference - outputs).square().sum(1))
