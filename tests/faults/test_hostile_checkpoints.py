"""Checkpoints of anyone: no code of theirs runs, nothing of them takes memory that the file has not, in one line.

Code in .pth and .pt is tested in tests/networks/test_checkpoint.py, in .nemo in test_nvidia_speech.py there, in
pytorch_model.bin in test_transformers_weights.py.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from quantbench.errors import UserError
from quantbench.networks.checkpoint import load_into, read
from quantbench.networks.huggingface import ctranslate2
from quantbench.networks.jasper import checkpoint as nvidia_speech
from quantbench.run.cache import read_arrays
from tests.shared import refused
from tests.tiny_speech import ctranslate2_file

ROOT = Path(__file__).resolve().parents[2]
MODEL = ("inspect", "model=resnet20_fashion")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", ["pth", "pt", "bin"])
@pytest.mark.parametrize("form", ["zip", "plain", "old"])
def test_code_of_a_checkpoint_does_not_run_at_the_command_line(folder, capsys, suffix, form):
    path = folder / f"w.{suffix}"
    if form == "plain":
        path.write_bytes(pickle.dumps({"state_dict": Evil(folder / "trace")}))
    else:
        torch.save({"a": Evil(folder / "trace")}, path, _use_new_zipfile_serialization=form == "zip")
    assert "could run code: it was not loaded" in refused(capsys, *MODEL, f"model.weights={path}")
    assert not (folder / "trace").exists()


def compressed(path: Path, source: Path) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return path


def test_a_zip_bomb_is_not_unpacked(folder, capsys):
    torch.save({"a": torch.zeros(1 << 22)}, folder / "plain.pt")
    path = compressed(folder / "w.pt", folder / "plain.pt")
    assert path.stat().st_size < (folder / "plain.pt").stat().st_size / 100
    said = refused(capsys, *MODEL, f"model.weights={path}")
    assert "w.pt is no file of torch.save: its member" in said and "compressed or encrypted" in said


def test_members_of_one_name(folder, capsys):
    torch.save({"a": torch.zeros(4)}, folder / "w.pt")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(folder / "w.pt", "a") as archive:
        archive.writestr(archive.namelist()[0], b"another")
    assert "two of its members have one name" in refused(capsys, *MODEL, f"model.weights={folder / 'w.pt'}")


STRANGE = {
    "expanded": (torch.zeros(1).expand(1 << 40), "'a' of shape (1099511627776,) has only 4 bytes"),
    "sparse": (torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.int64), [1.0], (1 << 40,)), "is no plain tensor"),
    "meta": (torch.empty(1 << 40, device="meta"), "is no plain tensor"),
    "quantized": (torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8), "is no plain tensor"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_tensor_is_no_larger_than_its_bytes(folder, capsys, kind):
    tensor, said = STRANGE[kind]
    torch.save({"a": tensor}, folder / "w.pth")
    assert said in refused(capsys, *MODEL, f"model.weights={folder / 'w.pth'}")


def header(size: int, content: object, data: bytes = b"") -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text) if size < 0 else size) + text + data


def tensor(shape: list[int], offsets: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    "content",
    [
        header(1 << 63, {}),
        header((1 << 64) - 1, {}),
        header(99_000_000, {}),
        header(-1, tensor([1 << 40], [0, 1 << 42])),
        header(-1, tensor([1 << 62, 4], [0, 0])),
        header(-1, tensor([(1 << 64) - 1], [0, 4]), b"1234"),
        header(-1, tensor([1], [4, 0]), b"1234"),
        header(-1, tensor([1], [-1, 3]), b"1234"),
        header(-1, tensor([0, 1 << 62, 1 << 62], [0, 0])),
        header(-1, tensor([1], [0, 4], "X9"), b"1234"),
        header(-1, [[[]]]),
        b"",
        b"{" * 5000,
        struct.pack("<Q", 20_000) + b"[" * 20_000,
    ],
)
def test_a_header_of_safetensors_that_lies(folder, capsys, content):
    (folder / "w.safetensors").write_bytes(content)
    said = refused(capsys, *MODEL, f"model.weights={folder / 'w.safetensors'}")
    assert "w.safetensors is damaged (" in said or "w.safetensors does not fit the network" in said


@pytest.mark.parametrize(
    "shape", [(1 << 16,) * 4, (1 << 31,) * 3, (0, 2**32 - 1, 2**32 - 1), (2**32 - 1, 0, 2**32 - 1)]
)
def test_dimensions_of_ctranslate2_whose_product_is_too_large(tmp_path, shape):
    content = ctranslate2_file({"x": torch.zeros(*(0 for _ in shape))})
    claim = struct.pack(f"<{len(shape)}I", *shape)
    path = tmp_path / "model.bin"
    path.write_bytes(content.replace(bytes([len(shape)]) + bytes(4 * len(shape)), bytes([len(shape)]) + claim, 1))
    try:
        found = ctranslate2.read(path).variables["x"]
    except UserError as error:
        assert "model.bin is damaged or not in CTranslate2's format" in str(error)
    else:
        assert found.numel() == 0 and 0 in shape


@pytest.mark.parametrize("dtype", [torch.complex64, torch.bool, torch.int8, torch.uint8, torch.float8_e4m3fn])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_type_that_is_no_weight(tmp_path, dtype, suffix):
    state = {"weight": torch.zeros(2, 2).to(dtype), "bias": torch.zeros(2)}
    path = tmp_path / f"w.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    module = nn.Linear(2, 2)
    with pytest.raises(UserError, match=rf"1 of another type \(weight {str(dtype).removeprefix('torch.')}\)"):
        load_into(module, read(path)[0], path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_no_number(tmp_path, value):
    state = {"weight": torch.zeros(2, 2), "bias": torch.tensor([0.0, value])}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth holds NaN or infinity in 1 tensors, first in bias: get it anew"):
        load_into(nn.Linear(2, 2), read(tmp_path / "w.pth")[0], tmp_path / "w.pth")


def nemo(path: Path, *members: tuple[tarfile.TarInfo, bytes], packed: bool = True) -> Path:
    content = b""
    for info, data in members:
        content += info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)
    path.write_bytes(gzip.compress(content + bytes(1024)) if packed else content + bytes(1024))
    return path


def member(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info, bytes(size)


LAUGHS = "\n".join(["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)])


def refused_nemo(path: Path) -> str:
    with pytest.raises(UserError) as error:
        nvidia_speech.read(path, [], "ab")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_archives_of_nemo_that_unpack_without_an_end(folder):
    path = folder / "a.nemo"
    nemo(path, member("model_weights.ckpt", 1 << 25))
    assert "it unpacks to more than 20 times its size" in refused_nemo(path)
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        nemo(path, member("x", 1 << 25, kind), member("model_config.yaml", 10))
        assert "is damaged (a name of 33,554,432 bytes)" in refused_nemo(path)
    config = LAUGHS.encode() + b"\nencoder: {jasper: *a39}\ndecoder: {vocabulary: *a39}\n"
    info, _ = member("model_config.yaml", len(config))
    nemo(path, (info, config), member("model_weights.ckpt", 10), packed=False)
    assert "is damaged (model_config.yaml is no YAML)" in refused_nemo(path)


def test_a_device_in_an_archive_of_nemo_is_passed_over(folder):
    kinds = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
    nemo(folder / "a.nemo", *(member("model_config.yaml", 0, kind) for kind in kinds))
    assert "it holds no file model_config.yaml" in refused_nemo(folder / "a.nemo")
    assert os.listdir(folder) == ["a.nemo"]


def npz(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    return path


def npy(shape: str) -> bytes:
    """Four numbers, under a header that says what it likes."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(32)


