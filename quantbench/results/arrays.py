"""Arrays on disk: files of safetensors, whose metadata say what they are of and that they are whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from quantbench.results.files import write_bytes

Arrays = dict[str, NDArray[Any]]

SUFFIX = ".safetensors"
KEY, DIGEST = "key", "sha256"  # in the metadata: the stem of the file's name, and a digest of all arrays


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays into a file of safetensors, whole or not at all; texts, which it has no type for, as metadata.

    Raises:
        Unwritable: it cannot be written.
    """
    texts = {name: json.dumps(array.tolist()) for name, array in arrays.items() if array.dtype.kind == "U"}
    # Its writer takes the memory of an array as it lies, whatever its strides.
    numbers = {name: np.asarray(array, order="C") for name, array in arrays.items() if name not in texts}
    write_bytes(path, save(numbers, {**texts, KEY: path.stem, DIGEST: _digest(arrays)}))


def read_arrays(path: Path, names: tuple[str, ...]) -> Arrays | None:
    """The arrays called `names`, which are all of a file; None where it is missing, damaged or has another's key."""
    try:
        with safe_open(path, framework="numpy") as kept:
            metadata = kept.metadata()
            numbers = set(kept.keys())
            arrays = {
                name: kept.get_tensor(name) if name in numbers else np.array(json.loads(metadata[name]))
                for name in names
            }
        # safetensors finds a file that was cut off; a bit that flipped in a value, only a digest does.
        whole = metadata[KEY] == path.stem and metadata[DIGEST] == _digest(arrays)
    except Exception:  # what a damaged file raises depends on the byte that is damaged
        return None
    return arrays if whole else None


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f" {name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
