"""The networks: builders by family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantbench.errors import UserError
from quantbench.loading import load_from
from quantbench.networks.huggingface.attention import visible_attention
from quantbench.networks.network import Network
from quantbench.networks.random_weights import settle_batch_norm

__all__ = ["FAMILIES", "Network", "load"]

FAMILIES: dict[str, str] = {
    "efficientnet_lite": "quantbench.networks.efficientnet_lite",
    "fashion": "quantbench.networks.fashion",
    "jasper": "quantbench.networks.jasper.network",
    "language": "quantbench.networks.huggingface.text",
    "speech": "quantbench.networks.huggingface.speech_ctc",
    "torchvision": "quantbench.networks.torchvision",
}
"""The module of every family, imported when it is used: its `load(*, name, weights, seed, **options)` -> Network."""


def load(config: Mapping[str, Any]) -> Network:
    """The network `config["name"]` of the family `config["family"]`; the other keys are arguments of its loader.

    Raises UserError if there is no such family, if it has no such option, or if the weights cannot be had.
    """
    options = {str(key): value for key, value in config.items() if key != "labels"}
    family = options.pop("family", None)
    if family not in FAMILIES:
        raise UserError(f"no family {family!r} of networks: there are {', '.join(FAMILIES)}")
    network: Network = load_from(FAMILIES[family], options, f"family {family} of networks")
    visible_attention(network.module)
    if network.weights.startswith("random:"):
        settle_batch_norm(network.module, network.example, int(options.get("seed", 0)))
    return network


def identity(config):
    from pathlib import Path

    from quantbench.assets.content import content_sha256
    from quantbench.networks.checkpoint import shipped

    model = {key: value for key, value in config.items() if key != "labels"}
    if model.get("weights") == "shipped":
        _, checksum = shipped(str(model.get("arch") or model["name"]))
        return {**model, "sha256": checksum}
    return model
