"""The columns of the paper's tables 3 to 5: which rows of the results belong into which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial

from quantbench.report.networks import Matches
from quantbench.results.record import Row
from quantbench.sweep.groups import defaults

Calibration = tuple[str, float | None, str]  # calibrator, its percentile, its options if it has none

PERCENTILES = (99.9, 99.99, 99.999, 99.9999)


@dataclass(frozen=True)
class Column:
    """A column: its title, its name in the published figures, and which rows belong into it."""

    title: str
    published: str
    matches: Matches


def table3_columns() -> tuple[Column, ...]:
    """Int8 weights only, per channel and per tensor, without and with BN folding."""
    return tuple(
        Column(
            f"{granularity.replace('_', ' ')}{' + BN folded' if fold_bn else ''}",
            f"{granularity}{'_fold_bn' if fold_bn else ''}",
            partial(_weights_only, granularity=granularity, fold_bn=fold_bn),
        )
        for granularity in ("per_channel", "per_tensor")
        for fold_bn in (False, True)
    )


def table4_columns() -> tuple[Column, ...]:
    """Int8 weights only, per channel."""
    return (Column("int8", "int8_weights", partial(_weights_only, granularity="per_channel", fold_bn=False)),)


def table5_columns(rows: Iterable[Row]) -> tuple[Column, ...]:
    """Int8 weights and activations: the paper's six calibrations, then all others that `rows` have."""
    calibrations = [("max", None, ""), ("entropy", None, ""), *(("percentile", value, "") for value in PERCENTILES)]
    others = {_calibration(row) for row in rows if _int8(row)} - set(calibrations)
    calibrations += sorted(others, key=lambda other: (other[0], other[1] or 0, other[2]))
    return tuple(
        Column(
            " ".join(filter(None, (name if value is None else f"{value:.10g}", options))),
            name if value is None else f"p{value:.10g}",
            partial(_calibrated, calibration=(name, value, options)),
        )
        for name, value, options in calibrations
    )


@cache
def _usual() -> dict[str, str]:
    """The choices that are made where nothing is said: those of the paper's tables 3 to 5."""
    return defaults()


def _plain(row: Row) -> bool:
    """Int8 weights by the paper's scheme, by the usual method and backend, every layer and nothing else quantized."""
    return (
        row.weight_bits == 8
        and row.mapping == "scale"
        and not row.skip_layers
        and not row.residual_adds
        and row.gelu_bound is None
        and row.method in (None, _usual()["method"])
        and row.backend in (None, _usual()["backend"])
        and not (row.method_options or row.backend_options)
    )


def _weights_only(row: Row, granularity: str, fold_bn: bool) -> bool:
    return (
        _plain(row) and row.activation_bits is None and row.granularity == granularity and bool(row.fold_bn) == fold_bn
    )


def _int8(row: Row) -> bool:
    return _plain(row) and row.activation_bits == 8 and row.granularity == "per_channel" and not row.fold_bn


def _calibrated(row: Row, calibration: Calibration) -> bool:
    return _int8(row) and _calibration(row) == calibration


def _calibration(row: Row) -> Calibration:
    """A percentile is a number; of another calibrator the options stand as they are."""
    percentile = row.percentile
    return row.calib or "", percentile, "" if percentile is not None else row.calib_options or ""