def test_arrays_that_claim_more_than_lies_in_their_file(tmp_path):
    def read(content: bytes, **options: int) -> object:
        return read_arrays(npz(tmp_path / "a.npz", content), ("x",), sealed=False, **options)

    assert read(npy("(4,)"))["x"].tolist() == [0.0] * 4
    for shape in ("(4000000000000,)", "(1000000, 1000000)", "(-4,)", "(4, 2)", "(9223372036854775807, 5)", "(4", "[4]"):
        assert read(npy(shape)) is None, shape
    np.save(large := io.BytesIO(), np.zeros(1 << 20))
    assert read(large.getvalue())["x"].shape == (1 << 20,)
    assert read(large.getvalue(), largest=1 << 22) is None
    assert read(pickle.dumps([1])) is None


def bert(folder: Path, **changes: object) -> Path:
    """A folder of transformers, as save_pretrained writes it, whose configuration says more than its weights."""
    from transformers import BertConfig, BertForQuestionAnswering

    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8}
    module = BertForQuestionAnswering(BertConfig(**sizes, vocab_size=30))
    module.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


HF = ("inspect", "model=hf", "model.head=question_answering")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vocab_size": 10**9}, "its config.json asks for"),
        ({"hidden_size": 10**6}, "its config.json asks for"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
    ],
)
def test_a_configuration_that_asks_for_more_than_the_weights_have(folder, capsys, changes, said):
    place = bert(folder / "net", **changes)
    capsys.readouterr()  # the bar of save_pretrained
    assert said in refused(capsys, *HF, f"model.name={place}")


