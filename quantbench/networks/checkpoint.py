"""Reads weights from files and puts them into modules. No file can run code."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from quantbench.console import say
from quantbench.errors import UserError, in_one_line
from quantbench.networks.wrapped import is_averaged, one_of, unwrapped

NESTS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network")
"""Where training programs keep the state dict inside a checkpoint."""

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
DATA = (
    "argparse",
    "pathlib",
    "collections",
    "datetime",
    "typing",
    "enum",
    "numpy",
    "omegaconf",
    "_codecs",
    "lightning",
)
"""Libraries whose objects lie beside tensors in checkpoints. Each is read as an Inert one: none of their code runs."""

TYPES = ("int", "float", "bool", "str", "bytes", "list", "tuple", "dict", "set")

_UNSAFE = re.compile(r"GLOBAL ([\w.]+) was not an allowed global")

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_NAMED = 3  # keys that a message names before it only counts
_LONGEST = 200  # letters that a library's message may have in ours


def restore(
    module: nn.Module,
    weights: str,
    *,
    seed: int,
    checkpoint: Callable[[], tuple[Path, str | None]] | None = None,
    known_as: str = "",
    rename: Callable[[str], str] = str,
    optional: tuple[str, ...] = (),
) -> str:
    """Put `weights` into a module that `seeded` made, and set it to eval mode; gives what identifies them.

    `weights` is `random` (the module stays as it is), the name `known_as` (the file that `checkpoint` gives, with its
    sha256 in hex or None), or the path of a file. `rename` maps the keys of the file `known_as` to the module's; a
    file whose keys are the module's already is loaded as it is, and what wrappers put before them is taken off. Keys
    that begin as one of `optional` may be missing: of parts that never run. Raises UserError if the weights
    cannot be used.
    """
    module.eval()
    if weights == "random":
        return f"random:{seed}"
    path, sha256 = checkpoint() if checkpoint is not None and weights == known_as else (_path(weights, known_as), None)
    state, found = read(path, sha256)
    own = module.state_dict().keys()
    needed = [key for key in own if not _may_miss(key, optional)]
    state = unwrapped(state, own, needed, path, rename)
    if not state.keys() <= own:
        state = {rename(key): tensor for key, tensor in state.items()}
    load_into(module, state, path, optional)
    return f"sha256:{found}"


def read(path: Path, sha256: str | None = None, nests: Sequence[str] = NESTS) -> tuple[dict[str, Tensor], str]:
    """The state dict in a file with one of the SUFFIXES, on the CPU, and the sha256 of the file in hex.

    If `sha256` is given (in full or its first digits) the file must have it. Of a checkpoint that holds more than the
    state dict, what is found under the names `nests`, one after the other, is taken. Raises UserError if the file is
    missing, damaged, or a pickle that holds anything but tensors in plain containers.
    """
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"the weights {path} cannot be read ({error.strerror})") from error
    if sha256 is not None and not found.startswith(sha256):
        raise UserError(f"{path} is damaged: its sha256 is {found[:16]}..., not {sha256[:16]}...; get it anew")
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} must be a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")
    return tensors(parsed(path, path), path, nests), found


def parsed(source: Path | IO[bytes], path: Path) -> Any:
    """What safetensors or torch.save wrote to `source`: `path`, or a part of it. Raises UserError, as `read` does."""
    from safetensors.torch import load_file

    try:
        if isinstance(source, Path) and source.suffix == ".safetensors":
            return load_file(source)
        return _unpickled(source)
    except pickle.UnpicklingError as error:
        found = _UNSAFE.search(str(error))
        held = f"holds {found[1]}" if found else "is damaged or holds more than tensors"
        raise UserError(
            f"{path} {held}, which could run code: it was not loaded; save its state dict as .safetensors"
        ) from error
    except Exception as error:  # what is raised on damage depends on the byte that is damaged
        raise damaged(path, error) from error


class Inert:
    """Stands for an object in a checkpoint that is neither tensor nor number: it keeps nothing and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        """Whatever the object is made of."""
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Whatever the object consists of."""


def _inert(name: str) -> Callable[..., Any]:
    """What stands for the class of this dotted name: for a kind of dict a dict, into which torch puts its items."""
    last = name.rpartition(".")[2]
    return type(last, (Inert,), {"__new__": lambda *_, **__: {}} if last.lower().endswith("dict") else {})


def _unpickled(source: Path | IO[bytes]) -> Any:
    """What torch.save wrote, read by torch's reader that runs no code, objects of DATA as Inert ones."""
    inert: dict[str, Callable[..., Any]] = {}
    while True:
        try:
            with torch.serialization.safe_globals([(stand_in, _full(name)) for name, stand_in in inert.items()]):
                return torch.load(source, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            found = _UNSAFE.search(str(error))
            if found is None or found[1] in inert or not _is_data(found[1]):
                raise
            inert[found[1]] = _inert(found[1])
            if not isinstance(source, Path):
                source.seek(0)


def _full(name: str) -> str:
    """The dotted name that the reader asks for: its messages leave out the module builtins."""
    return name if "." in name else f"builtins.{name}"


def _is_data(name: str) -> bool:
    top = name.partition(".")[0]
    return name in TYPES or top in DATA or top.removeprefix("pytorch_").partition("_")[0] in DATA


def tensors(state: Any, path: Path, nests: Sequence[str] = NESTS) -> dict[str, Tensor]:
    """The state dict in what a file holds. Raises UserError if there is none, or anything but tensors in it."""
    for nest in nests:
        if isinstance(state, Mapping) and isinstance(state.get(nest), Mapping):
            if not is_averaged(nest):
                one_of([nest, *_averaged(state)], path)
            elif raw := [name for name in nests if not is_averaged(name) and name in state]:
                say(f"{path}: the averaged weights '{nest}' are taken, not '{raw[0]}'")
            state = state[nest]
    if isinstance(state, Mapping) and (averaged := _averaged(state)):
        state = state[one_of(averaged, path)]
    if not isinstance(state, Mapping) or not state:
        raise UserError(f"{path} holds no state dict")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise UserError(f"{path} holds no state dict: {str(key)[:100]!r} is a {type(value).__name__}, not a tensor")
        if value.layout is not torch.strided or value.device.type != "cpu":
            raise UserError(f"{path}: {key!r} is no plain tensor ({value.layout}, {value.device.type})")
    return dict(state)


def _averaged(state: Mapping[Any, Any]) -> list[str]:
    """Under which names a checkpoint holds averaged weights."""
    return [name for name in state if isinstance(name, str) and is_averaged(name) and isinstance(state[name], Mapping)]


def load_into(module: nn.Module, state: Mapping[str, Tensor], path: Path, optional: tuple[str, ...] = ()) -> None:
    """Load a state dict that must fit the module exactly, but for keys that begin as one of `optional`.

    Raises UserError naming the first keys that do not.
    """
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:_NAMED])}{', ...' if len(keys) > _NAMED else ''})"
        for what, keys in _misfits(module.state_dict(), state, optional)
        if keys
    ]
    if problems:
        total = len(module.state_dict())
        raise UserError(f"{path} does not fit the network: {'; '.join(problems)} of {total} tensors")
    check_finite(state, path)
    # Modules that changed since they were first written ask for the version of their format, which a dict lacks.
    versioned = OrderedDict(state)
    versioned._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]
    module.load_state_dict(versioned, strict=False)


