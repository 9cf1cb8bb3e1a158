"""Readers of foreign formats, given files with random damage: a value, or the exception they document; never another.

Each is tried with a few inputs here and with more by `pytest -m slow`, always the same; with as many others as
QUANTBENCH_FUZZ_EXAMPLES says where that is set.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as save_safetensors

from quantbench.assets import File
from quantbench.assets.archives import Unusable, extract
from quantbench.cli import main as cli
from quantbench.errors import UserError
from quantbench.networks import checkpoint
from quantbench.networks.huggingface import ctranslate2
from quantbench.networks.jasper import checkpoint as nvidia_speech
from quantbench.results import store
from quantbench.results.load import load_results
from quantbench.results.record import COLUMNS, Record
from quantbench.run.cache import read_arrays
from quantbench.sweep.compose import compose_checked, parse_arguments
from quantbench.sweep.groups import conf_folder, find_groups
from quantbench.tasks import squad
from quantbench.tasks.amazon_queen import archive as queen
from quantbench.tasks.audio import read_sound
from tests.faults.archive_files import CONTENT, FILE, deb, member, tarred, zipped
from tests.faults.mutations import composing, large, mutated, mutated_text, quick
from tests.shared import ROW
from tests.tasks.amazon_queen.test_archive import ANN
from tests.tasks.amazon_queen.test_archive import archive as queen_file
from tests.tiny_speech import ctranslate2_file

pytestmark = pytest.mark.filterwarnings("ignore")

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(["x", "y"])}
NAMES = {"a.weight": "weight", "b": "bias"}
TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(3, dtype=torch.int64)}


def saved(zipped: bool = True, **nest: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save({**TENSORS, **nest}, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def nemo(mode: str) -> bytes:
    buffer = io.BytesIO()
    config = yaml.safe_dump({"encoder": {"jasper": []}, "decoder": {"vocabulary": ["a", "b"]}, "preprocessor": {}})
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.GNU_FORMAT) as archive:
        for name, content in (("model_config.yaml", config.encode()), ("./model_weights.ckpt", saved())):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def deflated() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pack/a.txt", CONTENT)
    return buffer.getvalue()


def queen_members() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        members = {"ANN2.DOG": ANN, "07SSSSJ1.SB": b"sound", "QUEEN2.JAS": b"It is open*02\n\nCute*02Really*03"}
        return queen_file(Path(folder, "queen.1c"), members).read_bytes()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **ARRAYS)
    return buffer.getvalue()


def sound(kind: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.sin(np.arange(800) / 9), 16_000, format=kind, subtype=subtype)
    return buffer.getvalue()


def table(*rows: Any) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS)
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return buffer.getvalue()


def record(tmp_path: Path, content: bytes) -> None:
    """A record that is damaged, between a run's summary and the report's tables."""
    path = store.record_path(tmp_path, ROW.cell)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert cli.main(["report", f"results_dir={tmp_path}"]) in (0, 2)
    store.read_row(tmp_path, ROW.cell)


def samples(tmp_path: Path, content: bytes) -> None:
    store.write_record(tmp_path / "a", Record(ROW, {}, FRAME))
    store.write_record(tmp_path / "b", Record(replace(ROW, quantized=50.0), {}, FRAME))
    store.samples_path(tmp_path / "b", ROW.cell).write_bytes(content)
    side = load_results(tmp_path / "b")
    side.samples(ROW.cell)
    assert cli.main(["check", str(tmp_path / "b"), "--baseline", str(tmp_path / "a")]) in (0, 1, 2, 3)


def rows(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    (tmp_path / "b.csv").write_text(table(ROW, replace(ROW, calib="mse", cell="bbbbbbbbbbbb")))
    assert cli.main(["check", str(tmp_path / "a.csv"), "--baseline", str(tmp_path / "b.csv")]) in (0, 1, 2, 3)
    load_results(tmp_path / "a.csv")


def archive(suffix: str) -> Callable[[Path, bytes], None]:
    def read(tmp_path: Path, content: bytes) -> None:
        into = tmp_path / "into"
        into.mkdir(exist_ok=True)
        (tmp_path / f"a.{suffix}").write_bytes(content)
        for file in extract(tmp_path / f"a.{suffix}", [FILE], into):
            assert hashlib.sha256((into / file.name).read_bytes()).hexdigest() == FILE.sha256
        assert {path.name for path in tmp_path.iterdir()} == {"into", f"a.{suffix}"}
        assert {path.name for path in into.iterdir()} <= {"a.txt"}

    return read


def weights(suffix: str) -> Callable[[Path, bytes], None]:
    def read(tmp_path: Path, content: bytes) -> None:
        (tmp_path / f"w.{suffix}").write_bytes(content)
        state, _ = checkpoint.read(tmp_path / f"w.{suffix}")
        assert sum(t.numel() * t.element_size() for t in state.values()) <= 8 * len(content)
        module = torch.nn.Linear(3, 2)
        checkpoint.load_into(module, {NAMES.get(name, name): tensor for name, tensor in state.items()}, tmp_path)

    return read


def file(name: str, reader: Callable[[Path], Any]) -> Callable[[Path, bytes], None]:
    def read(tmp_path: Path, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        reader(tmp_path / name)

    return read


def run_list(tmp_path: Path, content: bytes) -> None:
    from quantbench.cli.summary import print_summary

    store.write_record(tmp_path, Record(ROW))
    (tmp_path / "runs").mkdir(exist_ok=True)
    (tmp_path / "runs" / "r.jsonl").write_bytes(content)
    assert print_summary(tmp_path, "r") in (0, 1, 2)


FRAME = pd.DataFrame(
    {
        "sample": ["a", "b", "c"],
        "target": [1, 2, 3],
        "fp32": [100.0, 100.0, 0.0],
        "quantized": [100.0, 0.0, 0.0],
        "fp32_prediction": [1, 2, 4],
        "quantized_prediction": [1, 3, 4],
        "signal": [1.0, 2.0, 3.0],
        "noise": [0.1, 0.2, 0.3],
    }
)
DETAILS = {
    "config": {"model": {"name": "x"}},
    "command": "quantbench run",
    "versions": {"torch": "2"},
    "threads": 2,
    "network": {"weights": "w", "preprocessing": "p"},
    "ranges": {"conv1.input": 1.5},
    "site_sqnr_db": {"conv1.input": 30.0},
    "histograms": "abc",
}
RECORD = json.dumps({"schema": store.SCHEMA, "row": asdict(ROW), **DETAILS}, indent=1).encode()
FAILED = json.dumps({"schema": store.SCHEMA, "row": asdict(replace(ROW, status="failed", error="x"))}).encode()
SQUAD = json.dumps(
    {"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "1", "question": "q", "answers": [{"text": "c"}]}]}]}]}
).encode()
LINES = b'{"cell": "aaaaaaaaaaaa", "found": true}\n{"invalid": "x"}\n{"dropped": "y"}\n{"cell": "b", "failed": true}\n'
CTRANSLATE2 = ctranslate2_file({"a": TENSORS["a.weight"], "n": torch.empty(0, 4)}, {"c": "a"}, "WhisperSpec")

READERS: dict[str, tuple[list[bytes], Callable[[Path, bytes], None]]] = {
    "zip": ([zipped(("pack/a.txt", CONTENT), ("b", b"x")), deflated()], archive("whl")),
    "deb": ([deb(tarred(member("./pack/a.txt"), member("b")))], archive("deb")),
    "gz": ([zipped(("a", b"x")), nemo("w:gz")], file("a.txt.gz", lambda path: extract(path, [GZ], path.parent))),
    "torch": ([saved(), saved(state_dict=TENSORS), saved(zipped=False)], weights("pth")),
    "safetensors": ([save_safetensors(TENSORS)], weights("safetensors")),
    "nemo": ([nemo("w:"), nemo("w:gz")], file("a.nemo", lambda path: nvidia_speech.read(path, [], "ab"))),
    "nvidia": (
        [saved(ema_state_dict={"module.decoder.layers.0.weight": torch.zeros(2)})],
        file("a.pt", lambda path: nvidia_speech.read(path, [], "ab")),
    ),
    "ctranslate2": ([CTRANSLATE2], file("model.bin", ctranslate2.read)),
    "queen": (
        [queen_members()],
        file("queen.1c", lambda path: list(queen.spoken_lines(queen.read_members(path)))),
    ),
    "dialogue": ([ANN], lambda _, content: list(queen.spoken_lines({"JOE1.DOG": content, "QUEEN2.JAS": content}))),
    "sound": (
        [sound("FLAC"), sound("WAV"), sound("OGG", "VORBIS"), sound("MP3"), sound("AIFF")],
        lambda _, content: read_sound(content, "a"),
    ),
    "squad": ([SQUAD], file("dev-v1.1.json", lambda path: [str(q).encode() for q in squad.read(path)])),
    "npz": ([npz()], file("a.npz", lambda path: read_arrays(path, ("a", "b")))),
    "record": ([RECORD, FAILED], record),
    "results": ([table(ROW).encode(), table(ROW, replace(ROW, calib="=x", cell="bbbbbbbbbbbb")).encode()], rows),
    "samples": ([FRAME.to_csv(index=False).encode()], samples),
    "run list": ([LINES], run_list),
}
GZ = File("a.txt", "pack/a.txt.gz", len(CONTENT), FILE.sha256)


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Figures take seconds: a report has none here."""
    from quantbench.report import build

    monkeypatch.setattr(build, "figures", lambda _: [])


