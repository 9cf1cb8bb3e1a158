"""A cell: network x task x scheme x method x backend x seed, everything that decides a row of results."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from quantbench import backends, lookup, methods, networks, tasks
from quantbench.errors import Mismatch, UserError
from quantbench.quant.calibrators import CALIBRATORS, Calibrator
from quantbench.quant.histogram import equal_bins
from quantbench.results.record import SCHEMA, fingerprint
from quantbench.sweep.settings import Settings

GRANULARITIES = ("per_channel", "per_tensor")
Group = Mapping[str, Any]
"""A composed config group: the name of the choice and all of its options, which are all in the cell's key."""


@dataclass(frozen=True)
class Cell:
    """One row of results before it is measured.

    `calib` is None, and `activation_bits` too, where activations stay in float; `residual_adds` is False then.
    """

    suite: str
    model: Group
    task: Group
    calib: Group | None
    granularity: str
    method: Group
    backend: Group
    weight_bits: int
    activation_bits: int | None
    mapping: str
    fold_bn: bool
    skip_layers: tuple[str, ...]
    residual_adds: bool
    gelu_bound: float | None
    seed: int
    limit: int | None
    batch_size: int
    device: str

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name the cell's files, of all that decides its figures: the suite does not."""
        decisive = {"schema": SCHEMA, **asdict(self), "task": dict(self.task)}
        del decisive["suite"]
        # Where activations stay in float, our own methods, networks and tasks do not look at calibration samples.
        if self.activation_bits is None and not any(lookup.TARGET in g for g in (self.model, self.task, self.method)):
            decisive["task"].pop("calibration_samples", None)
            if self.model.get("weights") != "random":
                del decisive["seed"]
        return fingerprint(decisive)

    @property
    def sites(self) -> tuple[bool, bool, float | None]:
        """What decides the layers, their sites and the histograms: fold_bn, residual_adds and gelu_bound."""
        return self.fold_bn, self.residual_adds, self.gelu_bound

    @property
    def shared(self) -> str:
        """What the cells have in common that share a loaded network, its data and its float passes, as JSON."""
        keys = ("model", "task", "seed", "limit", "batch_size", "device")
        return json.dumps({key: getattr(self, key) for key in keys}, sort_keys=True)


def cell_from_settings(settings: Settings, cuda_available: bool) -> Cell:
    """The cell that the settings describe.

    Raises:
        Mismatch: the network knows other classes than the task asks for.
        UserError: a choice has no such option, or a value that it cannot take.
    """
    _check_labels(settings.model, settings.task)
    if settings.granularity["name"] not in GRANULARITIES or len(settings.granularity) > 1:
        raise UserError(f"granularity={settings.granularity['name']}: must be one of {', '.join(GRANULARITIES)}, alone")
    samples = settings.task.get("calibration_samples", 1)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise UserError(f"task.calibration_samples={samples}: must be an integer of at least 1")
    return Cell(
        suite=str(settings.suite["name"]),
        model=networks.identity(settings.model),
        task=tasks.identity(settings.task),
        calib=_calib(settings.calib) if settings.activations else None,
        granularity=str(settings.granularity["name"]),
        method=_checked(settings.method, "method", methods.find(settings.method), 1),
        backend=_checked(settings.backend, "backend", backends.find(settings.backend), 2),
        weight_bits=settings.weight_bits,
        activation_bits=settings.activation_bits if settings.activations else None,
        mapping=settings.mapping,
        fold_bn=settings.fold_bn,
        skip_layers=tuple(sorted(set(settings.skip_layers))),
        residual_adds=settings.residual_adds and settings.activations,
        gelu_bound=settings.gelu_bound,
        seed=settings.seed,
        limit=settings.limit,
        batch_size=settings.batch_size,
        device=_device(settings.device, cuda_available),
    )


def calibrator(calib: Group | None) -> Calibrator:
    """The calibrator of a cell with its options bound; activations that stay in float never call it."""
    if calib is None:
        return CALIBRATORS["max"]
    return partial(_calibrator(calib), **lookup.options_of(calib))


def _calibrator(calib: Group) -> Calibrator:
    if lookup.TARGET in calib:
        return lookup.find("", "", calib)
    if calib["name"] not in CALIBRATORS:
        raise UserError(f"calib={calib['name']}: must be one of {', '.join(CALIBRATORS)}, or have a {lookup.TARGET}")
    return CALIBRATORS[calib["name"]]


def _calib(calib: Group) -> Group:
    """The calibrator's group, tried on a histogram of one value, so that a bad option is known before any pass."""
    function = _calibrator(calib)
    calib = _checked(calib, "calib", function, 2)
    usual = inspect.signature(function).parameters
    calib = {key: float(v) if key in usual and _is_float(usual[key], v) else v for key, v in calib.items()}
    try:
        calibrator(calib)(equal_bins(np.ones(1, np.int64), 1.0, 0.0, 1.0), 8)
    except Exception as error:  # a function of anybody's
        raise UserError(f"calib={calib['name']}: {error or type(error).__name__}") from error
    return calib


def _is_float(parameter: inspect.Parameter, value: Any) -> bool:
    """Whether a number is meant as a float: 100 and 100.0 are one percentile."""
    return isinstance(parameter.default, float) and isinstance(value, int) and not isinstance(value, bool)


def _checked(group: Group, what: str, function: Any, given: int) -> Group:
    lookup.check_options(function, f"{what}={group['name']}", lookup.options_of(group), given)
    return lookup.identified(group)


def _check_labels(model: Group, task: Group) -> None:
    answers, asked = model.get("labels"), task.get("labels")
    if answers is not None and asked is not None and answers != asked:
        raise Mismatch(
            f"model={model['name']} with task={task['name']}: the network knows the classes of {answers}, the task "
            f"asks for those of {asked}"
        )


def _device(device: str, cuda_available: bool) -> str:
    if device == "cuda" and not cuda_available:
        raise UserError("device=cuda: torch sees no CUDA device here; use device=auto or device=cpu")
    return ("cuda" if cuda_available else "cpu") if device == "auto" else device
