"""Whether the classes that a network's outputs stand for are those that a task asks for, and in which order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torchvision

from quantbench.assets.imagenet import wnids, words
from quantbench.errors import UserError
from quantbench.networks.network import Network
from quantbench.tasks.task import Task

_NAMED = 6  # classes that a message names before it only counts
_LONGEST = 40  # letters of a class in a message


@dataclass(frozen=True)
class Match:
    """How outputs become answers. `order[k]` is the output for answer k; None where they are in order as they are.

    The classes of the task come first; outputs for none of them follow, and an answer of theirs is a wrong one.
    `remark` says in a sentence what was found; empty where there is nothing to say.
    """

    order: tuple[int, ...] | None = None
    remark: str = ""


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The classes of ImageNet, in order, each by all its names: "n01440764, tench, Tinca tinca".

    These are its identifier, torchvision's name, and the words of WordNet.
    """
    shown = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    return tuple(f"{wnid}, {name}, {words()[wnid]}" for wnid, name in zip(wnids(), shown, strict=True))


def known_classes(names: Sequence[str]) -> Sequence[str]:
    """Names of classes; those that are identifiers of ImageNet's, or torchvision's names, with all names of each.

    They are so where all are in such a list, or all of the list is among them, as beside a class for background.
    """
    standard = imagenet_classes()
    for column in (0, 1):
        places = {one.split(", ", 2)[column]: place for place, one in enumerate(standard)}
        if set(names) <= places.keys() or places.keys() <= set(names):
            return [standard[places[name]] if name in places else name for name in names]
    return names


def match(network: Network, task: Task) -> Match:
    """Compare the classes of a network with those of a task, by name where both have names, else by number.

    Case, and what is neither letter nor digit, make no other name; commas separate the names of one class. Names such
    as LABEL_0, or the class's own number, are none. Raises UserError where the classes do not fit; the message names
    both sides.
    """
    if task.classes is None or network.outputs is None:
        return Match()
    count, asked, answered = network.outputs, task.classes, network.classes
    if answered is None:
        return _by_number(network, task, None)
    if len(answered) != count:
        raise UserError(f"{network.name} has {count} outputs, but names {len(answered)} classes: {_shown(answered)}")
    order = _by_name(answered, asked) or _by_name(known_classes(answered), known_classes(asked))
    if not order and all(map(_is_generic, answered, range(count))):
        return _by_number(network, task, None)
    order = order or _by_index(asked, count)
    if not order:
        return _by_number(network, task, answered)
    if order == list(range(count)) and count == len(asked):
        return Match()
    rest = [output for output in range(count) if output not in set(order)]
    remark = f"{network.name} has the classes of {task.name} in another order: its outputs are reordered by name"
    if rest:
        others = _shown([answered[output] for output in rest])
        remark = (
            f"{network.name} has the {len(order)} classes of {task.name} among its {count}, found by name; an answer "
            f"of another one ({others}) counts as wrong"
        )
    return Match((*order, *rest), remark)


def check_width(network: Network, task: Task, width: tuple[int, ...]) -> None:
    """Raises UserError where outputs of shape [n, *width], which are the answers themselves, are no such class logits.

    That is for what a network does not say of itself, or says wrongly.
    """
    if task.classes is None or network.decode is not None:
        return
    shape = " x ".join(map(str, width)) or "no"
    if network.outputs is not None and width != (network.outputs,):
        raise UserError(f"{network.name} says that it has {network.outputs} outputs, but has {shape}")
    if network.outputs is None and width != (len(task.classes),):
        raise UserError(
            f"{network.name} has {shape} outputs without names, the task {task.name} {len(task.classes)} classes "
            f"({_shown(task.classes)}): they do not fit. Choose another task or network"
        )


def _by_number(network: Network, task: Task, answered: Sequence[str] | None) -> Match:
    """What follows where names say nothing: as many outputs as classes are taken in order."""
    assert task.classes is not None
    asked, count = task.classes, network.outputs
    if answered is None and count == len(asked):
        in_order = sorted(asked, key=_as_number) if all(name.isdecimal() for name in asked) else asked
        if list(in_order) != list(asked):
            return Match(None, f"{task.name}: classes are the ranks of their names as text: {_shown(asked)}")
        return Match()
    said = f"{network.name} has {count} outputs ({'without names' if answered is None else _shown(answered)})"
    extra = " One output more may be a class for background: nothing says which." if count == len(asked) + 1 else ""
    remedy = "" if answered is None else ", or correct what the network calls them (id2label in its config.json)"
    raise UserError(
        f"{said}, the task {task.name} {len(asked)} classes ({_shown(asked)}): they do not fit.{extra} Choose another "
        f"task or network{remedy}"
    )


def _by_name(answered: Sequence[str], asked: Sequence[str]) -> list[int]:
    """The output of each class that is asked for; empty where names do not tell exactly one for each."""
    # As they are written, which tells the dog Cardigan from a cardigan; then by what is alike; then one by one.
    ways: tuple[Callable[[str], list[str]], ...] = (lambda name: [name], lambda name: [_plain(name)], _parts)
    outputs: list[dict[str, set[int]]] = [{} for _ in ways]
    for output, name in enumerate(answered):
        for way, known in zip(ways, outputs, strict=True):
            for spelling in way(name):
                known.setdefault(spelling, set()).add(output)
    order: list[int] = []
    for name in asked:
        found: set[int] = set()
        for way, known in zip(ways, outputs, strict=True):
            found = found or set().union(*(known.get(spelling, set()) for spelling in way(name)))
        if len(found) != 1:
            return []
        order += found
    return order if len(set(order)) == len(order) else []


def _by_index(asked: Sequence[str], count: int) -> list[int]:
    """The classes as indices of outputs, where they are called 0 to count - 1; else empty."""
    if not all(name.isdecimal() and name.isascii() for name in asked):
        return []
    indices = [int(name) for name in asked]
    return indices if sorted(indices) == list(range(count)) else []


def _is_generic(name: str, output: int) -> bool:
    """Whether a name says no more than the number of its output."""
    return re.fullmatch(rf"(label|class)?[ _-]?{output}", name.strip(), re.IGNORECASE) is not None


def _as_number(name: str) -> int:
    return int(name)


def _plain(name: str) -> str:
    """A name without case, and with one blank for all that is neither letter nor digit."""
    return " ".join(re.findall(r"\w+", name.casefold().replace("_", " ")))


def _parts(name: str) -> list[str]:
    return [plain for part in name.split(",") if (plain := _plain(part))]


def _shown(names: Sequence[str]) -> str:
    """The first names, shortened."""
    short = [name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..." for name in names[:_NAMED]]
    return ", ".join([*short, *(["..."] if len(names) > _NAMED else [])])
