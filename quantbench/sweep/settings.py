"""The typed configuration: which keys there are, of which type, and in which range."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from quantbench.errors import UserError

NAME = "settings"  # in the defaults of conf/config.yaml
MAPPINGS = ("scale", "affine")
DEVICES = ("auto", "cpu", "cuda")
REUSE = ("same", "any")
MOST_THREADS = 1024  # more than any machine has; the system ends a program that asks for too many


@dataclass
class Settings:
    """The composed configuration. conf/config.yaml has the values, OmegaConf checks the types, this the ranges.

    Raises:
        UserError: a value is out of range; the message names its key.
    """

    model: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    calib: dict[str, Any] = field(default_factory=dict)
    granularity: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
    backend: dict[str, Any] = field(default_factory=dict)
    suite: dict[str, Any] = field(default_factory=dict)
    weight_bits: int = 8
    activation_bits: int = 8
    mapping: str = "scale"
    fold_bn: bool = False
    activations: bool = True
    residual_adds: bool = False
    gelu_bound: float | None = None
    skip_layers: list[str] = field(default_factory=list)
    limit: int | None = None
    batch_size: int = 64
    seed: int = 0
    device: str = "auto"
    results_dir: str = "quantbench-results"
    force: bool = False
    retry: str | None = None
    reuse: str = "same"
    threads: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        for group in GROUPS:
            if getattr(self, group).get("name") is None:
                raise UserError(f"{group}.name is missing: " + MISSING.get(group, "write `name: ...` into its file"))
        self._between("weight_bits", 2, 8)
        self._between("activation_bits", 2, 8)
        self._between("limit", 1)
        self._between("batch_size", 1)
        self._between("seed", 0, 2**31 - 1)
        self._between("threads", 1, MOST_THREADS)
        self._one_of("mapping", MAPPINGS)
        self._one_of("device", DEVICES)
        self._one_of("retry", (None, "failed"))
        self._one_of("reuse", REUSE)
        if self.gelu_bound is not None and not 0 < self.gelu_bound < math.inf:
            raise UserError(f"gelu_bound={self.gelu_bound}: must be a number above 0")
        if not self.results_dir:
            raise UserError("results_dir=: must be the name of a folder")

    def _between(self, key: str, low: int, high: int | None = None) -> None:
        value = getattr(self, key)
        if value is not None and (value < low or (high is not None and value > high)):
            wanted = f"from {low} to {high}" if high is not None else f"of at least {low}"
            raise UserError(f"{key}={value}: must be an integer {wanted}")

    def _one_of(self, key: str, values: tuple[str | None, ...]) -> None:
        if getattr(self, key) not in values:
            raise UserError(f"{key}={getattr(self, key)}: must be one of {', '.join(v or 'null' for v in values)}")


GROUPS = ("model", "task", "calib", "granularity", "method", "backend", "suite")
MISSING = {"model": "give a hub id, or a folder as save_pretrained writes it"}

ConfigStore.instance().store(NAME, Settings)
