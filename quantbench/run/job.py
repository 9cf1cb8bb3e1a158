"""One cell from config to record."""

from __future__ import annotations

import os
import platform
import time
import traceback
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from torch import nn

from quantbench.errors import Halt, UserError, in_one_line, interruption, ran_out, unexpected
from quantbench.methods.ptq import Quantization, quantize, site_sqnr_db
from quantbench.quant import QuantizationError
from quantbench.quant.calibrators import CALIBRATORS, Calibrator
from quantbench.quant.scheme import Scheme
from quantbench.quant.simulate import simulate
from quantbench.quant.transforms.gelu import clip_gelu
from quantbench.results import store
from quantbench.results.files import Unwritable
from quantbench.results.record import Record, Row, spelled
from quantbench.run.environment import git_revision, isa, peak_memory_mb, reset_peak_memory, versions
from quantbench.run.evaluate import Broken, predict
from quantbench.run.memory import ADVICE, OutOfMemory, fitting_batch, halve_batch
from quantbench.run.reference import (
    Prepared,
    Reference,
    drop,
    fp32_outputs,
    histograms,
    histograms_key,
    load_reference,
    prepare,
)
from quantbench.run.scores import beside, judge, scores
from quantbench.sweep.cell import Cell, cell_from_config
from quantbench.sweep.command import command_for
from quantbench.sweep.plan import note, recorded, row_of, say_progress


def run_job(config: DictConfig) -> None:
    """Hydra's job: measure one cell, store its record and note it in the run's list.

    A cell that fails becomes a record with its error, so that a sweep goes on; a finished cell is measured again only
    with `force`, and a failure then leaves it as it was.

    Raises:
        Halt: the results folder cannot be written, so that nothing more can be kept.
    """
    _enter_working_folder()
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    results = Path(settings["results_dir"])
    try:
        entry, row = _attempt(settings, results)
        note(results, entry)
        say_progress(entry, row)
    except Unwritable as error:
        raise Halt(str(error)) from error


def _enter_working_folder() -> None:
    """Go where the command was given: a worker may start elsewhere, and results_dir or a file of weights be relative.

    Raises:
        Halt: the folder is not there, because the worker's machine does not share the disk.
    """
    if not HydraConfig.initialized():
        return
    folder = HydraConfig.get().runtime.cwd
    try:
        os.chdir(folder)
    except OSError as error:
        raise Halt(f"{folder}: not on {platform.node()} ({error.strerror}); all workers need this folder") from error


def _attempt(settings: dict[str, Any], results: Path) -> tuple[dict[str, Any], Row | None]:
    """Measure the cell of a config unless its record is there; what the run's list shall say of it, and its row."""
    try:
        cell = cell_from_config(settings, torch.cuda.is_available())
    except UserError as error:
        return {"invalid": str(error)}, None
    before = row_of(results, cell)
    if entry := recorded(before, settings):
        return entry, before
    if settings["threads"] is not None:
        torch.set_num_threads(settings["threads"])
    record = measure(cell, command_for(settings))
    # Read once more: another process may have measured it meanwhile.
    if record.row.status != "ok" and (kept := row_of(results, cell)) and kept.status == "ok":
        said = f"measured again in vain: {record.row.error}"
        return {"cell": cell.hash, "found": True, "invalid": said}, record.row
    store.write_record(results, record)
    return {"cell": cell.hash}, record.row