def check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Raises UserError if a weight is NaN or infinite: a network with such a weight has no answer to measure."""
    held = {key: tensor for key, tensor in state.items() if tensor.is_floating_point() and not tensor.is_meta}
    broken = [key for key, tensor in held.items() if not tensor.isfinite().all()]
    if broken:
        raise UserError(f"{path} holds NaN or infinity in {len(broken)} tensors, first in {broken[0]}: get it anew")


def damaged(path: Path, error: Exception) -> UserError:
    """What to say of a file that a library cannot read."""
    return UserError(f"{path} is damaged ({in_one_line(error)[:_LONGEST] or type(error).__name__}); get it anew")


def _may_miss(key: str, optional: tuple[str, ...]) -> bool:
    """Whether a file may lack a key: counters, which torch before 0.4.1 had not and nothing in eval mode reads."""
    return key.endswith("num_batches_tracked") or key.startswith(optional)


def _misfits(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], optional: tuple[str, ...]
) -> Iterator[tuple[str, list[str]]]:
    """In what ways a state dict does not fit, and its keys that do not."""
    both = [key for key in own if key in state]
    yield "missing", [key for key in own if key not in state and not _may_miss(key, optional)]
    yield "unexpected", [key for key in state if key not in own]
    yield (
        "of another shape",
        [
            f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
            for key in both
            if state[key].shape != own[key].shape
        ],
    )
    yield (
        "of another type",
        [
            f"{key} {str(state[key].dtype).removeprefix('torch.')}"
            for key in both
            if not _is_same_kind(state[key].dtype, own[key].dtype)
        ],
    )


def _is_same_kind(found: torch.dtype, own: torch.dtype) -> bool:
    """Whether numbers of a file can stand for those of a network: no codes of a quantized one, without their scale."""
    return found in _FLOATS if own.is_floating_point else not found.is_complex


def _path(weights: str, known_as: str) -> Path:
    path = Path(weights).expanduser()
    if not path.is_file():
        known = f"{known_as}, " if known_as else ""
        raise UserError(f"model.weights={weights}: no such file; it must be {known}random or the path of a checkpoint")
    return path
