"""The columns of the paper's tables 3 to 5: which rows of the results belong into which."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from quantbench.report.networks import Matches
from quantbench.results.record import Row

PERCENTILES = (99.9, 99.99, 99.999, 99.9999)


@dataclass(frozen=True)
class Slot:
    """A column: its title, its name in the published figures, and which rows belong into it."""

    title: str
    published: str
    matches: Matches


def table3() -> tuple[Slot, ...]:
    """Int8 weights only, per channel and per tensor, without and with BN folding."""
    return tuple(
        Slot(
            f"{granularity.replace('_', ' ')}{' + BN folded' if fold_bn else ''}",
            f"{granularity}{'_fold_bn' if fold_bn else ''}",
            partial(_weights_only, granularity=granularity, fold_bn=fold_bn),
        )
        for granularity in ("per_channel", "per_tensor")
        for fold_bn in (False, True)
    )


def table4() -> tuple[Slot, ...]:
    """Int8 weights only, per channel."""
    return (Slot("int8", "int8_weights", partial(_weights_only, granularity="per_channel", fold_bn=False)),)


def table5(rows: Iterable[Row]) -> tuple[Slot, ...]:
    """Int8 weights and activations: the paper's six calibrations, then all others that `rows` have."""
    calibrations = [("max", None, ""), ("entropy", None, ""), *(("percentile", value, "") for value in PERCENTILES)]
    others = {
        (row.calib or "", row.percentile, row.calib_parameters or "")
        for row in rows
        if _int8(row) and not any(_calibrated(row, *calibration) for calibration in calibrations)
    }
    calibrations += sorted(others, key=lambda other: (other[0], other[1] or 0, other[2]))
    return tuple(
        Slot(
            " ".join(filter(None, (name if value is None else f"{value:.10g}", parameters))),
            name if value is None else f"p{value:.10g}",
            partial(_calibrated, name=name, percentile=value, parameters=parameters),
        )
        for name, value, parameters in calibrations
    )


def _plain(row: Row) -> bool:
    """Int8 weights by the paper's scheme, by calibration alone, every layer and nothing else quantized, simulated."""
    return (
        row.weight_bits == 8
        and row.mapping == "scale"
        and not row.skip_layers
        and not row.residual_adds
        and row.gelu_bound is None
        and row.method in (None, "ptq")
        and row.backend in (None, "simulate")
    )


def _weights_only(row: Row, granularity: str, fold_bn: bool) -> bool:
    return (
        _plain(row)
        and row.activation_bits is None
        and row.weight_granularity == granularity
        and bool(row.fold_bn) == fold_bn
    )


def _int8(row: Row) -> bool:
    return _plain(row) and row.activation_bits == 8 and row.weight_granularity == "per_channel" and not row.fold_bn


def _calibrated(row: Row, name: str, percentile: float | None, parameters: str = "") -> bool:
    if not _int8(row) or row.calib != name or (row.calib_parameters or "") != parameters:
        return False
    if percentile is None or row.percentile is None:
        return row.percentile is percentile
    return math.isclose(row.percentile, percentile, rel_tol=1e-12)
