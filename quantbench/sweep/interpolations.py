"""Bounds what the interpolations of a configuration come to.

OmegaConf resolves an interpolation anew wherever it is met: thirty keys, each of which is twice the next, are a billion
look-ups. No configuration needs many, so their number is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from quantbench.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

MOST = 12  # twice six: each pair can double what the one before comes to
MOST_HYDRA = 40  # in Hydra's part, which has some eight of its own and no lists of values


def check_interpolations(config: DictConfig) -> None:
    """Raises UserError if a configuration has too many interpolations or, outside of Hydra's part, one without end.

    Those of what Hydra knows only once a job begins are not resolved.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    ours = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    for part, where, most in ((ours, "in a configuration", MOST), (config.hydra, "below hydra", MOST_HYDRA)):
        if (count := _count(OmegaConf.to_container(part, resolve=False))) > most:
            raise UserError(f"{count} interpolations: at most {most} {where}; write out the values")
    try:
        OmegaConf.to_container(ours, resolve=True)
    except RecursionError:
        raise UserError("an interpolation comes back to itself, or leads through too many others") from None
    except OmegaConfBaseException as error:
        if "HydraConfig was not set" not in str(error):
            raise UserError(f"an interpolation cannot be resolved ({' '.join(str(error).split())})") from error


def _count(node: Any) -> int:
    if isinstance(node, Mapping):
        return sum(_count(key) + _count(child) for key, child in node.items())
    if isinstance(node, list):
        return sum(_count(child) for child in node)
    return node.count("${") if isinstance(node, str) else 0
