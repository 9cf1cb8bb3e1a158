"""The inputs of a pass: samples decoded, preprocessed, and put into batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quantbench.console import say, track
from quantbench.errors import UserError, ran_out, unexpected
from quantbench.networks.network import Item, Network
from quantbench.quant import QuantizationError
from quantbench.run.memory import ADVICE, OutOfMemory
from quantbench.run.padding import trouble_with_padding
from quantbench.tasks.task import Noise, Sample

# Preprocessed inputs up to this many bytes are kept, so that several passes decode once.
KEPT_BYTES = 1 << 30


class Broken(Exception):
    """A network, or what prepares its inputs, raised what nobody expects. The text says where, and what it was."""


class Inputs:
    """The preprocessed items of samples.

    Where a network's items have one shape, there is one a sample, decoded on first use and, with `keep`, kept where
    they are small. Where they differ in length, all are prepared at the first use, and batches are made of items of
    similar length, or of one length where the answers depend on the padding. With `keep`, an item that occurs in
    several samples is then run once.
    """

    def __init__(self, network: Network, samples: Sequence[Sample], keep: bool = False) -> None:
        """Decode nothing yet."""
        self.samples = samples
        self.network = network
        self._kept: dict[int, Item] = {}
        size = sum(t.numel() * t.element_size() for t in network.example)
        self._keep = keep
        self._fits = keep and size * len(samples) <= KEPT_BYTES
        self._padded: bool | None = None

    @property
    def owned(self) -> list[list[int]]:
        """For each sample, the indices of its items."""
        return [[i] for i in range(len(self.samples))] if self.network.pad is None else self._prepared[1]

    def batches(self, size: int, device: str, label: str, padded: bool = True) -> Batches:
        """A pass over all items, with a progress bar.

        Without `padded`, only items of the same length share a batch, so that no padding is made.
        """
        return Batches(self, size, device, label, padded)

    def owner(self, item: int) -> Sample:
        """The first sample that has this item."""
        return next(sample for sample, items in zip(self.samples, self.owned, strict=True) if item in items)

    def plan(self, size: int, padded: bool) -> list[list[int]]:
        """The indices of the items of every batch."""
        if self.network.pad is None:
            return _chunks(list(range(len(self.samples))), size)
        lengths = [item[0].shape[-1] for item in self._prepared[0]]
        order = sorted(range(len(lengths)), key=lambda i: lengths[i])
        if padded:
            return _chunks(order, size)
        alike: dict[int, list[int]] = {}
        for i in order:
            alike.setdefault(lengths[i], []).append(i)
        return [chunk for group in alike.values() for chunk in _chunks(group, size)]

    def may_pad(self, size: int, device: str) -> bool:
        """Whether batches of `size` may be filled up: found out at the first call, in float, and said if not.

        Raises:
            OutOfMemory: some items did not fit as one batch.
        """
        if self.network.pad is None or size == 1:
            return True
        if self._padded is None:
            found = {item[0].shape[-1]: item for item in self._prepared[0]}
            lengths = sorted(found)
            chosen = dict.fromkeys((0, len(lengths) - 1, len(lengths) // 3, 2 * len(lengths) // 3))
            trouble = self._trouble([found[lengths[i]] for i in list(chosen)[:size]], device)
            self._padded = trouble is None
            if trouble:
                say(f"{self.network.name}: {trouble}; batches hold items of one length")
        return self._padded

    def _trouble(self, items: list[Item], device: str) -> str | None:
        if len(items) < 2:
            return None
        if not self.network.masked:
            return "it cannot be told what only fills up a batch"
        try:
            return trouble_with_padding(
                self.network.module, items, lambda some: tuple(tensor.to(device) for tensor in self._filled(some))
            )
        except Exception as error:
            if ran_out(error):
                raise OutOfMemory("a batch of items of different lengths", len(items)) from error
            raise

    def stack(self, indices: list[int]) -> Item:
        """The items of a batch, one tensor an argument."""
        if self.network.pad is None:
            items = [self._item(i) for i in indices]
            return tuple(in_fast_layout(torch.stack(tensors)) for tensors in zip(*items, strict=True))
        return self._filled([self._prepared[0][i] for i in indices])

    def _filled(self, items: Sequence[Item]) -> Item:
        assert self.network.pad is not None
        return tuple(
            _padded(tensors, value) for tensors, value in zip(zip(*items, strict=True), self.network.pad, strict=True)
        )

    def _item(self, index: int) -> Item:
        if index in self._kept:
            return self._kept[index]
        (item,) = self._read(self.samples[index])
        if self._fits:
            self._kept[index] = item
        return item

    @cached_property
    def _prepared(self) -> tuple[list[Item], list[list[int]]]:
        """All items, and for each sample the indices of its items."""
        items: list[Item] = []
        owned: list[list[int]] = []
        known: dict[bytes, int] = {}
        for sample in self.samples:
            owned.append([])
            for item in self._read(sample):
                content = _digest(item) if self._keep else b""
                if content not in known or not self._keep:
                    known[content] = len(items)
                    items.append(item)
                owned[-1].append(known[content])
        return items, owned

    def _read(self, sample: Sample) -> list[Item]:
        try:
            raw = sample.read()
            return [self.network.random_item(raw.seed)] if isinstance(raw, Noise) else self.network.preprocess(raw)
        except (UserError, QuantizationError):
            raise
        except Exception as error:
            if ran_out(error):
                raise
            raise Broken(f"sample {sample.id} cannot be prepared: {unexpected(error)}") from error

    def answers(self, outputs: Tensor) -> Any:
        """What the network says to each sample, of the outputs [items, ...]: a sequence, or a tensor [n, ...]."""
        decode = self.network.decode
        if decode is None or isinstance(self.samples[0].read(), Noise):  # no sample or every one is noise
            order = self.network.order
            return outputs if order is None else outputs[:, list(order)]
        return [decode(s.read(), outputs[indices]) for s, indices in zip(self.samples, self.owned, strict=True)]


class Batches:
    """A pass over inputs: for each batch the indices of its items and these, stacked. It knows which is under way."""

    def __init__(self, inputs: Inputs, size: int, device: str, label: str, padded: bool) -> None:
        """Prepare nothing yet."""
        self._inputs, self._size, self._device, self._label, self._padded = inputs, size, device, label, padded
        self._plan: list[list[int]] = []
        self._number = 0

    def __iter__(self) -> Iterator[tuple[list[int], Item]]:
        """Prepare the items of each batch when its turn comes."""
        padded = self._padded and self._inputs.may_pad(self._size, self._device)
        self._plan, self._number = self._inputs.plan(self._size, padded), 0
        for indices in track(self._plan, self._label, len(self._plan)):
            self._number += 1
            yield indices, tuple(tensor.to(self._device) for tensor in self._inputs.stack(indices))
        self._number = 0

    @contextmanager
    def located(self) -> Iterator[None]:
        """What is raised while a network runs on these batches says in which pass and batch.

        Raises:
            OutOfMemory: a batch did not fit.
            QuantizationError: as the network raised it, with the place.
            Broken: it raised anything else.
        """
        try:
            yield
        except (UserError, OutOfMemory):
            raise
        except QuantizationError as error:
            raise QuantizationError(f"{error} ({self._where()})") from error
        except Broken as error:
            raise Broken(f"{self._where()}: {error}") from error
        except Exception as error:
            if ran_out(error) and not self._number:
                raise UserError(f"{self._where()}: out of memory outside of the batches: {ADVICE}") from error
            if ran_out(error):
                raise OutOfMemory(self._where(), max(map(len, self._plan))) from error
            raise Broken(f"{self._where()}: {unexpected(error)}") from error

    def _where(self) -> str:
        if not self._number:
            return self._label
        first = self._inputs.owner(self._plan[self._number - 1][0])
        return f"{self._label}, batch {self._number} of {len(self._plan)}, which begins with {first.id}"


def in_fast_layout(batch: Tensor) -> Tensor:
    """The same values, images [N, C, H, W] laid out channels last: convolutions take half to all of the time so."""
    return batch.contiguous(memory_format=torch.channels_last) if batch.dim() == 4 else batch


def _digest(item: Item) -> bytes:
    digest = hashlib.sha256()
    for tensor in item:
        digest.update(tensor.contiguous().numpy().data)
    return digest.digest()


def _chunks(indices: list[int], size: int) -> list[list[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _padded(tensors: Sequence[Tensor], value: float) -> Tensor:
    """The tensors stacked, each filled up with `value` to the longest in the last dimension."""
    longest = max(tensor.shape[-1] for tensor in tensors)
    return torch.stack([F.pad(tensor, (0, longest - tensor.shape[-1]), value=value) for tensor in tensors])
