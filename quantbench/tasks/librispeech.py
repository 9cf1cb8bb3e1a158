"""LibriSpeech (Panayotov et al. 2015): read English. test-clean is evaluated, dev-clean calibrates."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from quantbench.assets.huggingface import Absent, folder_of
from quantbench.errors import UserError
from quantbench.tasks.audio import read_sound
from quantbench.tasks.metrics.transcription import LETTER_ACCURACY, WORD_ACCURACY, texts_alike, written_alike
from quantbench.tasks.sampling import draw
from quantbench.tasks.task import Sample, Task

HUB = "openslr/librispeech_asr"
TEST, DEV = "test-clean", "dev-clean"
DEV_UTTERANCES = 2703
_PARQUET = {TEST: "clean/test/*.parquet", DEV: "clean/validation/*.parquet"}
_LAYOUT = f"expected are FOLDER/{TEST}/SPEAKER/CHAPTER/*.flac with *.trans.txt, and the same of {DEV}"


def load(
    *, calibration_samples: int = DEV_UTTERANCES, seed: int = 0, path: str | os.PathLike[str] | None = None
) -> Task:
    """The task: the utterances of test-clean, calibrated by those of dev-clean, of which `seed` draws a part.

    `path` is the folder LibriSpeech, one above it, or test-clean itself with dev-clean beside it. Without `path` the
    data come through the hub, from its cache or downloaded.

    A sample reads as mono sound at 16 kHz, float32 [samples], its target is the transcript; an answer is a text. Raises
    UserError if the data cannot be had, or an utterance lacks its sound or its transcript; sound is decoded only when
    it is read.
    """
    found = _from_hub() if path is None else _from_folder(Path(path).expanduser())
    chosen = draw(len(found[DEV]), calibration_samples, seed, f"utterances of {DEV}")
    return Task(
        name="librispeech",
        metrics=(WORD_ACCURACY, LETTER_ACCURACY),
        calibration=[found[DEV][i] for i in chosen],
        evaluation=found[TEST],
        predict=texts_alike,
    )


def _from_folder(path: Path) -> dict[str, list[Sample]]:
    root = path.parent if path.name in (TEST, DEV) else path
    if (root / "LibriSpeech").is_dir():
        root = root / "LibriSpeech"
    for split in (TEST, DEV):
        if not (root / split).is_dir():
            raise UserError(f"there is no folder {root / split}: give task.path=FOLDER; {_LAYOUT}")
    return {split: _utterances(root / split) for split in (TEST, DEV)}


def _utterances(split: Path) -> list[Sample]:
    """The samples of a split, by speaker, chapter and number. Raises UserError if sound or text is missing of one."""
    sounds = {file.stem: file for file in split.glob("*/*/*.flac")}
    texts = dict(_transcripts(split))
    if not sounds and not texts:
        raise UserError(f"{split} holds no utterances; {_LAYOUT}")
    if silent := sorted(texts.keys() - sounds.keys()):
        raise UserError(f"{len(silent)} utterances of {split} have no sound, first {silent[0]}.flac: get it anew")
    if untold := sorted(sounds.keys() - texts.keys()):
        raise UserError(f"{len(untold)} utterances have no transcript, first {sounds[untold[0]]}: get {split} anew")
    return [_sample(sounds[name], texts[name], name) for name in sorted(texts, key=_by_number)]


def _transcripts(split: Path) -> Iterator[tuple[str, str]]:
    """Id and transcript of every utterance. Raises UserError if a file is damaged or a transcript is empty."""
    for file in sorted(split.glob("*/*/*.trans.txt")):
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read ({error}): get it anew") from error
        for line in filter(str.strip, lines):
            name, _, text = line.partition(" ")
            _check(text, f"{file}: {name or 'an utterance'}")
            yield name, text


def _sample(file: Path, text: str, name: str) -> Sample:
    found = file.stat()
    return Sample(name, partial(read_sound, file, str(file)), text, f"{found.st_size}-{found.st_mtime_ns}")


def _by_number(name: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in name.split("-")]


def _check(text: str, where: str) -> None:
    if not written_alike(text):
        raise UserError(f"{where} has an empty transcript: mend it, or remove it and its sound")


def _from_hub() -> dict[str, list[Sample]]:
    from datasets import Audio, load_dataset

    try:
        folder = folder_of(HUB, tuple(_PARQUET.values()), _holds_both, "dataset")
    except Absent as error:
        raise UserError(
            f"the task librispeech needs the data set {HUB}, which is not in the hub's cache and cannot be downloaded "
            f"({error}): give task.path=FOLDER, where {TEST}.tar.gz and {DEV}.tar.gz of openslr.org/12 were unpacked"
        ) from error
    splits = load_dataset("parquet", data_files={split[:-6]: str(folder / files) for split, files in _PARQUET.items()})
    splits = splits.cast_column("audio", Audio(decode=False))
    return {split: _rows(splits[split[:-6]]) for split in _PARQUET}


def _holds_both(folder: Path) -> bool:
    return all(any(folder.glob(files)) for files in _PARQUET.values())


def _rows(split: Any) -> list[Sample]:
    samples = []
    for i, (name, text) in enumerate(zip(split["id"], split["text"], strict=True)):
        _check(text, f"{HUB}: {name}")
        samples.append(Sample(name, partial(_read_row, split, i, name), text))
    return samples


def _read_row(split: Any, row: int, name: str) -> Any:
    audio: Mapping[str, bytes] = split[row]["audio"]
    return read_sound(audio["bytes"], f"{name} of {HUB}")
