"""What the cells of a network share: the float network, its data, its fp32 outputs and its histograms.

Network and data are loaded once a process; outputs and histograms are computed once and kept on disk, so that every
calibrator, bit width and granularity, today and tomorrow, needs no further float pass.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import _lru_cache_wrapper, lru_cache
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from quantbench import networks, tasks
from quantbench.console import say
from quantbench.errors import UserError
from quantbench.networks.network import Network
from quantbench.quant.kept import packed, unpacked
from quantbench.quant.layers import Layer, find_layers
from quantbench.quant.observe import Observations, collect
from quantbench.quant.transforms.fold import fold_batch_norm
from quantbench.quant.transforms.gelu import clip_gelu
from quantbench.results.histograms import NAMES, pack, unpack
from quantbench.results.maker import PASSES, code_version, device_name, isa, versions
from quantbench.results.record import fingerprint
from quantbench.run import memory as fitting
from quantbench.run.cache import Arrays, recall
from quantbench.run.classes import check_width, match
from quantbench.run.inputs import Inputs, in_fast_layout
from quantbench.run.memory import memory_for
from quantbench.run.predict import predict
from quantbench.sweep.cell import Cell
from quantbench.tasks.task import Task

T = TypeVar("T")

_LOOKED_AT = 4
"""Calibration samples that folding runs, to see what uses a layer's weight and output."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The float network with its data. `key` fingerprints all that decides its outputs but the samples."""

    network: Network
    task: Task
    evaluation: Inputs
    calibration: Inputs
    batch_size: int
    device: str
    key: str


@dataclass(frozen=True)
class Prepared:
    """The module to quantize, its layers, and the (layer, normalization) pairs that were folded into it."""

    module: nn.Module
    layers: list[Layer]
    folded: list[tuple[str, str]]


@dataclass(frozen=True)
class Pass(Generic[T]):
    """What a float pass over the samples gave, the seconds that it took, and whether it ran now or was kept."""

    result: T
    seconds: float
    kept: bool


def load_reference(cell: Cell) -> Reference:
    """The float network of a cell with its data, shared by all cells of this process that differ in the scheme only.

    Raises:
        UserError: weights or data cannot be had, or do not fit into memory.
    """
    with memory_for(f"the network {cell.model['name']} and the data of {cell.task['name']}"):
        return _load(cell.shared)


@lru_cache(maxsize=1)
def _load(shared: str) -> Reference:
    drop()  # nothing of the network before is needed any more, and there may not be memory for both
    parts = json.loads(shared)
    model, data = ({k: v for k, v in parts[group].items() if k != "sha256"} for group in ("model", "task"))
    network = networks.load({**model, "seed": parts["seed"]})
    network.module.to(parts["device"])
    for parameter in network.module.parameters():
        parameter.data = in_fast_layout(parameter.data)
    task = tasks.load({**data, "seed": parts["seed"]})
    for what, samples in (("evaluate", task.evaluation), ("calibrate with", task.calibration)):
        if not len(samples):
            raise UserError(f"task {task.name}: there is no sample to {what}")
    fits = match(network, task)
    remarks = tuple(filter(None, (*network.remarks, *task.remarks, fits.remark)))
    for remark in remarks:
        say(remark)
    network = replace(network, order=fits.order, remarks=remarks)
    decisive = {
        "model": parts["model"],
        "weights": network.weights,
        "state": _digest(network.module),
        "preprocessing": network.preprocessing,
        "task": {name: value for name, value in parts["task"].items() if name != "calibration_samples"},
        "batch_size": parts["batch_size"],
        "device": parts["device"],
        "device_name": device_name(parts["device"]),
        "code": code_version(PASSES),  # the catalogue with the checksums of the assets is among these files
        "versions": versions(),
        "isa": isa(),
        "threads": torch.get_num_threads(),
    }
    evaluation = Inputs(network, _subset(task.evaluation, parts["limit"]), keep=True)
    calibration = Inputs(network, task.calibration)
    return Reference(
        network, task, evaluation, calibration, parts["batch_size"], parts["device"], fingerprint(decisive)
    )


def _digest(module: nn.Module) -> str:
    """The sha256 of all parameters and buffers: what a loader of anybody's reads is in no key otherwise."""
    digest = hashlib.sha256()
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().flatten().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@lru_cache(maxsize=2)
def prepare(reference: Reference, fold_bn: bool, residual_adds: bool, gelu_bound: float | None) -> Prepared:
    """Fold batch normalization, if asked, and find the layers; needs no data.

    Raises:
        QuantizationError: `gelu_bound` is given and the network runs no GELU.
    """
    module = reference.network.module
    example = [tensor.to(reference.device) for tensor in reference.network.example]
    folded: list[tuple[str, str]] = []
    if fold_bn:
        module, folded = fold_batch_norm(module, *example, more=_one_by_one(reference, _LOOKED_AT))
    with clip_gelu(module, gelu_bound):
        layers = find_layers(module, *example, residual_adds=residual_adds)
    if not layers:
        raise UserError("the network has no convolution, linear layer or matrix product: there is nothing to quantize")
    return Prepared(module, layers, folded)


