"""Names of operations and operands that do not depend on the way that control flow takes through a module.

An operation without a module of its own is known by the place in the code that calls it, so that a loop is one layer
and a branch that is not taken moves no other name. Places are numbered as they are first met, and the numbers stay with
the module: its copies, and every pass over it, use the same.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from torch import nn

_ATTRIBUTE = "_quantbench_names"
_CALL, _FILE = nn.Module._call_impl.__code__, nn.Module._call_impl.__code__.co_filename


@dataclass
class Names:
    """What is known of a module's operations. All of it is text, so that it can be kept on disk.

    `places` are the places of each kind of operation below each module, `identities` the operands met at each site, an
    activation's being "". `values` tells what else went into a computed weight. In `varying` are the sites where a
    computed operand differed between inputs: there, all computed ones are the activation.
    """

    places: dict[str, list[str]] = field(default_factory=dict)
    identities: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    varying: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, module: nn.Module) -> Names:
        """The names that stay with `module`."""
        names: Names = module.__dict__.setdefault(_ATTRIBUTE, cls())
        return names

    def keep(self, module: nn.Module) -> None:
        """Make these the names of `module`."""
        module.__dict__[_ATTRIBUTE] = self

    def number(self, kind: str, place: str) -> int:
        """The number of a place among those of `kind`."""
        return _index(self.places.setdefault(kind, []), place)

    def site(self, base: str, identity: str) -> str:
        """The name of an operand: `base`, or `base[1]` and so on where others were met there before."""
        number = _index(self.identities.setdefault(base, []), identity)
        return f"{base}[{number}]" if number else base

    def is_steady(self, base: str, identity: str, value: str) -> bool:
        """Whether a computed weight is at this site what it was before."""
        return self.values.setdefault(f"{base} {identity}", value) == value

    def vary(self, base: str) -> None:
        """Take what is computed at this site for an activation from now on."""
        if base not in self.varying:
            self.varying.add(base)
            known = self.identities.get(base, [])
            known[:] = [identity for identity in known if not is_computed(identity)]


def is_computed(identity: str) -> bool:
    """Whether an operand is a weight that is computed of others."""
    return identity.startswith("=")


def _index(known: list[str], item: str) -> int:
    try:
        return known.index(item)
    except ValueError:
        known.append(item)
        return len(known) - 1


class Places:
    """Finds the place in a module's own code that runs an operation."""

    def __init__(self, passed_over: str, handler: CodeType) -> None:
        """Code of the file `passed_over` is no place, nor what `handler` of it calls: they stand between."""
        self._passed_over, self._handler = passed_over, handler
        self._known: dict[tuple[Any, ...], tuple[str, list[CodeType]]] = {}

    def here(self, module: nn.Module) -> str:
        """The place that is running now, within the forward of `module`."""
        codes: list[CodeType] = []
        offsets: list[int] = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            code = frame.f_code
            if code.co_filename == _FILE:
                if code is _CALL and frame.f_locals.get("self") is module:
                    break
            elif code is self._handler:
                codes.clear()
                offsets.clear()
            elif code.co_filename != self._passed_over:
                codes.append(code)
                offsets.append(frame.f_lasti)
            frame = frame.f_back
        key = (*map(id, codes), *offsets)
        if key not in self._known:
            steps = (f"{c.co_qualname}:{c.co_firstlineno}+{at}" for c, at in zip(codes, offsets, strict=True))
            self._known[key] = ">".join(steps), codes  # which are kept, so that no id comes twice
        return self._known[key][0]
