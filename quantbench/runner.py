"""One cell from config to record."""

from __future__ import annotations

import json
import logging
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from quantbench import networks, store, tasks
from quantbench.cell import Cell, cell_from_config
from quantbench.doctor import isa
from quantbench.errors import UserError
from quantbench.evaluate import Inputs, predict, signal_to_noise
from quantbench.methods.ptq import Quantization, collect, quantize
from quantbench.networks.network import Network
from quantbench.provenance import git_revision, peak_memory_mb, reset_peak_memory, versions
from quantbench.quant.calibrators import CALIBRATORS
from quantbench.quant.errors import QuantizationError
from quantbench.quant.fold import fold_batch_norm
from quantbench.quant.histogram import Histogram
from quantbench.quant.layers import Layer, find_layers
from quantbench.quant.scheme import Scheme
from quantbench.quant.simulate import simulate
from quantbench.record import Record, Row
from quantbench.stats import paired_change
from quantbench.tasks.task import Task

log = logging.getLogger(__name__)


def run_job(config: DictConfig) -> None:
    """Hydra's job: measure one cell, store its record and note it in the run's list.

    A cell that fails becomes a record with its error, so that a sweep goes on; a cell that is finished already is not
    measured again unless `force`.

    Raises:
        UserError: the results folder cannot be written.
    """
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    results, run = Path(settings["results_dir"]), os.environ.get("QUANTBENCH_RUN", "direct")
    try:
        cell = cell_from_config(settings, torch.cuda.is_available())
    except UserError as error:
        store.note_in_run(results, run, {"invalid": str(error)})
        return
    finished = store.read_row(results, cell.hash)
    if finished is None or finished.status != "ok" or settings["force"]:
        store.write_record(results, measure(cell))
        store.note_in_run(results, run, {"cell": cell.hash})
    else:
        store.note_in_run(results, run, {"cell": cell.hash, "found": True})