def _one_by_one(reference: Reference, count: int) -> Iterator[tuple[Tensor, ...]]:
    """The arguments of forward passes with a batch of one: a random item, then those of some calibration samples."""
    yield tuple(tensor[None].to(reference.device) for tensor in reference.network.random_item(0))
    few = Inputs(reference.network, reference.task.calibration[:count])
    batches = few.batches(1, reference.device, "folding")
    with batches.located():
        for _, batch in batches:
            yield batch


def fp32_outputs(reference: Reference) -> Pass[Tensor]:
    """The float network's outputs for the evaluation samples: float32 [n, ...] on the CPU."""
    return _first_or_kept(_fp32_outputs, reference)


@lru_cache(maxsize=1)
def _fp32_outputs(reference: Reference) -> Pass[Tensor]:

    def make() -> Arrays:
        began = time.perf_counter()
        module, inputs = reference.network.module, reference.evaluation
        outputs = predict(module, inputs, reference.batch_size, reference.device, "fp32")
        return {"outputs": outputs.numpy(), "seconds": np.array(time.perf_counter() - began)}

    arrays, kept = recall("fp32", _key(reference, reference.evaluation), ("outputs", "seconds"), make)
    check_width(reference.network, reference.task, arrays["outputs"].shape[1:])
    # Where the outputs were kept this is asked here: the next pass is a quantized one.
    reference.evaluation.may_pad(reference.batch_size, reference.device)
    return Pass(torch.from_numpy(arrays["outputs"]), float(arrays["seconds"]), kept)


def histograms(
    reference: Reference, fold_bn: bool, residual_adds: bool, gelu_bound: float | None
) -> Pass[Observations]:
    """The histogram of every activation site over the calibration samples, and the layers that ran."""
    return _first_or_kept(_histograms, reference, fold_bn, residual_adds, gelu_bound)


@lru_cache(maxsize=2)
def _histograms(
    reference: Reference, fold_bn: bool, residual_adds: bool, gelu_bound: float | None
) -> Pass[Observations]:
    prepared = prepare(reference, fold_bn, residual_adds, gelu_bound)
    module, ran = prepared.module, list[Observations]()

    def make() -> Arrays:
        began = time.perf_counter()
        # Positions that only fill up a batch are no data: without padding there are none.
        batches = reference.calibration.batches(reference.batch_size, reference.device, "calibration", padded=False)
        with batches.located(), clip_gelu(module, gelu_bound):
            ran.append(collect(module, (batch for _, batch in batches), residual_adds))
        seconds = np.array(time.perf_counter() - began)
        return {**pack(ran[-1]), "layers": np.array(packed(ran[-1], module)), "seconds": seconds}

    key = histograms_key(reference, fold_bn, residual_adds, gelu_bound)
    arrays, kept = recall("histograms", key, (*NAMES, "layers", "seconds"), make)
    found = unpacked(str(arrays["layers"]), unpack(arrays), module, prepared.layers) if kept else None
    if found is None and kept:  # a weight that is computed cannot be had otherwise
        arrays, kept = make(), False
    for histogram in (result := found or ran[-1]).values():  # shared by all cells, and by methods of anybody's
        histogram.counts.setflags(write=False)
        histogram.edges.setflags(write=False)
    return Pass(result, float(arrays["seconds"]), kept)


def _first_or_kept(cached: _lru_cache_wrapper[Pass[T]], *arguments: Any) -> Pass[T]:
    """What a function with an lru_cache gives, marked as kept wherever this process had it already."""
    hits = cached.cache_info().hits
    found = cached(*arguments)
    return replace(found, kept=found.kept or cached.cache_info().hits > hits)


def histograms_key(reference: Reference, fold_bn: bool, residual_adds: bool, gelu_bound: float | None) -> str:
    """What names the histograms: a fingerprint of all that decides them."""
    return _key(reference, reference.calibration, fold_bn, residual_adds, gelu_bound)


def forget() -> None:
    """Drop all that this process knows; what is on disk stays."""
    drop()
    fitting.forget()


def drop() -> None:
    """Free the network that is in memory, its data and what was computed of them."""
    for cached in (_load, prepare, _fp32_outputs, _histograms):
        cached.cache_clear()


def _key(reference: Reference, inputs: Inputs, *more: Any) -> str:
    return fingerprint([reference.key, [(sample.id, sample.version) for sample in inputs.samples], *more])


def _subset(samples: Sequence[Any], limit: int | None) -> Sequence[Any]:
    """`limit` samples spread evenly over all, so that data sorted by class keep every class."""
    if limit is None or limit >= len(samples):
        return samples
    return [samples[i * len(samples) // limit] for i in range(limit)]
