"""Arrays that are expensive to compute, kept on disk under the fingerprint of all that decides them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from quantbench.assets import cache_folder
from quantbench.errors import UserError
from quantbench.results.arrays import SUFFIX, read_arrays, write_arrays
from quantbench.results.arrays import Arrays as Arrays
from quantbench.results.files import Unwritable, remove_leftovers

LARGEST = 1 << 30  # bytes of an array that is kept: the outputs of ImageNet's 50,000 photos are 0.2 GB


def recall(kind: str, key: str, names: tuple[str, ...], make: Callable[[], Arrays]) -> tuple[Arrays, bool]:
    """The arrays called `names` kept as `kind` under `key`, and True; or what `make` gives, which is kept, and False.

    A damaged file counts as none. Where the cache cannot be written nothing is kept.
    """
    try:
        path = cache_folder() / kind / f"{key}{SUFFIX}"
    except UserError:  # the user has no home, hence no cache
        return make(), False
    found = read_arrays(path, names)
    if found is not None:
        return found, True
    arrays = make()
    if all(array.nbytes <= LARGEST for array in arrays.values()):
        with suppress(Unwritable):
            write_arrays(path, arrays)
            remove_leftovers(path.parent)
    return arrays, False
