"""The speech of "Flight of the Amazon Queen": what is said, by whom, and the split."""

import io
from collections import Counter

import numpy as np
import pytest
import soundfile

from quantbench.assets import fetch
from quantbench.errors import UserError
from quantbench.tasks.amazon_queen import clips as talkie
from quantbench.tasks.amazon_queen.archive import read_members, spoken_lines


@pytest.fixture(scope="module")
def every():
    return talkie.clips()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("Hi, I'm Joe King, pilot for hire!", "hi i'm joe king pilot for hire"),
        ("I'll see you're okay", "i'll see you're okay"),  # no vowel in the ll: speech all the same
        ('He said "Stickin\' it"...and left', "he said stickin it and left"),
        ("Tell me about the Super Soldier Treatment^_.", "tell me about the super soldier treatment"),
        ("Mary-Lou co-owns it", "mary lou co owns it"),
        ('But the sign says "24 Hours"!', "but the sign says twenty four hours"),
        ("He discovered the island in 1844.", "he discovered the island in eighteen forty four"),
        ("This is the 1940's.", "this is the nineteen forties"),
        ("at 19:00 Hours", "at nineteen hundred hours"),
        ("2B or not 2B", "two b or not two b"),
        ("Well, Mr. King, ask Dr. Ironstein", "well mister king ask doctor ironstein"),
        ('"Commander Rocket vs. The Mob".', "commander rocket versus the mob"),
        ("in 1999", None),
        ("<gulp>", None),
        ("(sigh)", None),
        ("@@ She's beautiful! @@", None),
        ("Hmph, John put you up to this", None),
        ("Eeeeagh!", None),
        ("Mmmmrft, grrblt.", None),
        ("...", None),
    ],
)
def test_texts_are_plain_words_or_none(line, text):
    assert talkie.normalize(line) == text


def test_the_game_has_4504_spoken_lines_and_most_are_english(every):
    members = read_members(fetch("amazon_queen") / "queen.1c")
    assert len({name for name, _, _ in spoken_lines(members) if name in members}) == 4504
    assert len(every) == 4351
    speakers = Counter(clip.speaker for clip in every.values())
    assert len(speakers) == 28 and speakers["joe"] == 1873 and speakers["bob"] == 215
    assert set("".join(clip.text for clip in every.values())) == set("abcdefghijklmnopqrstuvwxyz' ")
    assert every["020006J1"].text == "at least i don't look like i need to wear one"


def test_no_ape_dog_parrot_or_gagged_mouth_speaks(every):
    assert not {"dog", "wedge"} & {clip.speaker for clip in every.values()}
    assert {name[:2] for name, clip in every.items() if clip.speaker == "ape"} == {"04", "05"}
    assert not [name for name in every if name[:2] in ("03", "79", "19", "78") and "P" in name]
    assert "290020J1" not in every  # two different lines are said to be this clip


def test_sound_is_16_khz(every):
    clip = every["67SSSSJ2"]
    raw, rate = soundfile.read(io.BytesIO(clip.mp3))
    sound = clip.sound()
    assert rate == 11025 and sound.dtype == np.float32 and sound.ndim == 1
    assert len(sound) == -(-len(raw) * 640 // 441)
    assert 0.1 < np.abs(sound).max() <= 1.5
    # what the resampling may add above the half of 11.025 kHz is nothing
    power = np.abs(np.fft.rfft(sound)) ** 2
    above = np.fft.rfftfreq(len(sound), 1 / 16000) > 5600
    assert power[above].sum() < 1e-3 * power.sum()


def test_a_clip_that_is_no_mp3_names_itself():
    with pytest.raises(UserError, match="the clip 02X cannot be decoded"):
        talkie.Clip("02X", "joe", "nothing", b"nothing").sound()


def test_nothing_is_said_of_the_rate_that_the_clips_are_known_to_have(every, capsys):
    every["67SSSSJ2"].sound()
    assert capsys.readouterr().err == ""


def test_the_split_shares_neither_speakers_nor_texts(every):
    parts = {part: talkie.split(part) for part in talkie.SPLITS}
    assert {part: len(clips) for part, clips in parts.items()} == {"train": 3596, "held_out": 213, "test": 384}
    assert {clip.speaker for clip in parts["test"]} == {"chief", "henry", "zombie", "frank", "lola"}
    assert {clip.speaker for clip in parts["held_out"]} == {"sec", "klunk", "and"}
    for one, other in (("train", "test"), ("train", "held_out"), ("held_out", "test")):
        for what in ("id", "speaker", "text"):
            assert not {getattr(c, what) for c in parts[one]} & {getattr(c, what) for c in parts[other]}
    assert "joe" in {clip.speaker for clip in parts["train"]}
