"""From a cell to a record: the float network, its calibration, the quantized pass, and what the two say."""

from __future__ import annotations

import copy
import hashlib
import json
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from quantbench import backends, lookup, methods
from quantbench.errors import UserError, in_one_line, interruption, ran_out, unexpected
from quantbench.methods.method import Bench, Quantized
from quantbench.quant import QuantizationError
from quantbench.quant.kept import with_weights
from quantbench.quant.layers import Layer, find_layers, union
from quantbench.quant.observe import Observations
from quantbench.quant.scheme import Scheme, SiteMappings
from quantbench.quant.sqnr import site_sqnr_db
from quantbench.quant.transforms.fold import copied
from quantbench.quant.transforms.gelu import clip_gelu
from quantbench.results.maker import code_version, device_name, git_revision, isa, maker_id, versions
from quantbench.results.record import Record, Row, spelled
from quantbench.run.environment import peak_memory_mb, reset_peak_memory
from quantbench.run.inputs import Broken
from quantbench.run.memory import ADVICE, OutOfMemory, fitting_batch, halve_batch
from quantbench.run.predict import predict
from quantbench.run.reference import (
    Pass,
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
from quantbench.sweep.cell import Cell, calibrator

Calibration = Pass[Observations]


def measure(cell: Cell, command: str = "", own: Mapping[str, Any] | None = None) -> Record:
    """The record of a cell, whatever happens but an interruption.

    `command` is what measures it again; `own` are columns of the row that the cell does not tell: the options of model
    and task that differ from their files.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    row = replace(_described(cell), started=started, **(own or {}))
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
    layers = union(prepared.layers, calibration.result.layers) if calibration else prepared.layers
    bench = _bench(cell, reference, prepared, calibration)
    with clip_gelu(bench.module, cell.gelu_bound):
        began = time.perf_counter()
        quantized = methods.find(cell.method)(bench, **lookup.options_of(cell.method))
        if not isinstance(quantized.mappings, SiteMappings):  # what a method leaves out by itself stays in float
            known = [*layers, *quantized.layers]
            quantized = replace(quantized, mappings=SiteMappings(quantized.mappings, known, bench.scheme))
        seconds_decide = time.perf_counter() - began
        _check(quantized, cell)
        quantized.module.eval()

        began = time.perf_counter()
        backend = backends.find(cell.backend)(quantized, bench.example, **lookup.options_of(cell.backend))
        with backend as execution:
            inputs, size = reference.evaluation, cell.batch_size
            outputs = predict(execution.run, inputs, size, cell.device, "quantized", quantized.module)
        seconds_quantized = time.perf_counter() - began

    after = judge(reference.task, reference.evaluation, outputs, "quantized")
    samples = beside(reference.evaluation, before, after, fp32.result, outputs)
    row = replace(
        row,
        **scores(samples, reference.task),
        outputs_sha256=_digest(outputs),
        calibration_samples=len(reference.calibration.samples) if calibration else 0,
        layers=len(layers),
        layers_quantized=len(quantized.layers),
        seconds_calibrate=round(seconds_decide + (calibration.seconds if calibration else 0.0), 3),
        seconds_fp32=round(fp32.seconds, 3),
        seconds_quantized=round(seconds_quantized, 3),
        seconds=round(time.perf_counter() - began_cell, 3),
        peak_memory_mb=round(peak_memory_mb(cell.device), 1),
    )
    seen = calibration.result if calibration else {}
    details = {
        **_details(cell, reference, prepared, layers, quantized),
        "engine": {"name": execution.engine, "int8_layers": execution.int8_layers},
        "passes": {
            "fp32": int(not fp32.kept),
            "calibration": int(calibration is not None and not calibration.kept),
            "quantized": 1,
        },
        "site_sqnr_db": site_sqnr_db(quantized.layers, quantized.mappings, seen),
        "histograms": None if calibration is None else histograms_key(reference, *cell.sites),
    }
    return Record(row, details, samples, seen)


def _check(quantized: Any, cell: Cell) -> None:
    """Refuse what a method of anybody's gave back where it is not what a record can hold. Raises UserError."""
    what = f"method={cell.method['name']}"
    if not isinstance(quantized, Quantized):
        raise UserError(f"{what} gave {type(quantized).__name__}: it must give a Quantized (methods/method.py)")
    try:
        json.dumps(quantized.notes)
    except (TypeError, ValueError) as error:
        raise UserError(f"{what}: its notes must be plain numbers, texts, lists and dicts: {error}") from error


def _bench(cell: Cell, reference: Reference, prepared: Prepared, calibration: Calibration | None) -> Bench:
    """What the method gets: its own copy of the network, so that no cell sees what another's method did."""
    module = copied(prepared.module)
    example = tuple(tensor.to(cell.device, copy=True) for tensor in reference.network.example)

    def layers() -> list[Layer]:
        found = find_layers(module, *example, residual_adds=cell.residual_adds)
        return union(found, with_weights(calibration.result.layers, module, found)) if calibration else found

    return Bench(
        module=module,
        example=example,
        scheme=Scheme(
            weight_bits=cell.weight_bits,
            activation_bits=cell.activation_bits,
            mapping=cell.mapping,  # type: ignore[arg-type]
            weight_granularity=cell.granularity,  # type: ignore[arg-type]
            skip_layers=cell.skip_layers,
        ),
        calibrate=calibrator(cell.calib),
        layers=layers,
        histograms=lambda: copy.copy(calibration.result) if calibration else {},
        calibration=lambda: reference.calibration.batches(cell.batch_size, cell.device, "calibration", padded=False),
    )


def _described(cell: Cell) -> Row:
    """The part of the row that the configuration decides."""
    return Row(
        cell=cell.hash,
        suite=cell.suite,
        model=cell.model["name"],
        task=cell.task["name"],
        calib=None if cell.calib is None else cell.calib["name"],
        calib_options=spelled(lookup.options_of(cell.calib or {})),
        granularity=cell.granularity,
        method=cell.method["name"],
        method_options=spelled(lookup.options_of(cell.method)),
        backend=cell.backend["name"],
        backend_options=spelled(lookup.options_of(cell.backend)),
        weight_bits=cell.weight_bits,
        activation_bits=cell.activation_bits,
        mapping=cell.mapping,
        fold_bn=cell.fold_bn,
        skip_layers=" ".join(cell.skip_layers) or None,
        residual_adds=cell.residual_adds,
        gelu_bound=cell.gelu_bound,
        seed=cell.seed,
        batch_size=cell.batch_size,
        device=cell.device,
        device_name=device_name(cell.device),
        isa=isa(),
        torch=torch.__version__,
        code=code_version(),
        maker=maker_id(cell.device),
        git=git_revision(),
    )


def _details(
    cell: Cell, reference: Reference, prepared: Prepared, layers: list[Layer], quantized: Quantized
) -> dict[str, Any]:
    names = {layer.name for layer in quantized.layers}
    calibrated = [] if cell.activation_bits is None else [sample.id for sample in reference.calibration.samples]
    return {
        "network": {"weights": reference.network.weights, "preprocessing": reference.network.preprocessing},
        "remarks": list(reference.network.remarks),
        "order": reference.network.order,
        "calibration_ids": calibrated,
        "folded": prepared.folded,
        "layers_float": [layer.name for layer in layers if layer.name not in names],
        "notes": quantized.notes,
        "ranges": {
            site: {"low": span.low.flatten().tolist(), "high": span.high.flatten().tolist()}
            for site, span in quantized.ranges.items()
        },
        "versions": versions(),
        "threads": torch.get_num_threads(),
    }


def _digest(outputs: Tensor) -> str:
    """Sixteen hexadecimal digits of the outputs, float32 [items, ...], to the last bit."""
    digest = hashlib.sha256(str(tuple(outputs.shape)).encode())
    digest.update(outputs.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _use_exact_float32() -> None:
    """No TF32, no choice of algorithms by timing: fp32 means fp32, and the same run gives the same figures."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
