"""The whole way from a folder of LibriSpeech to a row, with real speech and a real network."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import soundfile
from jiwer import process_words

from quantbench.cli import main as cli
from quantbench.run import reference
from quantbench.tasks.amazon_queen import clips as talkie

SPOKEN, CALIBRATING = 12, 6
FASTER = 22_050  # Hz, of one of the files


def write(folder, split, clips):
    """The clips as LibriSpeech has them: flac of 16 bits, and the texts of a chapter in capitals."""
    for i, clip in enumerate(clips):
        speaker, chapter = 100 + i % 3, 7
        place = folder / "LibriSpeech" / split / str(speaker) / str(chapter)
        place.mkdir(parents=True, exist_ok=True)
        name = f"{speaker}-{chapter}-{i:04}"
        soundfile.write(place / f"{name}.flac", np.clip(clip.sound(), -1, 1), 16_000, subtype="PCM_16")
        with (place / f"{speaker}-{chapter}.trans.txt").open("a") as transcripts:
            transcripts.write(f"{name} {clip.text.upper()}\n")


@pytest.fixture(scope="module")
def clips():
    return {part: talkie.split(part)[:count] for part, count in (("test", SPOKEN), ("held_out", CALIBRATING))}


@pytest.fixture
def folder(tmp_path, monkeypatch, clips):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    write(tmp_path, "test-clean", clips["test"])
    write(tmp_path, "dev-clean", clips["held_out"])
    monkeypatch.setattr(talkie, "fetch", lambda name: pytest.fail(f"asked for {name}"))
    reference.forget()
    yield tmp_path / "LibriSpeech"
    reference.forget()


def run(*more):
    common = ["model=jasper_mini", "task=librispeech", "task.path=LibriSpeech", "results_dir=out"]
    return cli.main(["run", *common, f"task.calibration_samples={CALIBRATING}", *more])


def lines(file):
    with open(file) as source:
        return list(csv.DictReader(source))


def test_a_row_and_what_was_heard(folder, clips):
    assert run("calib=percentile", "calib.percentile=99.99") == 0
    (row,) = lines("out/results.csv")
    assert (row["task"], row["metric"], row["secondary_metric"], row["samples"]) == (
        "librispeech",
        "wacc",
        "cacc",
        "12",
    )
    heard = lines(f"out/cells/{row['cell']}.samples.csv")
    said = {line["sample"]: line["target"].lower() for line in heard}
    assert sorted(said.values()) == sorted(clip.text for clip in clips["test"])
    for execution in ("fp32", "quantized"):
        found = process_words([*said.values()], [line[f"{execution}_prediction"] for line in heard])
        errors = found.substitutions + found.deletions + found.insertions
        words = found.substitutions + found.deletions + found.hits
        assert float(row[execution]) == pytest.approx(100 - 100 * errors / words)
    assert float(row["change_low"]) <= float(row["change"]) <= float(row["change_high"])
    assert float(row["secondary_fp32"]) > 30 and float(row["sqnr_db"]) > 10


def test_another_rate_is_said_once(folder, capsys):
    first, second = sorted(folder.glob("test-clean/*/*/*.flac"))[:2]
    for file in (first, second):
        sound, _ = soundfile.read(file)
        soundfile.write(
            file, np.interp(np.arange(0, len(sound), 16_000 / FASTER), np.arange(len(sound)), sound), FASTER
        )
    assert run() == 0
    assert capsys.readouterr().err.count(f"sound at {FASTER} Hz is resampled to 16000 Hz") == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda flac, texts: flac.write_bytes(flac.read_bytes()[:100]), r"\.flac cannot be decoded"),
        (lambda flac, texts: flac.unlink(), r"1 utterances of .*test-clean have no sound, first 100-7-0000\.flac"),
        (lambda flac, texts: texts.unlink(), r"4 utterances have no transcript, first .*100-7-0000\.flac"),
        (lambda flac, texts: texts.write_text("100-7-0000 \n"), r"100-7-0000 has an empty transcript: mend it"),
        (lambda flac, texts: soundfile.write(flac, np.zeros(0), 16_000), r"\.flac cannot be decoded"),
        (lambda flac, texts: soundfile.write(flac, np.zeros(1), 16_000), None),  # one sample is one frame
    ],
)
def test_what_is_broken_is_one_line_or_harmless(folder, capsys, spoil, message):
    place = folder / "test-clean" / "100" / "7"
    spoil(place / "100-7-0000.flac", place / "100-7.trans.txt")
    assert run() == (2 if message else 0)
    errors = capsys.readouterr().err
    if message:
        assert re.search(message, errors) and "Traceback" not in errors
