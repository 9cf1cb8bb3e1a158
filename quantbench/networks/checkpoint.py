"""Reads weights from files and puts them into modules. No file can run code."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import torch
from torch import Tensor, nn

from quantbench.errors import UserError

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""The folder of the checkpoints that are shipped with the package."""

NESTS = ("state_dict", "model")
"""Where training programs keep the state dict inside a checkpoint."""

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_NAMED = 3  # keys that a message names before it only counts

Module = TypeVar("Module", bound=nn.Module)


def seeded(builder: Callable[[], Module], seed: int) -> Module:
    """The module that `builder` makes, its random weights decided by `seed`; torch's own generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return builder()


def restore(
    module: nn.Module,
    weights: str,
    *,
    seed: int,
    checkpoint: Callable[[], tuple[Path, str | None]] | None = None,
    known_as: str = "",
    rename: Callable[[str], str] = str,
) -> str:
    """Put `weights` into a module that `seeded` made, and set it to eval mode; gives what identifies them.

    `weights` is `random` (the module stays as it is), the name `known_as` (the file that `checkpoint` gives, with its
    sha256 in hex or None), or the path of a file. `rename` maps the keys of the file `known_as` to the module's; a
    file whose keys are the module's already is loaded as it is. Raises UserError if the weights cannot be used.
    """
    module.eval()
    if weights == "random":
        return f"random:{seed}"
    path, sha256 = checkpoint() if checkpoint is not None and weights == known_as else (_path(weights, known_as), None)
    state, found = read(path, sha256)
    if not state.keys() <= module.state_dict().keys():
        state = {rename(key): tensor for key, tensor in state.items()}
    load_into(module, state, path)
    return f"sha256:{found}"


def shipped(name: str, folder: Path = WEIGHTS) -> tuple[Path, str]:
    """The file of the weights that come with the package, and its sha256 in hex. Raises UserError if there is none."""
    path = folder / f"{name}.safetensors"
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return path, str(record["sha256"])
    except FileNotFoundError as error:
        raise UserError(f"no weights of {name} are shipped: give model.weights=FILE or model.weights=random") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path.with_suffix('.json')} is damaged ({error!r}); install quantbench anew") from error


def read(path: Path, sha256: str | None = None, nests: Sequence[str] = NESTS) -> tuple[dict[str, Tensor], str]:
    """The state dict in a .safetensors, .pth, .pt or .bin file, on the CPU, and the sha256 of the file in hex.

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
    return tensors(_parse(path), path, nests), found


def load_into(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict that must fit the module exactly; UserError naming the first keys that do not."""
    own = module.state_dict()
    # Files from before torch 0.4.1 lack these counters, which nothing in eval mode reads.
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    differing = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    other_types = [
        f"{key} {state[key].dtype}".replace("torch.", "")
        for key in own
        if key in state and not _is_same_kind(state[key].dtype, own[key].dtype)
    ]
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:_NAMED])}{', ...' if len(keys) > _NAMED else ''})"
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", differing),
            ("of another type", other_types),
        )
        if keys
    ]
    if problems:
        raise UserError(f"{path} does not fit the network: {'; '.join(problems)} of {len(own)} tensors")
    check_finite(state, path)
    module.load_state_dict(state, strict=False)


def check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Raises UserError if a weight is NaN or infinite: a network with such a weight has no answer to measure."""
    held = {key: tensor for key, tensor in state.items() if tensor.is_floating_point() and not tensor.is_meta}
    broken = [key for key, tensor in held.items() if not tensor.isfinite().all()]
    if broken:
        raise UserError(f"{path} holds NaN or infinity in {len(broken)} tensors, first in {broken[0]}: get it anew")


def _is_same_kind(found: torch.dtype, own: torch.dtype) -> bool:
    """Whether numbers of a file can stand for those of a network: no codes of a quantized one, without their scale."""
    return found in FLOATS if own.is_floating_point else not found.is_complex


def _path(weights: str, known_as: str) -> Path:
    path = Path(weights).expanduser()
    if not path.is_file():
        known = f"{known_as}, " if known_as else ""
        raise UserError(f"model.weights={weights}: no such file; it must be {known}random or the path of a checkpoint")
    return path


def _parse(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
            raise UserError(f"{path} is damaged ({one_line(error)}); get it anew") from error
    if path.suffix not in {".pth", ".pt", ".bin"}:
        raise UserError(f"{path} must be a .safetensors, .pth, .pt or .bin file")
    return unpickled(path, path)


def unpickled(source: Path | IO[bytes], path: Path) -> Any:
    """What torch.save wrote to `source`, which is `path` or a part of it. Raises UserError, as `read` does."""
    check_stored(source, path)
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is damaged or holds more than tensors, which could run code: it was not loaded; "
            "save its state dict as .safetensors"
        ) from error
    except Exception as error:  # what torch.load raises on damage depends on the byte that is damaged
        raise UserError(f"{path} is damaged ({one_line(error)}); get it anew") from error


def check_stored(source: Path | IO[bytes], path: Path) -> None:
    """Raises UserError if `source` is a zip archive that torch.save cannot have written: its members are as they are.

    One that is compressed may unpack to a thousand times its size.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        members = []  # no zip archive: an older form, or damaged, which torch says
    if not isinstance(source, Path):
        source.seek(0)
    for member in members:
        if (
            member.compress_type != zipfile.ZIP_STORED
            or member.flag_bits & 1
            or member.file_size > member.compress_size
        ):
            raise UserError(
                f"{path} is no file of torch.save: its member {member.filename!r} is compressed or encrypted; "
                "save its state dict as .safetensors"
            )
    if len({member.filename for member in members}) < len(members):
        raise UserError(f"{path} is no file of torch.save: two of its members have one name")


def tensors(state: Any, path: Path, nests: Sequence[str] = NESTS) -> dict[str, Tensor]:
    """The state dict in what a file holds. Raises UserError if there is none, or anything but tensors in it."""
    for nest in nests:
        if isinstance(state, Mapping) and isinstance(state.get(nest), Mapping):
            state = state[nest]
    if not isinstance(state, Mapping) or not state:
        raise UserError(f"{path} holds no state dict")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise UserError(f"{path} holds no state dict: {_said(key)} is a {type(value).__name__}, not a tensor")
        if problem := _unusable(value):
            raise UserError(f"{path}: {_said(key)} {problem}; save plain tensors in it")
    return dict(state)


def _unusable(tensor: Tensor) -> str:
    """Why a tensor is none that a network can be given; empty if it is one."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested or tensor.device.type != "cpu":
        return f"is no plain tensor ({tensor.layout}, {tensor.dtype}, {tensor.device.type})"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"of shape {tuple(tensor.shape)} has only {tensor.untyped_storage().nbytes():,} bytes in the file"
    return ""


def _said(key: Any) -> str:
    return repr(key)[:100] if isinstance(key, str) else f"a {type(key).__name__} as name"


def one_line(error: Exception) -> str:
    """What an error says, in one line that is not long."""
    return " ".join(str(error).split())[:200] or type(error).__name__