def measure(cell: Cell, command: str = "") -> Record:
    """The record of a cell, whatever happens but an interruption. `command` is what measures it again."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    row = replace(_described(cell), started=started)
    details = {"command": command, "config": asdict(cell)}
    if cell.model.get("family") == "unsupported":
        return Record(replace(row, status="unsupported", error=f"{row.model} is not built yet"), details)
    try:
        record = _measure_fitting(cell, row)
    except Exception as error:
        if stopped := interruption(error):
            raise stopped from error
        if isinstance(error, UserError | QuantizationError):
            return Record(replace(row, status="failed", error=in_one_line(error)), details)
        if ran_out(error):
            return Record(
                replace(row, status="failed", error=f"out of memory ({in_one_line(error)}): {ADVICE}"), details
            )
        message = str(error) if isinstance(error, Broken) else unexpected(error)
        return Record(replace(row, status="error", error=message), {**details, "traceback": traceback.format_exc()})
    return replace(record, details={**details, **record.details})


def _measure_fitting(cell: Cell, row: Row) -> Record:
    """Measure a cell; where a batch does not fit into memory, all of it anew with smaller ones."""
    while True:
        size = fitting_batch(cell)
        try:
            record = _measure(replace(cell, batch_size=size), replace(row, batch_size=size))
            return replace(record, details={**record.details, "batch_size": size})
        except OutOfMemory as error:
            where, largest = str(error), error.largest
        # Only here are the frames of the error gone, and with them the tensors that they held.
        drop()
        halve_batch(cell, where, largest)


def _measure(cell: Cell, row: Row) -> Record:
    began_cell = time.perf_counter()
    reset_peak_memory(cell.device)
    _use_exact_float32()
    reference = load_reference(cell)
    fp32 = fp32_outputs(reference)
    before = judge(reference.task, reference.evaluation, fp32.result, "fp32")  # finds a wrong label at once
    prepared = prepare(reference, *cell.sites)
    calibration = None if cell.activation_bits is None else histograms(reference, *cell.sites)

    began = time.perf_counter()
    seen = calibration.result if calibration else {}
    quantization = METHODS[cell.method](prepared.layers, seen, _calibrator(cell), _scheme(cell))
    seconds_decide = time.perf_counter() - began

    began = time.perf_counter()
    with clip_gelu(prepared.module, cell.gelu_bound), BACKENDS[cell.backend](prepared.module, quantization):
        outputs = predict(prepared.module, reference.evaluation, cell.batch_size, cell.device, "quantized")
    seconds_quantized = time.perf_counter() - began

    after = judge(reference.task, reference.evaluation, outputs, "quantized")
    samples = beside(reference.evaluation, before, after, fp32.result, outputs)
    row = replace(
        row,
        **scores(samples, reference.task),
        calibration_samples=len(reference.calibration.samples) if calibration else 0,
        layers=len(prepared.layers),
        layers_quantized=len(quantization.layers),
        seconds_calibrate=round(seconds_decide + (calibration.seconds if calibration else 0.0), 3),
        seconds_fp32=round(fp32.seconds, 3),
        seconds_quantized=round(seconds_quantized, 3),
        seconds=round(time.perf_counter() - began_cell, 3),
        peak_memory_mb=round(peak_memory_mb(cell.device), 1),
    )
    passes = {
        "fp32": int(not fp32.kept),
        "calibration": int(calibration is not None and not calibration.kept),
        "quantized": 1,
    }
    details = _details(cell, reference, prepared, quantization)
    kept = None if calibration is None else histograms_key(reference, *cell.sites)
    site_sqnr = site_sqnr_db(quantization, seen)
    return Record(row, {**details, "passes": passes, "site_sqnr_db": site_sqnr, "histograms": kept}, samples, seen)


def _described(cell: Cell) -> Row:
    """The part of the row that the configuration decides."""
    calib = cell.calib or {}
    return Row(
        cell=cell.hash,
        suite=cell.suite,
        model=cell.model["name"],
        task=cell.task["name"],
        calib=calib.get("name"),
        calib_options=spelled({name: value for name, value in calib.items() if name != "name"}),
        granularity=cell.weight_granularity,
        weight_bits=cell.weight_bits,
        activation_bits=cell.activation_bits,
        mapping=cell.mapping,
        fold_bn=cell.fold_bn,
        skip_layers=" ".join(cell.skip_layers) or None,
        residual_adds=cell.residual_adds,
        gelu_bound=cell.gelu_bound,
        method=cell.method,
        backend=cell.backend,
        seed=cell.seed,
        batch_size=cell.batch_size,
        device=cell.device,
        isa=isa(),
        torch=torch.__version__,
        git=git_revision(),
    )


def _calibrator(cell: Cell) -> Calibrator:
    """The calibrator with its parameters bound; activations that stay in float never call it."""
    name, parameters = "max", {}
    if cell.calib is not None:
        parameters = dict(cell.calib)
        name = parameters.pop("name")
    return partial(CALIBRATORS[name], **parameters)


def _scheme(cell: Cell) -> Scheme:
    return Scheme(
        weight_bits=cell.weight_bits,
        activation_bits=cell.activation_bits,
        mapping=cell.mapping,  # type: ignore[arg-type]
        weight_granularity=cell.weight_granularity,  # type: ignore[arg-type]
        skip_layers=cell.skip_layers,
    )


def _simulated(module: nn.Module, quantization: Quantization) -> AbstractContextManager[None]:
    residual_adds = any(layer.kind == "add" for layer in quantization.layers)
    return simulate(module, quantization.mappings, residual_adds)


METHODS = {"ptq": quantize}
BACKENDS = {"simulate": _simulated}


def _details(cell: Cell, reference: Reference, prepared: Prepared, quantization: Quantization) -> dict[str, Any]:
    quantized = {layer.name for layer in quantization.layers}
    calibrated = [] if cell.activation_bits is None else [sample.id for sample in reference.calibration.samples]
    return {
        "network": {"weights": reference.network.weights, "preprocessing": reference.network.preprocessing},
        "calibration_ids": calibrated,
        "folded": prepared.folded,
        "layers_float": [layer.name for layer in prepared.layers if layer.name not in quantized],
        "ranges": {
            site: {"low": span.low.flatten().tolist(), "high": span.high.flatten().tolist()}
            for site, span in quantization.ranges.items()
        },
        "versions": versions(),
        "threads": torch.get_num_threads(),
    }


def _use_exact_float32() -> None:
    """No TF32, no choice of algorithms by timing: fp32 means fp32, and the same run gives the same figures."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
