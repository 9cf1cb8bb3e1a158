from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from datasets import Audio, Dataset

from quantbench import tasks
from quantbench.assets import huggingface as hub
from quantbench.errors import UserError
from quantbench.tasks import librispeech

SPOKEN = {
    "test-clean": {
        "61-70968-0000": "HE BEGAN",
        "61-70968-0001": "A CONFUSED COMPLAINT",
        "1089-134686-0010": "STUFF IT",
    },
    "dev-clean": {f"84-121123-{i:04}": f"GO {word}" for i, word in enumerate(["", "DO", "NOW", "HERE"]) if word},
}
LENGTHS = {name: 400 + 100 * i for i, name in enumerate(SPOKEN["test-clean"] | SPOKEN["dev-clean"])}


def load(**options):
    return tasks.load({"name": "librispeech", "calibration_samples": 3, "seed": 0, **options})


@pytest.fixture
def folder(tmp_path):
    """LibriSpeech's layout: SPLIT/SPEAKER/CHAPTER/ with a flac an utterance and one file of transcripts."""
    for split, spoken in SPOKEN.items():
        for name, text in spoken.items():
            speaker, chapter, _ = name.split("-")
            place = tmp_path / "LibriSpeech" / split / speaker / chapter
            place.mkdir(parents=True, exist_ok=True)
            soundfile.write(place / f"{name}.flac", tone(name), 16_000)
            with (place / f"{speaker}-{chapter}.trans.txt").open("a") as transcripts:
                transcripts.write(f"{name} {text}\n")
    return tmp_path / "LibriSpeech"


def tone(name: str) -> np.ndarray:
    return np.sin(np.arange(LENGTHS[name]) / 7) / 2


def file_of(folder, name, suffix=".flac"):
    split = next(split for split, spoken in SPOKEN.items() if name in spoken)
    speaker, chapter, _ = name.split("-")
    return (
        folder / split / speaker / chapter / (f"{name}.flac" if suffix == ".flac" else f"{speaker}-{chapter}.trans.txt")
    )


@pytest.mark.parametrize("given", ["", "..", "test-clean", "dev-clean"])
def test_test_clean_is_evaluated_and_dev_clean_calibrates(folder, given):
    task = load(path=folder / given if given != ".." else folder.parent)
    names = ["61-70968-0000", "61-70968-0001", "1089-134686-0010"]  # by the number of the speaker
    assert [sample.id for sample in task.evaluation] == names
    assert [sample.target for sample in task.evaluation] == [SPOKEN["test-clean"][name] for name in names]
    assert {sample.id for sample in task.calibration} == SPOKEN["dev-clean"].keys()
    for sample in (*task.evaluation, *task.calibration):
        sound = sample.read()
        assert sound.dtype == np.float32 and sound.shape == (LENGTHS[sample.id],)
        np.testing.assert_allclose(sound, tone(sample.id), atol=1e-4)
    assert [metric.name for metric in task.metrics] == ["wacc", "cacc"]


def test_a_draw_of_dev_clean_is_by_the_seed(folder):
    drawn = [[s.id for s in load(path=folder, calibration_samples=2, seed=seed).calibration] for seed in range(6)]
    assert drawn[0] == [s.id for s in load(path=folder, calibration_samples=2).calibration]
    assert len({tuple(names) for names in drawn}) > 1 and {len(set(names)) for names in drawn} == {2}
    with pytest.raises(
        UserError, match=r"task\.calibration_samples=4 must be from 1 to 3, the number of utterances of dev"
    ):
        load(path=folder, calibration_samples=4)


def test_another_content_is_another_version(folder):
    before = load(path=folder).evaluation[0]
    soundfile.write(file_of(folder, before.id), tone(before.id)[:-30], 16_000)
    assert load(path=folder).evaluation[0].version != before.version


