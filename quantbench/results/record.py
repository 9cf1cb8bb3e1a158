"""What a cell produced: its row, the details beside it, and the scores of every sample."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pandas as pd

    from quantbench.quant.histogram import Histogram


@dataclass(frozen=True)
class Row:
    """One line of results.csv. Metrics and changes are in the metric's points (top-1: percent).

    What is chosen by name has its options beside it, as `spelled` writes them: those that were set, None where there
    are none.
    """

    cell: str
    suite: str
    model: str
    task: str
    model_options: str | None = None
    task_options: str | None = None
    metric: str | None = None
    samples: int | None = None
    fp32: float | None = None
    quantized: float | None = None
    change: float | None = None  # quantized - fp32
    change_low: float | None = None  # paired 95 % interval over samples
    change_high: float | None = None
    relative_change: float | None = None  # change / fp32
    p_value: float | None = None  # exact paired test (McNemar) that nothing changed; right/wrong scores only
    detectable_drop: float | None = None  # the smallest true drop that samples like these show, in points, see stats.py
    secondary_metric: str | None = None  # another metric of the same answers, where the task has one
    secondary_fp32: float | None = None
    secondary_quantized: float | None = None
    secondary_change: float | None = None
    secondary_change_low: float | None = None
    secondary_change_high: float | None = None
    agreement: float | None = None  # percent of evaluated samples with the same prediction, unlabelled ones included
    sqnr_db: float | None = None  # 10 log10(signal / noise) of the outputs, energies summed over all samples
    outputs_sha256: str | None = None  # of the quantized outputs, its first digits: equal where every bit of them is
    calib: str | None = None  # empty where activations stay in float
    calib_options: str | None = None  # "percentile=99.99"
    granularity: str | None = None  # of the weights: per_channel or per_tensor
    weight_bits: int | None = None
    activation_bits: int | None = None
    mapping: str | None = None
    fold_bn: bool | None = None
    skip_layers: str | None = None  # the patterns, separated by spaces
    residual_adds: bool | None = None  # both inputs of residual adds quantized too
    gelu_bound: float | None = None  # GELU's output clipped from above at it
    method: str | None = None
    method_options: str | None = None
    backend: str | None = None
    backend_options: str | None = None
    seed: int | None = None
    calibration_samples: int | None = None
    batch_size: int | None = None
    layers: int | None = None
    layers_quantized: int | None = None
    seconds_calibrate: float | None = None
    seconds_fp32: float | None = None
    seconds_quantized: float | None = None
    seconds: float | None = None  # of this cell in all; less than its passes where some were kept from before
    peak_memory_mb: float | None = None
    device: str | None = None
    device_name: str | None = None  # model of the CPU or GPU
    isa: str | None = None
    torch: str | None = None
    code: str | None = None  # of the source files that compute, see maker.py
    maker: str | None = None  # of code, versions, device and instruction set: rows of one maker have it in common
    git: str | None = None
    started: str | None = None
    status: str = "ok"  # ok, failed (bad input or missing data), error (unexpected) or unsupported (not built yet)
    error: str | None = None

    @property
    def percentile(self) -> float | None:
        """The percentile that calibrated the activations; None where another calibrator did, or none."""
        found = re.fullmatch(r"percentile=(\d+(?:\.\d+)?)", self.calib_options or "")
        return float(found[1]) if found and self.calib == "percentile" else None


def spelled(options: Mapping[str, Any]) -> str | None:
    """Options as the text of a row, `name=value name=value` by name: words as they are, all else as JSON.

    A whole number is written without a point, so that 99 and 99.0 are the same. None where there is no option.
    """
    return " ".join(f"{name}={_word(value)}" for name, value in sorted(options.items())) or None


def _word(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST:
        value = int(value)
    plain = isinstance(value, str) and re.fullmatch(r"[^\s\"=]+", value)
    return str(value) if plain else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def is_structure_run(row: Row) -> bool:
    """Whether the inputs of a row have no right answers: it has agreement and SQNR, and never an accuracy.

    A cell that failed says no metric either; there only the task tells.
    """
    return row.metric is None and (row.status == "ok" or row.task == "synthetic")


_Key = TypeVar("_Key")


def grouped(rows: Iterable[Row], key: Callable[[Row], _Key]) -> dict[_Key, list[Row]]:
    """The rows by what `key` says of them, groups and rows in the order they came in."""
    groups: dict[_Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


COLUMNS = tuple(f.name for f in fields(Row))
LARGEST = 1e15
_KINDS: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float), "bool": bool}


def check_types(row: Row) -> None:
    """Refuse a row from a file whose values are not what Row declares.

    Raises:
        TypeError: the message names the column.
    """
    for column in fields(row):
        kind, *optional = str(column.type).split(" | ")
        value = getattr(row, column.name)
        if not (isinstance(value, _KINDS[kind]) or (value is None and optional)):
            raise TypeError(f"{column.name} is {value!r}")
        if isinstance(value, int | float) and not abs(value) < LARGEST:
            raise TypeError(f"{column.name} is no finite number of a sensible size")


@dataclass(frozen=True)
class Record:
    """Everything a cell produced. `samples` is one line a sample, None where the cell failed.

    `histograms` are those of the activation sites that the cell was calibrated on; cells that share them name the same
    file in `details["histograms"]`.
    """

    row: Row
    details: dict[str, Any] = field(default_factory=dict)
    samples: pd.DataFrame | None = None
    histograms: Mapping[str, Histogram] | None = None


# Raised whenever a record of the same configuration would no longer mean the same.
SCHEMA = 2


def fingerprint(value: Any) -> str:
    """Twelve hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
