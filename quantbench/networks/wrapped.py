"""Takes from a state dict what wrappers and training programs put around the keys of a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from quantbench.console import say
from quantbench.errors import UserError

WRAPPERS = ("module", "_orig_mod")
"""What DataParallel and torch.compile call the module inside of them, at any place of a key."""

_AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|avg|shadow)([._]|$)")
_COUNTER = "n_averaged"  # of torch's AveragedModel, beside the module in it
_NAMED = 3  # keys that a message names before it only counts


def is_averaged(name: str) -> bool:
    """Whether a name in a checkpoint is that of weights averaged over the steps of training."""
    return _AVERAGED.search(name.lower()) is not None


def one_of(names: Sequence[str], path: Path) -> str:
    """The name of the raw weights among those of complete networks in a file; of averaged ones where these are alone.

    Which is taken where both are there is said. Raises UserError where names do not tell which to take.
    """
    raw = [name for name in names if not is_averaged(name)]
    if len(raw or names) > 1:
        listed = " and ".join(repr(name) for name in raw or names)
        raise UserError(f"{path} holds several networks, {listed}: save the weights of one of them alone")
    taken, averaged = (raw or names)[0], [name for name in names if is_averaged(name)]
    if raw and averaged:
        said = f"the weights {_quoted(raw)} are taken, not their averages {_quoted(averaged)}"
        say(f"{path}: {said}; to measure these, save them alone")
    elif averaged:
        say(f"{path}: the averaged weights {_quoted(averaged)} are taken, there are no others")
    return taken


def unwrapped(
    state: Mapping[str, Tensor],
    own: Collection[str],
    needed: Collection[str],
    path: Path,
    rename: Callable[[str], str] = str,
) -> dict[str, Tensor]:
    """The tensors of a network with the keys `own`, by these keys; all of `needed` are among them.

    What wrappers and a prefix add to the keys is taken off, which is said, with what is left out then. `rename` is
    tried where keys fit in no other way. As it was where the network is not in it as a whole. Raises UserError where it
    holds several such networks and names do not tell which to take.
    """
    if state.keys() <= set(own) or not needed:
        return dict(state)
    wrappers = [wrapper for wrapper in WRAPPERS if not any(wrapper in key.split(".") for key in own)]
    for named in (str, rename):
        bare = {named(_without(key, wrappers)): key for key in state}
        first = next(iter(needed))
        prefixes = [key[: -len(first)] for key in bare if key == first or key.endswith(f".{first}")]
        prefixes = [prefix for prefix in prefixes if all(prefix + key in bare for key in needed)]
        if len(bare) == len(state) and prefixes:
            break
    else:
        return dict(state)
    prefix = one_of(prefixes, path)
    # What else stands within the network stays, to be refused; only another whole network is left out.
    others = tuple(other for other in prefixes if other != prefix and other.startswith(prefix))
    within = [key for key in bare if key.startswith(prefix) and not (others and key.startswith(others))]
    taken = {key.removeprefix(prefix): bare[key] for key in within if key != _COUNTER}
    off = {_off(old, key) for key, old in taken.items()} - {""} if named is str else {prefix} - {""}
    _say_taken(path, sorted(off), [*state.keys() - taken.values()])
    return {key: state[old] for key, old in taken.items()}


def _say_taken(path: Path, off: list[str], left: list[str]) -> None:
    said = [f"{_quoted(off)} is taken off its keys"] if off else []
    if left:
        said.append(f"{len(left)} other tensors are left out ({_listed(sorted(left))})")
    if said:
        say(f"{path}: {', '.join(said)}")


def _without(key: str, wrappers: Collection[str]) -> str:
    return ".".join(part for part in key.split(".") if part not in wrappers)


def _off(old: str, new: str) -> str:
    """What a key has lost; empty where it was renamed, or nothing was taken off."""
    if old.endswith(new):
        return old.removesuffix(new)
    return next((f"{wrapper}." for wrapper in WRAPPERS if f"{wrapper}." in old), "")


def _quoted(names: Sequence[str]) -> str:
    return _listed([f"'{name}'" for name in names])


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:_NAMED], *(["..."] if len(names) > _NAMED else [])])
