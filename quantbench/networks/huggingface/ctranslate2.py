"""Reads the model.bin of CTranslate2 (https://github.com/OpenNMT/CTranslate2), version 6 of its format.

All numbers are little endian; a string is u16 length, then as many bytes, the last of them NUL. The file: u32 version,
string name of the specification, u32 its revision, u32 count of variables, each as string name, u8 rank, u32
dimensions, u8 type, u32 bytes, data; then u32 count of aliases, each as string alias, string name. Nothing of it is
executed.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from quantbench.errors import UserError

VERSION = 6
_TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16)
_MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Model:
    """The content of a file: what network it is of, and its tensors by name, in the types of the file.

    An alias is a further name of the same tensor.
    """

    specification: str
    variables: dict[str, Tensor]


def read(path: Path) -> Model:
    """The content of a model.bin. Raises UserError if it cannot be read, is damaged, or of another version."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"the weights {path} cannot be read ({error.strerror})") from error
    try:
        return _parse(_Cursor(content))
    except _Damage as error:
        raise UserError(f"{path} is damaged or not in CTranslate2's format ({error}); get it anew") from None


class _Damage(Exception):
    """The content is not what the format says."""


class _Cursor:
    """A place in the content that moves on as it is read, and never past the end."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def take(self, count: int) -> memoryview:
        end = self._at + count
        if end > len(self._content):
            raise _Damage(f"it ends {end - len(self._content)} bytes early")
        taken = memoryview(self._content)[self._at : end]
        self._at = end
        return taken

    def number(self, code: str) -> int:
        (value,) = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))
        return int(value)

    def string(self) -> str:
        raw = bytes(self.take(self.number("H")))
        if not raw.endswith(b"\0"):
            raise _Damage("a name does not end in NUL")
        try:
            return raw[:-1].decode()
        except UnicodeDecodeError as error:
            raise _Damage("a name is no UTF-8") from error

    def check_at_end(self) -> None:
        if left := len(self._content) - self._at:
            raise _Damage(f"{left} bytes follow its end")


def _parse(cursor: _Cursor) -> Model:
    version = cursor.number("I")
    if version != VERSION:
        raise _Damage(f"its version is {version}, not {VERSION}")
    specification, _ = cursor.string(), cursor.number("I")
    variables: dict[str, Tensor] = {}
    for _ in range(cursor.number("I")):  # a count that is too large ends at the end of the content
        name = cursor.string()
        if name in variables:
            raise _Damage(f"{name} occurs twice")
        variables[name] = _tensor(cursor, name)
    for _ in range(cursor.number("I")):
        alias, name = cursor.string(), cursor.string()
        if name not in variables or alias in variables:
            raise _Damage(f"{alias} cannot be another name of {name}")
        variables[alias] = variables[name]
    cursor.check_at_end()
    return Model(specification, variables)


def _tensor(cursor: _Cursor, name: str) -> Tensor:
    rank = cursor.number("B")
    if rank > _MOST_DIMENSIONS:
        raise _Damage(f"{name} has {rank} dimensions")
    shape = [cursor.number("I") for _ in range(rank)]
    kind, size = cursor.number("B"), cursor.number("I")
    if kind >= len(_TYPES):
        raise _Damage(f"{name} is of the unknown type {kind}")
    dtype = _TYPES[kind]
    if size != math.prod(shape) * dtype.itemsize:
        raise _Damage(f"{name} of shape {tuple(shape)} has {size} bytes")
    data = bytearray(cursor.take(size))  # a copy, which may be written to and lies at an address fit for any type
    try:
        return torch.frombuffer(data, dtype=dtype).reshape(shape) if size else torch.empty(shape, dtype=dtype)
    except RuntimeError:  # torch takes no dimensions whose product is above 2^63, not even beside a 0
        raise _Damage(f"{name} has the shape {tuple(shape)}") from None