def test_weights_of_transformers_that_are_none(folder, capsys):
    place = bert(folder / "net")
    capsys.readouterr()  # the bar of save_pretrained
    from safetensors.torch import load_file

    good = load_file(place / "model.safetensors")
    name = "bert.embeddings.word_embeddings.weight"
    for state, said in (
        ({**good, name: good[name].to(torch.int8)}, f"{name} is I8"),
        ({**good, name: good[name] * float("nan")}, f"NaN or infinity in 1 tensors, first in {name}"),
    ):
        save_file(state, place / "model.safetensors", {"format": "pt"})
        assert said in refused(capsys, *HF, f"model.name={place}")
    (place / "model.safetensors").unlink()
    torch.save(good, folder / "plain.bin")
    compressed(place / "pytorch_model.bin", folder / "plain.bin")
    assert "compressed or encrypted" in refused(capsys, *HF, f"model.name={place}")


BOUNDED = """
import resource, sys
from pathlib import Path
from quantbench.errors import UserError
from quantbench.networks.checkpoint import read
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
try:
    read(Path(sys.argv[1]))
except UserError as error:
    print(error)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
@pytest.mark.parametrize(
    "form",
    ["legacy", "zip bomb", *(pytest.param(form, marks=pytest.mark.slow) for form in ("safetensors", "expanded"))],
)
def test_memory_stays_bounded(folder, form):
    """In a process that may not have more than 8 GB of addresses, torch's own included; 1 GB of memory is used."""
    path = folder / "w.pth"
    if form == "legacy":
        torch.save({"a": torch.zeros(12345)}, path, _use_new_zipfile_serialization=False)
        claim = (12345).to_bytes(2, "little")
        content = path.read_bytes()
        path.write_bytes(content.replace(b"M" + claim, b"J" + struct.pack("<i", 2**31 - 1)))
        assert path.read_bytes() != content
    elif form == "zip bomb":
        torch.save({"a": torch.zeros(1 << 26)}, folder / "plain.pt")
        compressed(path, folder / "plain.pt")
        (folder / "plain.pt").unlink()
    elif form == "expanded":
        torch.save({"a": torch.zeros(1).expand(1 << 40)}, path)
    else:
        path = folder / "w.safetensors"
        path.write_bytes(header(-1, tensor([1 << 40], [0, 1 << 42])))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BOUNDED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    said, peak = done.stdout.splitlines()
    assert str(path) in said and int(peak) < 1 << 20, f"{peak} kB"