def measure(cell: Cell) -> Record:
    """The record of a cell, whatever happens but an interruption."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    row = replace(_described(cell), started=started)
    try:
        return _measure(cell, row)
    except (UserError, QuantizationError) as error:
        return Record(replace(row, status="failed", error=" ".join(str(error).split())), {"config": asdict(cell)})
    except Exception as error:
        message = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
        details = {"config": asdict(cell), "traceback": traceback.format_exc()}
        return Record(replace(row, status="error", error=message), details)


@dataclass(frozen=True)
class _Reference:
    """The float network with its data and its fp32 outputs: shared by all cells that differ in the scheme only."""

    network: Network
    task: Task
    evaluation: Inputs
    calibration: Inputs
    outputs: Tensor
    scores: np.ndarray[Any, np.dtype[np.float64]]
    seconds: float


def _measure(cell: Cell, row: Row) -> Record:
    reset_peak_memory()
    torch.manual_seed(cell.seed)
    reference = _reference(_key(cell))
    module, layers, folded = _prepared(_key(cell), cell.fold_bn)

    began = time.perf_counter()
    histograms = {} if cell.activation_bits is None else _histograms(_key(cell), cell.fold_bn)
    quantization = quantize(layers, histograms, _calibrator(cell), _scheme(cell))
    seconds_calibrate = time.perf_counter() - began

    began = time.perf_counter()
    with BACKENDS[cell.backend](module, quantization):
        outputs = predict(module, reference.evaluation, cell.batch_size, cell.device, "quantized")
    seconds_quantized = time.perf_counter() - began

    samples = _compare(reference, outputs)
    scored = samples[samples.fp32.notna()]
    change = paired_change(scored.fp32.to_numpy(), scored.quantized.to_numpy())
    fp32 = float(scored.fp32.mean())
    row = replace(
        row,
        metric=reference.task.metric,
        samples=len(scored),
        fp32=fp32,
        quantized=float(scored.quantized.mean()),
        change=change.value,
        change_low=change.low,
        change_high=change.high,
        relative_change=change.value / fp32 if fp32 else None,
        agreement=100 * float((samples.fp32_prediction == samples.quantized_prediction).mean()),
        sqnr_db=_finite(signal_to_noise(reference.outputs.flatten()[None], outputs.flatten()[None])),
        calibration_samples=0 if cell.activation_bits is None else len(reference.calibration.samples),
        layers=len(layers),
        layers_quantized=len(quantization.layers),
        seconds_calibrate=round(seconds_calibrate, 3),
        seconds_fp32=round(reference.seconds, 3),
        seconds_quantized=round(seconds_quantized, 3),
        peak_memory_mb=round(_peak_memory_mb(cell), 1),
    )
    return Record(row, _details(cell, reference, quantization, layers, folded), samples)


def _described(cell: Cell) -> Row:
    """The part of the row that the configuration decides."""
    return Row(
        cell=cell.hash,
        suite=cell.suite,
        model=cell.model["name"],
        task=cell.task["name"],
        calib=cell.calib,
        percentile=cell.percentile,
        weight_granularity=cell.weight_granularity,
        weight_bits=cell.weight_bits,
        activation_bits=cell.activation_bits,
        mapping=cell.mapping,
        fold_bn=cell.fold_bn,
        method=cell.method,
        backend=cell.backend,
        seed=cell.seed,
        batch_size=cell.batch_size,
        device=cell.device,
        isa=isa(),
        torch=torch.__version__,
        git=git_revision(),
    )


def _key(cell: Cell) -> str:
    """What decides the float network, its data and its outputs, as a hashable value."""
    parts = {key: getattr(cell, key) for key in ("model", "task", "seed", "limit", "batch_size", "device")}
    return json.dumps(parts, sort_keys=True)


@lru_cache(maxsize=1)
def _reference(key: str) -> _Reference:
    """Load network and data, and evaluate in fp32."""
    parts = json.loads(key)
    network = networks.load({**parts["model"], "seed": parts["seed"]})
    network.module.to(parts["device"])
    task = tasks.load({**parts["task"], "seed": parts["seed"]})
    evaluation = Inputs(network, _subset(task.evaluation, parts["limit"]))
    began = time.perf_counter()
    outputs = predict(network.module, evaluation, parts["batch_size"], parts["device"], "fp32")
    seconds = time.perf_counter() - began
    scores = task.score(outputs, [sample.target for sample in evaluation.samples])
    return _Reference(network, task, evaluation, Inputs(network, task.calibration), outputs, scores, seconds)


@lru_cache(maxsize=2)
def _prepared(key: str, fold_bn: bool) -> tuple[nn.Module, list[Layer], list[tuple[str, str]]]:
    """The module to quantize, its layers, and the (layer, normalization) pairs that were folded."""
    network, device = _reference(key).network, json.loads(key)["device"]
    example = [tensor.to(device) for tensor in network.example]
    module, folded = fold_batch_norm(network.module, *example) if fold_bn else (network.module, [])
    return module, find_layers(module, *example), folded


@lru_cache(maxsize=2)
def _histograms(key: str, fold_bn: bool) -> Mapping[str, Histogram]:
    """The histograms of the float module over the calibration samples."""
    parts = json.loads(key)
    module, _, _ = _prepared(key, fold_bn)
    batches = _reference(key).calibration.batches(parts["batch_size"], parts["device"], "calibration")
    return collect(module, batches)


def _subset(samples: Sequence[Any], limit: int | None) -> Sequence[Any]:
    """`limit` samples spread evenly over all, so that data sorted by class keep every class."""
    if limit is None or limit >= len(samples):
        return samples
    return [samples[i * len(samples) // limit] for i in range(limit)]


def _calibrator(cell: Cell) -> Any:
    if cell.calib is None:
        return CALIBRATORS["max"]
    return CALIBRATORS[cell.calib] if cell.percentile is None else partial(CALIBRATORS[cell.calib], percentile=cell.percentile)


def _scheme(cell: Cell) -> Scheme:
    return Scheme(
        weight_bits=cell.weight_bits,
        activation_bits=cell.activation_bits,
        mapping=cell.mapping,  # type: ignore[arg-type]
        weight_granularity=cell.weight_granularity,  # type: ignore[arg-type]
        skip_layers=cell.skip_layers,
    )


def _simulated(module: nn.Module, quantization: Quantization) -> AbstractContextManager[None]:
    return simulate(module, quantization.mappings)


BACKENDS = {"simulate": _simulated}


def _compare(reference: _Reference, outputs: Tensor) -> pd.DataFrame:
    """One line a sample: both scores (empty where the truth is unknown), both predictions, the outputs' SQNR."""
    task, samples = reference.task, reference.evaluation.samples
    targets = [sample.target for sample in samples]
    return pd.DataFrame(
        {
            "sample": [sample.id for sample in samples],
            "target": targets,
            "fp32": reference.scores,
            "quantized": task.score(outputs, targets),
            "fp32_prediction": task.predict(reference.outputs),
            "quantized_prediction": task.predict(outputs),
            "sqnr_db": signal_to_noise(reference.outputs, outputs).numpy(),
        }
    ).astype({"target": "Int64"} if all(t is None or isinstance(t, int) for t in targets) else {})


def _details(
    cell: Cell, reference: _Reference, quantization: Quantization, layers: list[Layer], folded: list[tuple[str, str]]
) -> dict[str, Any]:
    quantized = {layer.name for layer in quantization.layers}
    calibrated = [] if cell.activation_bits is None else [s.id for s in reference.calibration.samples]
    return {
        "config": asdict(cell),
        "network": {"weights": reference.network.weights, "preprocessing": reference.network.preprocessing},
        "calibration_ids": calibrated,
        "folded": folded,
        "layers_float": [layer.name for layer in layers if layer.name not in quantized],
        "ranges": {
            site: {"low": span.low.flatten().tolist(), "high": span.high.flatten().tolist()}
            for site, span in quantization.ranges.items()
        },
        "versions": versions(),
        "threads": torch.get_num_threads(),
    }


def _finite(value: Tensor) -> float | None:
    """A number that JSON can hold; None where there is no noise at all."""
    return float(value) if bool(torch.isfinite(value)) else None


def _peak_memory_mb(cell: Cell) -> float:
    return torch.cuda.max_memory_allocated() / 2**20 if cell.device == "cuda" else peak_memory_mb()
