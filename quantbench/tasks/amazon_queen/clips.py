"""Acted English speech with its text, out of the adventure game "Flight of the Amazon Queen" (1995).

The clips are split once, by speaker and by text: no speaker and no text of the test or of the held-out clips is trained
on. `split.txt` is that split, drawn by scripts/split_talkie.py. A speaker is a character of the game; who of the
actors lent the voice to more than one of them is not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantbench.assets import fetch
from quantbench.tasks.amazon_queen.archive import HERO, read_members, spoken_lines
from quantbench.tasks.audio import read_sound

RATE = 11_025
SPLITS = ("train", "held_out", "test")
SPLIT_FILE = Path(__file__).with_name("split.txt")

# Talk keys of dialogues whose other person says nothing in English: an ape, a dog, someone gagged, and twice pygmies.
_NO_ENGLISH = ("03", "14", "79", "19", "78")
_NO_SPEAKERS = ("wedge",)  # a parrot
_MARKUP = re.compile(r"[<>()]|@@")
_SOUND = re.compile(r".*([a-z])\1\1.*|[^aeiouy]{2,}")  # eeeagh, whoooo; hmph, grrbl
_SPELLED = {
    "19:00": "nineteen hundred",
    "1844": "eighteen forty four",
    "1948": "nineteen forty eight",
    "1940's": "nineteen forties",
    "24": "twenty four",
    "26": "twenty six",
    "2b": "two b",
    "50": "fifty",
    "mr": "mister",
    "mr.": "mister",
    "dr.": "doctor",
    "vs.": "versus",
}


@dataclass(frozen=True)
class Clip:
    """Something that one of the game's characters says: its text in `a-z' ` and the sound as MP3."""

    id: str
    speaker: str
    text: str
    mp3: bytes

    def sound(self) -> NDArray[np.float32]:
        """The sound at 16 kHz, float32 [samples] in -1 .. 1. Raises UserError if it cannot be decoded."""
        return read_sound(self.mp3, f"the clip {self.id}", RATE)


def clips() -> dict[str, Clip]:
    """All clips of English speech by id, in the order of the game's files. Raises UserError if they cannot be had."""
    return dict(_clips(fetch("amazon_queen") / "queen.1c"))


def split(name: str) -> list[Clip]:
    """The clips of one of SPLITS, in the order of the committed list. Raises UserError if they cannot be had."""
    every = clips()
    chosen = [line.split() for line in SPLIT_FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [every[clip] for part, clip in chosen if part == name]


def normalize(text: str) -> str | None:
    """The words of a line in `a-z' `, numbers spelled out; None where it is not plain speech.

    Left out are lines with markup, and with words that are spelled as they sound, such as groans and barks.
    """
    if _MARKUP.search(text):
        return None
    lower = text.lower().replace("^_", " ").replace("-", " ").replace("...", " ")
    words = [_SPELLED.get(word.strip(".,!?\"'") if word not in _SPELLED else word, word) for word in lower.split()]
    plain = [word.strip("'") for word in re.sub(r"[^a-z0-9' ]", " ", " ".join(words)).split()]
    spoken = [word for word in plain if word]
    if not spoken or any(_SOUND.fullmatch(word) or re.search(r"\d", word) for word in spoken):
        return None
    return " ".join(spoken)


@lru_cache(maxsize=1)
def _clips(path: Path) -> Mapping[str, Clip]:
    members = read_members(path)
    found: dict[str, Clip | None] = {}
    for name, speaker, line in spoken_lines(members):
        text = normalize(line)
        if name not in members or text is None or not _is_english(name, speaker):
            continue
        clip = Clip(name.removesuffix(".SB"), speaker, text, members[name])
        # A clip that two different lines claim is of neither for certain.
        found[clip.id] = clip if found.setdefault(clip.id, clip) == clip else None
    return {name: clip for name, clip in found.items() if clip is not None}


def _is_english(name: str, speaker: str) -> bool:
    return speaker not in _NO_SPEAKERS and (speaker == HERO or name[:2] not in _NO_ENGLISH)