def test_what_is_missing_is_said_before_anything_is_decoded(folder):
    name = "61-70968-0001"
    with pytest.raises(UserError, match=r"there is no folder .*elsewhere/test-clean: give task\.path=FOLDER; expected"):
        load(path=folder / "elsewhere")
    content = file_of(folder, name).read_bytes()
    file_of(folder, name).unlink()
    with pytest.raises(UserError, match=rf"1 utterances of .*test-clean have no sound, first {name}\.flac"):
        load(path=folder)
    file_of(folder, name).write_bytes(content)
    transcripts = file_of(folder, name, ".txt")
    text = transcripts.read_text()
    for changed, why in (
        (text.replace(f"{name} A CONFUSED COMPLAINT\n", ""), rf"1 utterances have no transcript, first .*{name}\.flac"),
        (text.replace(" A CONFUSED COMPLAINT", ""), rf"61-70968\.trans\.txt: {name} has an empty transcript"),
        (text.replace(" A CONFUSED COMPLAINT", " ..."), rf"61-70968\.trans\.txt: {name} has an empty transcript"),
    ):
        transcripts.write_text(changed)
        with pytest.raises(UserError, match=why):
            load(path=folder)
    transcripts.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"trans\.txt cannot be read"):
        load(path=folder)


def test_a_folder_without_utterances(tmp_path):
    for split in SPOKEN:
        (tmp_path / split).mkdir()
    with pytest.raises(UserError, match="test-clean holds no utterances; expected are"):
        load(path=tmp_path)


def test_sound_that_is_damaged_names_its_file(folder):
    damaged = file_of(folder, "61-70968-0000")
    damaged.write_bytes(damaged.read_bytes()[:20])
    task = load(path=folder)
    with pytest.raises(UserError, match=r"61-70968-0000\.flac cannot be decoded"):
        task.evaluation[0].read()
    soundfile.write(damaged, np.zeros(0), 16_000, format="WAV")
    with pytest.raises(UserError, match=r"61-70968-0000\.flac holds no sound"):
        load(path=folder).evaluation[0].read()


def flac(name: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(name), 16_000, format="FLAC")
    return buffer.getvalue()


def test_the_hubs_copy(tmp_path, monkeypatch):
    for split, part in (("test-clean", "test"), ("dev-clean", "validation")):
        rows = [
            {"id": name, "text": text, "audio": {"bytes": flac(name), "path": f"{name}.flac"}}
            for name, text in SPOKEN[split].items()
        ]
        (tmp_path / "clean" / part).mkdir(parents=True)
        data = Dataset.from_list(rows).cast_column("audio", Audio(decode=False))
        data.to_parquet(tmp_path / "clean" / part / "0000.parquet")
    monkeypatch.setattr(librispeech, "folder_of", lambda *_: tmp_path)
    task = load()
    assert [(s.id, s.target) for s in task.evaluation] == list(SPOKEN["test-clean"].items())
    np.testing.assert_allclose(task.evaluation[1].read(), tone("61-70968-0001"), atol=1e-4)
    assert len(task.calibration) == 3 and task.calibration[0].read().ndim == 1


def test_without_hub_and_path_one_line_says_what_to_give(monkeypatch):
    def absent(*_):
        raise hub.Absent("no network")

    monkeypatch.setattr(librispeech, "folder_of", absent)
    with pytest.raises(UserError, match=r"openslr/librispeech_asr.*no network.*give task\.path=FOLDER") as refusal:
        load()
    assert "\n" not in str(refusal.value)


def test_blank_lines_and_a_byte_order_mark_are_no_utterances(folder):
    before = load(path=folder)
    for file in folder.glob("*/*/*/*.trans.txt"):
        file.write_text("\ufeff" + file.read_text().replace("\n", "\n\n") + "  \n\n", encoding="utf-8")
    after = load(path=folder)
    for split in ("calibration", "evaluation"):
        found = [[(s.id, s.target) for s in getattr(task, split)] for task in (before, after)]
        assert found[0] == found[1]
