"""Modules under test with their preprocessing: one loader a source, called by its `family` or by a dotted path.

A family is a module of this room with a function `load(*, name, weights, seed, **options) -> Network`. Where that is
not all that identifies a network, it also has `identity(options)`, which completes the options. Neither needs torch to
be imported before a network is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbench import lookup
from quantbench.assets.content import content_sha256
from quantbench.networks.shipped import shipped

if TYPE_CHECKING:
    from quantbench.networks.network import Network

__all__ = ["identity", "load"]

_NO_OPTIONS = ("family", "labels", lookup.TARGET, lookup.SHA256)


def load(config: Mapping[str, Any]) -> Network:
    """The network of the loader that `config["_target_"]` or `config["family"]` names, called with the other keys.

    `_target_` is the dotted path of a function of one's own, such as `my_module.load`. `labels` and what `identity`
    adds are no options. Raises UserError if there is no such loader, if it has no such option, or if the weights cannot
    be had.
    """
    from quantbench.networks.huggingface.attention import visible_attention
    from quantbench.networks.random_weights import settle_batch_norm

    loader = lookup.find(__name__, "load", config, named="family")
    options = {str(key): value for key, value in config.items() if key not in _NO_OPTIONS}
    lookup.check_options(loader, f"model={config.get('name')}", options)
    network: Network = loader(**options)
    visible_attention(network.module)
    if network.weights.startswith("random:"):
        settle_batch_norm(network.module, network.example, int(options.get("seed", 0)))
    return network


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a network from all others: `config` without its labels, and what identifies the files that it names.

    Paths become absolute. `sha256` is there where weights are shipped or are a file, where the loader is a function of
    one's own (of the file that it is in), and where the family's own `identity` gives one. Imports no torch for the
    families of this room. Raises UserError if a file cannot be read.
    """
    options = {str(key): value for key, value in config.items() if key != "labels"}
    found, weights = list[str](), options.get("weights")
    if weights == "shipped":
        found.append(shipped(str(options.get("arch") or options["name"]))[1])
    elif weights is not None and (path := Path(str(weights)).expanduser()).is_file():
        options["weights"] = str(path.absolute())
        found.append(content_sha256(path))
    return lookup.identified(options, __name__, "load", "family", found)
