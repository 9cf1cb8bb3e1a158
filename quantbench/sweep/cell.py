"""The cell: network x task x scheme x method x seed, everything that decides a row of results."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantbench.assets.content import content_sha256
from quantbench.assets.huggingface import text_files, weight_files
from quantbench.errors import Mismatch, UserError
from quantbench.networks.checkpoint import shipped
from quantbench.quant.calibrators import CALIBRATORS
from quantbench.results.record import SCHEMA, fingerprint
from quantbench.tasks import squad

GRANULARITIES = ("per_channel", "per_tensor")
MAPPINGS = ("scale", "affine")
# Options that came after the first records, which did not have them: where they are off, the hash does not know them.
_LATER_OPTIONS = {"residual_adds": False, "gelu_bound": None}
MOST_THREADS = 1024  # more than any machine has; the system ends a program that asks for too many
DEVICES = ("auto", "cpu", "cuda")
METHODS = ("ptq",)
BACKENDS = ("simulate",)


@dataclass(frozen=True)
class Cell:
    """One row of results before it is measured. `model` and `task` are the composed config groups.

    `calib` is the composed calibrator: its name and parameters. It is None, and `activation_bits` too, where
    activations stay in float; `residual_adds` is False then.
    """

    suite: str
    model: Mapping[str, Any]
    task: Mapping[str, Any]
    calib: Mapping[str, Any] | None
    weight_granularity: str
    weight_bits: int
    activation_bits: int | None
    mapping: str
    fold_bn: bool
    skip_layers: tuple[str, ...]
    residual_adds: bool
    gelu_bound: float | None
    method: str
    backend: str
    seed: int
    limit: int | None
    batch_size: int
    device: str

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name the cell's files, of all that decides its figures: the suite does not."""
        decisive = {"schema": SCHEMA, **asdict(self), "task": dict(self.task)}
        del decisive["suite"]
        for option, usual in _LATER_OPTIONS.items():
            if decisive[option] == usual:
                del decisive[option]
        if self.activation_bits is None:
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


def cell_from_config(config: Mapping[str, Any], cuda_available: bool) -> Cell:
    """The cell that a composed config (plain containers) describes.

    Raises:
        UserError: a value is out of range or of the wrong kind; the message names its key.
    """
    activations = _boolean(config, "activations")
    residual_adds = _boolean(config, "residual_adds")
    for group in ("model", "task", "calib", "method", "backend", "suite"):
        if "name" not in config[group]:
            raise UserError(f"{group}.name is missing: write `name: ...` into the file of this {group}")
    if config["model"]["name"] is None:
        raise UserError("model.name is missing: give a hub id, or a folder as save_pretrained writes it")
    _check_labels(config["model"], config["task"])
    _boolean(config, "force")
    _choice(config, "retry", (None, "failed"))
    if config["threads"] is not None:
        _integer(config, "threads", 1, MOST_THREADS)
    return Cell(
        suite=str(config["suite"]["name"]),
        model=_model(config["model"]),
        task=_task(config["task"]),
        calib=_calib(config["calib"]) if activations else None,
        weight_granularity=_choice(config["granularity"], "weight", GRANULARITIES, "granularity.weight"),
        weight_bits=_integer(config, "weight_bits", 2, 8),
        activation_bits=_integer(config, "activation_bits", 2, 8) if activations else None,
        mapping=_choice(config, "mapping", MAPPINGS),
        fold_bn=_boolean(config, "fold_bn"),
        skip_layers=_names(config, "skip_layers"),
        residual_adds=residual_adds and activations,
        gelu_bound=None if config["gelu_bound"] is None else _positive(config, "gelu_bound"),
        method=_choice(config["method"], "name", METHODS, "method"),
        backend=_choice(config["backend"], "name", BACKENDS, "backend"),
        seed=_integer(config, "seed", 0, 2**31 - 1),
        limit=None if config["limit"] is None else _integer(config, "limit", 1, None),
        batch_size=_integer(config, "batch_size", 1, None),
        device=_device(config, cuda_available),
    )


