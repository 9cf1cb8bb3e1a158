"""Arrays that are expensive to compute, kept on disk under the fingerprint of all that decides them."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.assets import cache_folder
from quantbench.errors import UserError
from quantbench.results.files import Unwritable, remove_leftovers, write_bytes

LARGEST = 1 << 30  # bytes of an array: the outputs of ImageNet's 50,000 photos are 0.2 GB

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

Arrays = dict[str, NDArray[Any]]

SEAL = "seal"  # the array that says what the others are: a digest of their names, types, shapes, values and the key

# What computes the kept values. Another version of any of these files makes its own values.
SOURCES = ("quant", "networks", "tasks", "run", "results/histograms.py")


def recall(kind: str, key: str, names: tuple[str, ...], make: Callable[[], Arrays]) -> tuple[Arrays, bool]:
    """The arrays called `names` kept as `kind` under `key`, and True; or what `make` gives, which is kept, and False.

    A damaged file counts as none. Where the cache cannot be written nothing is kept.
    """
    try:
        path = cache_folder() / kind / f"{key}.npz"
    except UserError:  # the user has no home, hence no cache
        return make(), False
    found = read_arrays(path, names)
    if found is not None:
        return found, True
    arrays = make()
    if all(array.nbytes <= LARGEST for array in arrays.values()):  # others would not be read either
        with suppress(Unwritable):
            write_arrays(path, arrays)
            remove_leftovers(path.parent)
    return arrays, False


@cache
def code_version() -> str:
    """A fingerprint of the source files whose change could change a kept value."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for source in SOURCES:
        files = [package / source] if source.endswith(".py") else sorted((package / source).rglob("*.py"))
        for file in files:
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write an .npz file, whole or not at all, sealed under the stem of its name.

    Raises:
        Unwritable: it cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays, **{SEAL: np.array(_seal(path.stem, arrays))})
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path, names: tuple[str, ...], largest: int = LARGEST, *, sealed: bool = True) -> Arrays | None:
    """The arrays called `names`, which are all of an .npz file; None where it is missing or damaged. It runs no code.

    A file counts as damaged where an array is larger than `largest` bytes, or where its seal is not that of its arrays
    and of its name; unless it must be `sealed`, one without a seal does not.
    """
    try:
        _check_sizes(path, names, largest)
        with np.load(path, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in names}
            if SEAL in kept or sealed:
                return arrays if str(kept[SEAL]) == _seal(path.stem, arrays) else None
            return arrays
    except Exception:  # what a damaged file raises depends on the byte that is damaged
        return None


def _check_sizes(path: Path, names: tuple[str, ...], largest: int) -> None:
    """Refuse arrays larger than any that is kept, or than what lies in the file: numpy would make room for them."""
    with zipfile.ZipFile(path) as archive:
        sealed = [SEAL] if f"{SEAL}.npy" in archive.namelist() else []
        for name in (*names, *sealed):
            size = archive.getinfo(f"{name}.npy").file_size
            with archive.open(f"{name}.npy") as stream:
                read = HEADERS[np.lib.format.read_magic(stream)]
                shape, _, dtype = read(stream)
            if size > largest or math.prod(shape) * dtype.itemsize > size:
                raise ValueError(f"{name} is too large")


def _seal(key: str, arrays: Arrays) -> str:
    digest = hashlib.sha256(key.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f" {name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
