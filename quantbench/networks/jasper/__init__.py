"""Jasper and QuartzNet, with the features that they hear and the readers of their checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantbench.networks.network import Network


def load(*, name: str, weights: str | None = "shipped", seed: int = 0, arch: str | None = None) -> Network:
    """See `network.load`."""
    from quantbench.networks.jasper import network

    return network.load(name=name, weights=weights, seed=seed, arch=arch)
