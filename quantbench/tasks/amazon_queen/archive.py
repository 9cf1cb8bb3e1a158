"""Reads queen.1c, the file that holds the adventure game "Flight of the Amazon Queen" (1995), as far as it is spoken.

All numbers are big endian. The file begins with `QTBL`; at byte 13 is the count of its members as u16, then a table
entry for each: name (12 bytes, filled up with NUL), u8, offset u32, size u32. Members that end in .SB are clips (MP3).

A dialogue (.DOG) has 20 bytes that do not matter here, and offsets count from there: i16 levels, key, talk key, count
of Joe's lines, count of the other person's; at 22 and 26 the u16 offsets of the person's lines and of the greetings.
Joe's lines begin at 32 + 96 * |levels|. A line is u16, i16 id, u8 length, text, filled up to a multiple of 4 bytes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from quantbench.errors import UserError

HERO = "joe"
"""Who is spoken for in every dialogue, and speaks the lines outside of them."""

_ENTRY, _TABLE, _NAME = 21, 15, 12
_HEADER, _JOE, _LEVEL = 20, 32, 96  # bytes before what counts, before Joe's lines, for every level of a dialogue
_FIRST_JOE_LINE = 41  # the number of the first line of QUEEN2.JAS in the names of clips
_MARK = re.compile(r"\*(?:\d\d|XY\d\d\(\d+,\d+\)|[A-Z]{2})")  # gestures and places of actors; the text is cut there


class Damaged(UserError):
    """queen.1c is not what it should be."""


def read_members(path: Path) -> dict[str, bytes]:
    """The members of queen.1c by name. Raises Damaged if it is cut off, or is no such file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({error.strerror})") from error
    if content[:4] != b"QTBL" or len(content) < _TABLE:
        raise Damaged(f"{path} is no queen.1c: it does not begin with QTBL")
    (count,) = struct.unpack_from(">H", content, _TABLE - 2)
    if len(content) < _TABLE + count * _ENTRY:
        raise Damaged(f"{path} is damaged: it ends within its table of {count} members; fetch it anew")
    members: dict[str, bytes] = {}
    left = len(content)
    for i in range(count):
        name, _, offset, size = struct.unpack_from(f">{_NAME}sBII", content, _TABLE + i * _ENTRY)
        known = name.split(b"\0")[0].decode("latin-1")
        if offset + size > len(content):
            raise Damaged(f"{path} is damaged: it ends before its member {known!r} does; fetch it anew")
        left -= size
        if left < 0:
            raise Damaged(f"{path} is damaged: its members are larger than itself; fetch it anew")
        members[known] = content[offset : offset + size]
    return members


def spoken_lines(members: dict[str, bytes]) -> Iterator[tuple[str, str, str]]:
    """Name of the clip, speaker and text of everything that is said, whether there is such a clip or not.

    The speaker is the name of the dialogue in lower case, less its number: dialogues of one person are told apart by
    it. Raises Damaged if a dialogue is.
    """
    for name in sorted(name for name in members if name.endswith(".DOG")):
        try:
            yield from _dialogue(members[name], re.sub(r"\d*\.DOG$", "", name).lower())
        except (struct.error, IndexError) as error:
            raise Damaged(f"the dialogue {name} of queen.1c is damaged; fetch it anew") from error
    lines = members.get("QUEEN2.JAS", b"").decode("latin-1").splitlines()
    for number, line in enumerate(lines, _FIRST_JOE_LINE):
        yield from _parts(f"JOE{number:04d}", HERO, line)


def _dialogue(content: bytes, speaker: str) -> Iterator[tuple[str, str, str]]:
    levels, _, key, joes, persons = struct.unpack_from(">5h", content, _HEADER)
    (person_at,) = struct.unpack_from(">H", content, _HEADER + 22)
    (greetings_at,) = struct.unpack_from(">H", content, _HEADER + 26)
    for block, at, count, who in (("J", _JOE + _LEVEL * abs(levels), joes, HERO), ("P", person_at, persons, speaker)):
        lines = _lines(content, _HEADER + at, count)
        for position, (number, text) in enumerate(lines):
            if position:
                yield from _parts(f"{key:02d}{number:04X}{block}", who, text)
            else:  # what Joe says first: on meeting the person, and on meeting it again
                yield from _parts(f"{key:02d}{'SSSS' if block == 'J' else 'XXXX'}J", HERO, text)
    greeting, _ = _text(content, _HEADER + greetings_at)
    yield from _parts(f"{key:02d}XXXXP", speaker, greeting)


def _lines(content: bytes, at: int, count: int) -> list[tuple[int, str]]:
    """Ids, from 0 to 65535, and texts."""
    lines = []
    for _ in range(count):
        (number,) = struct.unpack_from(">H", content, at + 2)
        text, at = _text(content, at + 4)
        at += -at % 4
        lines.append((number, text))
    return lines


def _text(content: bytes, at: int) -> tuple[str, int]:
    """A text behind its length, and where it ends."""
    end = at + 1 + content[at]
    if end > len(content):
        raise IndexError
    return content[at + 1 : end].decode("latin-1"), end


def _parts(stem: str, speaker: str, line: str) -> Iterator[tuple[str, str, str]]:
    """The parts between the marks of a line, which are clips of their own; empty ones count but are not spoken."""
    for number, part in enumerate(_MARK.split(line), 1):
        if part.strip() and number < 16:
            yield f"{stem}{number:X}.SB", speaker, part.strip()