def survives(kind: str, content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    try:
        READERS[kind][1](folder, content)
    except (UserError, Unusable) as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file_is_read_or_refused(kind, tmp_path_factory, capsys):
    @quick
    @given(mutated(READERS[kind][0]))
    def once(content):
        survives(kind, content, tmp_path_factory)
        assert "(--debug shows where)" not in capsys.readouterr().err  # an exception that cli.main did not expect

    once()


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_many_damaged_files(kind, tmp_path_factory, capsys):
    @large
    @given(mutated(READERS[kind][0]))
    def many(content):
        survives(kind, content, tmp_path_factory)
        assert "(--debug shows where)" not in capsys.readouterr().err

    many()


@pytest.mark.parametrize("kind", READERS)
def test_a_sound_file_is_read(kind, tmp_path_factory):
    """So that the damaged ones are nearly sound."""
    for content in READERS[kind][0]:
        try:
            READERS[kind][1](tmp_path_factory.mktemp("sound"), content)
        except (UserError, Unusable) as error:
            assert kind in ("gz", "torch", "safetensors"), error


OVERRIDES = [
    *("model=resnet20_fashion", "calib=max,entropy", "+task.path=/x", "~limit", "++model.x={a:[1,2],b:'q'}"),
    *("weight_bits=range(2,8)", "skip_layers=[conv1,'layer4.*']", "calib=glob(*)", "hydra.job.env_set={A: b}"),
    *(
        "limit=${batch_size}",
        "results_dir=a\\,b",
        "hydra/launcher=joblib",
        "calib=choice(max,mse)",
        "seed=interval(0,1)",
    ),
]
GROUP = {
    f"{group}/{name}": path.read_text()
    for group, choices in find_groups([conf_folder()]).items()
    for name, path in choices.items()
    if group in ("calib", "task")
}


def compose(*arguments: str) -> None:
    try:
        compose_checked(parse_arguments(arguments))
    except UserError as error:
        assert str(error)


def as_override(text: str) -> str:
    return text if not text.startswith("-") else f"x{text}"


def compose_texts(texts: list[str]) -> None:
    compose(*map(as_override, texts), *(["-m"] if len(texts) > 1 else []))


def compose_file(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("conf")
    group = "experiment" if "_global_" in text else "calib"
    (folder / group).mkdir()
    (folder / group / "mine.yaml").write_bytes(text.encode(errors="surrogatepass"))
    compose("--config-dir", str(folder), f"{group}=mine", "limit=1")


TEXTS = st.lists(mutated_text(OVERRIDES) | st.text(max_size=20), max_size=3)
FILES = mutated_text(
    [*GROUP.values(), "a: &a [1, *a]\nb: !!python/name:os.system\nc: ${a}${.b}\nhydra: {callbacks: {}}"]
)


@settings(quick, max_examples=25)  # each composes a configuration, which takes a quarter of a second
@given(TEXTS)
def test_overrides(texts):
    compose_texts(texts)


@pytest.mark.slow
@composing
@given(TEXTS)
def test_many_overrides(texts):
    compose_texts(texts)


@settings(quick, max_examples=12)
@given(FILES)
def test_files_of_a_config_dir(tmp_path_factory, text):
    compose_file(text, tmp_path_factory)


@pytest.mark.slow
@composing
@given(FILES)
def test_many_files_of_a_config_dir(tmp_path_factory, text):
    compose_file(text, tmp_path_factory)