def _check_labels(model: Mapping[str, Any], task: Mapping[str, Any]) -> None:
    answers, asked = model.get("labels"), task.get("labels")
    if answers is not None and asked is not None and answers != asked:
        raise Mismatch(
            f"model={model['name']} with task={task['name']}: the network knows the classes of {answers}, the task "
            f"asks for those of {asked}"
        )


def _model(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The model's group; files of one's own, and what is shipped, are named by their content too.

    So others make another cell.
    """
    model = {key: value for key, value in model.items() if key != "labels"}
    if model.get("weights") == "shipped":
        _, checksum = shipped(str(model.get("arch") or model["name"]))
        return {**model, "sha256": checksum}
    files: list[Path] = []
    if (folder := _network_folder(model)) is not None:
        model["path"] = str(folder.absolute())
        files += [*text_files(folder), *(weight_files(folder) if model.get("weights") == "hub" else [])]
    if (path := Path(str(model.get("weights"))).expanduser()).is_file():
        model["weights"] = str(path.absolute())
        files.append(path)
    return {**model, "sha256": content_sha256(*files)} if files else model


def _network_folder(model: Mapping[str, Any]) -> Path | None:
    """The folder that replaces the hub: model.path, or what is called as a network of the hub would be."""
    if model.get("family") not in ("language", "speech") or model.get("asset") is not None:
        return None
    folder = Path(str(model.get("path") or model.get("hub") or model["name"])).expanduser()
    return folder if folder.is_dir() else None


def _task(task: Mapping[str, Any]) -> Mapping[str, Any]:
    """The task's group; data are named by their absolute path: `path`, or its sub-folder with the task's name.

    The files of squad are named by their content too.
    """
    checked = {key: value for key, value in task.items() if key != "labels"}
    if "calibration_samples" in task:
        _integer({"task.calibration_samples": task["calibration_samples"]}, "task.calibration_samples", 1, None)
    if task.get("path") is not None:
        path = Path(str(task["path"])).expanduser().absolute()
        named = path / str(task["name"])
        path = named if named.is_dir() else path
        checked["path"] = str(path)
        if task["name"] == "squad" and (files := squad.files(path)):
            checked["sha256"] = content_sha256(*files)
    return checked


def _integer(config: Mapping[str, Any], key: str, low: int, high: int | None) -> int:
    value = config[key]
    wanted = f"an integer from {low} to {high}" if high is not None else f"an integer of at least {low}"
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        raise UserError(f"{key}={value}: must be {wanted}")
    return value


def _boolean(config: Mapping[str, Any], key: str) -> bool:
    value = config[key]
    if not isinstance(value, bool):
        raise UserError(f"{key}={value}: must be true or false")
    return value


def _positive(config: Mapping[str, Any], key: str) -> float:
    value = config[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UserError(f"{key}={value}: must be a number above 0")
    return float(value)


def _choice(config: Mapping[str, Any], key: str, choices: tuple[str | None, ...], shown: str | None = None) -> str:
    value = config.get(key)
    if value not in choices:
        raise UserError(f"{shown or key}={value}: must be one of {', '.join(choice or 'null' for choice in choices)}")
    return str(value)


def _calib(calib: Mapping[str, Any]) -> Mapping[str, Any]:
    name = _choice(calib, "name", tuple(CALIBRATORS), "calib")
    known = list(inspect.signature(CALIBRATORS[name]).parameters)[2:]
    if unknown := sorted(set(calib) - {"name", *known}):
        raise UserError(
            f"calib.{unknown[0]}: calib={name} has {'only ' + ', '.join(known) if known else 'no parameter'}"
        )
    if name != "percentile":
        return dict(calib)
    value = calib.get("percentile")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 100:
        raise UserError(f"calib.percentile={value}: must be a number above 0 and at most 100")
    return {**calib, "percentile": float(value)}


def _names(config: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = config[key]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise UserError(f"{key}={value}: must be a list of layer names, such as '{key}=[conv1,fc]'")
    return tuple(sorted(set(value)))


def _device(config: Mapping[str, Any], cuda_available: bool) -> str:
    device = _choice(config, "device", DEVICES)
    if device == "cuda" and not cuda_available:
        raise UserError("device=cuda: torch sees no CUDA device here; use device=auto or device=cpu")
    return ("cuda" if cuda_available else "cpu") if device == "auto" else device
