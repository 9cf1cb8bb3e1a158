"""Files laid out as NeMo's and DeepLearningExamples' are, and what the network answers with them."""

import gzip
import hashlib
import io
import os
import tarfile

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank

from quantbench import networks
from quantbench.errors import UserError
from quantbench.networks.checkpoint import load_into
from quantbench.networks.jasper.checkpoint import renamed
from quantbench.networks.jasper.features import PREPROCESSING, Hearing, features
from quantbench.networks.jasper.network import ARCHITECTURES, Acoustic, Stage

LETTERS = [" ", *"abcdefghijklmnopqrstuvwxyz", "'"]


def block(filters, kernel, repeat=1, stride=1, dilation=1, residual=False, **more):
    """A block as NeMo's configurations have it."""
    lists = {"kernel": [kernel], "stride": [stride], "dilation": [dilation]}
    return {"filters": filters, "repeat": repeat, "residual": residual, "dropout": 0.1, **lists, **more}


DENSE = [
    block(8, 5, stride=2),
    block(8, 3, repeat=2, residual=True, residual_dense=True),
    block(12, 7, repeat=3, residual=True, residual_dense=True),
    block(12, 3, repeat=1, residual=True, residual_dense=True),
    block(16, 3, dilation=2),
    block(20, 1),
]
SEPARABLE = [
    block(8, 5, stride=2, separable=True),
    block(8, 3, repeat=2, residual=True, separable=True),
    block(12, 7, repeat=3, residual=True, separable=True),
    block(16, 3, dilation=2, separable=True),
    block(20, 1),
]
TINY = {
    "jasper": [
        Stage(8, 5, stride=2),
        Stage(8, 3, repeat=2, residual="dense"),
        Stage(12, 7, repeat=3, residual="dense"),
        Stage(12, 3, residual="dense"),
        Stage(16, 3, dilation=2),
        Stage(20, 1),
    ],
    "quartznet15x5": [
        Stage(8, 5, stride=2, separable=True),
        Stage(8, 3, repeat=2, residual="plain", separable=True),
        Stage(12, 7, repeat=3, residual="plain", separable=True),
        Stage(16, 3, dilation=2, separable=True),
        Stage(20, 1),
    ],
}
FULL_SIZE = dict(ARCHITECTURES)
BLOCKS = {"jasper": DENSE, "quartznet15x5": SEPARABLE}


def shapes(blocks):
    """Every tensor of NeMo's network, the features' buffers left out: name -> shape."""
    found, inputs = {}, [64]

    def norm(name, channels):
        found.update({f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})
        found[f"{name}.num_batches_tracked"] = ()

    for i, one in enumerate(blocks):
        width, channels, kernel, layer = inputs[-1], one["filters"], one["kernel"][0], 0
        at = f"encoder.encoder.{i}"
        for _ in range(one["repeat"]):
            if one.get("separable"):
                found[f"{at}.mconv.{layer}.conv.weight"] = (width, 1, kernel)
                found[f"{at}.mconv.{layer + 1}.conv.weight"] = (channels, width, 1)
                layer += 1
            else:
                found[f"{at}.mconv.{layer}.conv.weight"] = (channels, width, kernel)
            norm(f"{at}.mconv.{layer + 1}", channels)
            width, layer = channels, layer + 4
        for k, source in enumerate(inputs if one["residual"] else []):
            found[f"{at}.res.{k}.0.conv.weight"] = (channels, source, 1)
            norm(f"{at}.res.{k}.1", channels)
        inputs = [*inputs, channels] if one.get("residual_dense") else [channels]
    found["decoder.decoder_layers.0.weight"] = (29, inputs[-1], 1)
    found["decoder.decoder_layers.0.bias"] = (29,)
    return found


def random_state(blocks, seed=0):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes(blocks).items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        else:
            state[name] = torch.randn(shape, generator=generator) / (shape[1] if len(shape) > 1 else 1) ** 0.5
    return state


def computed(state, blocks, x):
    """What NeMo's network answers to one utterance [1, 64, T]."""

    def norm(x, at):
        mean, var, weight, bias = (state[f"{at}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    outputs = [x]
    for i, one in enumerate(blocks):
        at, x, layer = f"encoder.encoder.{i}", outputs[-1], 0
        kernel, stride, dilation = (one[key][0] for key in ("kernel", "stride", "dilation"))
        for repeat in range(one["repeat"]):
            groups = x.shape[1] if one.get("separable") else 1
            weight = state[f"{at}.mconv.{layer}.conv.weight"]
            x = F.conv1d(x, weight, None, stride, dilation * (kernel - 1) // 2, dilation, groups)
            if one.get("separable"):
                layer += 1
                x = F.conv1d(x, state[f"{at}.mconv.{layer}.conv.weight"])
            x = norm(x, f"{at}.mconv.{layer + 1}")
            layer += 4
            if repeat < one["repeat"] - 1:
                x = F.relu(x)
        if one["residual"]:
            for k, source in enumerate(outputs):
                x = x + norm(F.conv1d(source, state[f"{at}.res.{k}.0.conv.weight"]), f"{at}.res.{k}.1")
        x = F.relu(x)
        outputs = [*outputs, x] if one.get("residual_dense") else [x]
    head = "decoder.decoder_layers.0"
    return F.conv1d(outputs[-1], state[f"{head}.weight"], state[f"{head}.bias"]).transpose(1, 2)


def configuration(blocks):
    return {
        "labels": LETTERS,
        "preprocessor": {
            "normalize": "per_feature",
            "window_size": 0.02,
            "window_stride": 0.01,
            "window": "hann",
            "features": 64,
            "n_fft": 512,
            "dither": 1e-5,
            "sample_rate": 16000,
            "frame_splicing": 1,
        },
        "encoder": {"feat_in": 64, "activation": "relu", "conv_mask": True, "jasper": blocks},
        "decoder": {"feat_in": 20, "num_classes": 28, "vocabulary": LETTERS},
    }


def buffers(mel_scale="slaney"):
    """The features' constants, in NeMo from librosa and torch."""
    bank = mel_filter_bank(257, 64, 0.0, 8000.0, 16000, norm="slaney", mel_scale=mel_scale)
    return {
        "preprocessor.featurizer.window": torch.hann_window(320, periodic=False),
        "preprocessor.featurizer.fb": torch.tensor(bank.T[None], dtype=torch.float32),
    }


def saved(state):
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def write_tar(path, files, compressed=True):
    with tarfile.open(path, "w:gz" if compressed else "w:") as archive:
        archive.addfile(directory := tarfile.TarInfo("."))
        directory.type = tarfile.DIRTYPE
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_nemo(path, state, config, compressed=True):
    files = {"./model_config.yaml": yaml.safe_dump(config).encode(), "./model_weights.ckpt": saved(state)}
    return write_tar(path, files, compressed)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    for name, stages in TINY.items():
        monkeypatch.setitem(ARCHITECTURES, name, lambda stages=stages: stages)


def load(name, path):
    return networks.load({"name": name, "family": "jasper", "weights": str(path), "seed": 0})


def assert_computes(network, state, blocks):
    x = torch.randn(1, 64, 41, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(network.module(x), computed(state, blocks, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["jasper", "quartznet15x5"])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_network_of_nemo_answers_as_there(tmp_path, name, compressed):
    state = random_state(BLOCKS[name])
    path = tmp_path / "stt_en.nemo"
    write_nemo(path, {**buffers(), **state}, configuration(BLOCKS[name]), compressed)
    network = load(name, path)
    assert network.weights == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert network.preprocessing == PREPROCESSING and not network.module.training
    assert_computes(network, state, BLOCKS[name])


def test_convolutions_without_masks_and_a_configuration_inside_another(tmp_path):
    state = random_state(DENSE)
    plain = {key.replace(".conv.weight", ".weight"): tensor for key, tensor in state.items()}
    path = write_nemo(tmp_path / "a.nemo", plain, {"name": "Jasper", "model": configuration(DENSE)})
    assert_computes(load("jasper", path), state, DENSE)


def of_examples(state):
    """NeMo's names as DeepLearningExamples has them since 2021; `conv` is `mconv` in its QuartzNet."""
    found = {}
    for key, tensor in state.items():
        key = key.replace("encoder.encoder.", "encoder.layers.").replace("decoder_layers", "layers")
        found[key.replace(".conv.weight", ".weight")] = tensor
    return found


def of_jasper(state):
    return {key.replace(".mconv.", ".conv."): tensor for key, tensor in of_examples(state).items()}


def of_2019(state):
    """As the first version of DeepLearningExamples saved Jasper: layers twice, features' constants beside them."""
    found = {f"audio_{key}": tensor for key, tensor in buffers().items()}
    for key, tensor in of_jasper(state).items():
        key = key.replace("encoder.layers.", "jasper_encoder.encoder.")
        key = key.replace("decoder.layers.", "jasper_decoder.decoder_layers.")
        found |= {key: tensor, f"acoustic_model.{key}": tensor}
    return {f"module.{key}": tensor for key, tensor in found.items()}


@pytest.mark.parametrize(
    ("name", "layout"), [("jasper", of_jasper), ("jasper", of_2019), ("quartznet15x5", of_examples)]
)
def test_a_checkpoint_of_deep_learning_examples_answers_as_there(tmp_path, name, layout):
    state = random_state(BLOCKS[name])
    path = tmp_path / "nvidia_jasper.pt"
    half = {key: tensor.half() if tensor.ndim > 1 else tensor for key, tensor in layout(state).items()}
    training = {"state": {0: {"step": 3, "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"epoch": 5, "state_dict": half, "ema_state_dict": None, "optimizer": training, "amp": None}, path)
    network = load(name, path)
    rounded = {key: tensor.half().float() if tensor.ndim > 1 else tensor for key, tensor in state.items()}
    assert network.module.head.weight.dtype == torch.float32
    assert_computes(network, rounded, BLOCKS[name])


def test_the_average_is_taken_where_there_is_one(tmp_path):
    last, average = random_state(DENSE, seed=1), random_state(DENSE, seed=2)
    torch.save({"state_dict": of_jasper(last), "ema_state_dict": of_jasper(average)}, tmp_path / "a.pt")
    assert_computes(load("jasper", tmp_path / "a.pt"), average, DENSE)


def test_deep_learning_examples_hears_otherwise(tmp_path):
    torch.save({"state_dict": of_jasper(random_state(DENSE))}, tmp_path / "a.pt")
    network = load("jasper", tmp_path / "a.pt")
    sound = (0.1 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
    [(bands, length)] = network.preprocess(sound)
    assert torch.equal(bands, features(sound, Hearing(floor=1e-20, dither=1e-5, lead=16)))
    assert bands.shape == (64, 16 + 51) and length.tolist() == [67] and not bands[:, :16].any()
    assert network.preprocessing == f"{PREPROCESSING}, noise of 1e-05, floor of 1e-20, 16 frames of zeros first"


JASPER = [
    block(256, 11, stride=2),
    *(
        block(filters, kernel, repeat=5, residual=True, residual_dense=True)
        for filters, kernel in ((256, 11), (384, 13), (512, 17), (640, 21), (768, 25))
        for _ in range(2)
    ),
    block(896, 29, dilation=2),
    block(1024, 1),
]
QUARTZNET = [
    block(256, 33, stride=2, separable=True),
    *(
        block(filters, kernel, repeat=5, residual=True, separable=True)
        for filters, kernel in ((256, 33), (256, 39), (512, 51), (512, 63), (512, 75))
        for _ in range(3)
    ),
    block(512, 87, dilation=2, separable=True),
    block(1024, 1),
]


@pytest.mark.parametrize(
    ("name", "blocks", "count"),
    [
        # 53 + 55 convolutions, each with the 5 tensors of a batch normalization, and the 2 of the decoder
        ("jasper", JASPER, 108 * 6 + 2),
        # 77 separable convolutions, a plain one and 15 residual ones
        ("quartznet15x5", QUARTZNET, 77 * 7 + 16 * 6 + 2),
    ],
)
@pytest.mark.parametrize("layout", [dict, of_examples, of_2019])
def test_every_tensor_of_the_published_networks_has_its_place(tmp_path, name, blocks, count, layout):
    with torch.device("meta"):
        module = Acoustic(FULL_SIZE[name]())
        state = {key: torch.empty(shape) for key, shape in shapes(blocks).items()}
    assert len(state) == count == len(module.state_dict())
    if layout is of_2019:
        state = {key: tensor for key, tensor in layout(state).items() if "acoustic_model" not in key}
    else:
        state = layout(state)
    found = renamed(state, FULL_SIZE[name](), tmp_path / "x.nemo")
    load_into(module, found, tmp_path / "x.nemo")
    assert found.keys() == module.state_dict().keys()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("encoder", "jasper", 2, "filters"), 16, r"encoder\.jasper\[2\]\.filters is 16, not 12$"),
        (("encoder", "jasper", 1, "kernel"), [5], r"encoder\.jasper\[1\]\.kernel is 5, not 3$"),
        (("encoder", "jasper", 1, "repeat"), None, r"encoder\.jasper\[1\]\.repeat is None, not 2$"),
        (("encoder", "jasper", 3, "residual_dense"), False, r"jasper\[3\]\.residual_dense is False, not True$"),
        (("encoder", "jasper", 4, "residual"), True, r"jasper\[4\]\.residual is True, not False$"),
        (("encoder", "jasper", 0, "separable"), True, r"jasper\[0\]\.separable is True, not False$"),
        (("encoder", "jasper", 5), "no block", r"jasper\[5\]\.filters is None, not 20$"),
        (("encoder", "jasper"), DENSE[:-1], r"encoder\.jasper has 5 blocks, not 6$"),
        (("encoder",), None, r"encoder\.jasper has no blocks, not 6$"),
        (("encoder", "activation"), "swish", r"encoder\.activation is 'swish', not 'relu'$"),
        (("preprocessor", "features"), 80, r"preprocessor\.features is 80, not 64$"),
        (("preprocessor", "window_size"), 0.025, r"preprocessor\.window_size is 0\.025, not 0\.02$"),
        (("preprocessor", "normalize"), "all_features", r"normalize is 'all_features', not 'per_feature'$"),
        (("preprocessor", "log_zero_guard_value"), 1e-20, r"log_zero_guard_value is 1e-20, not 5\.96"),
        (("decoder", "vocabulary"), [*LETTERS[1:], " "], r"the letters are \['a', .*, not \[' ', 'a'"),
    ],
)
def test_another_configuration(tmp_path, place, value, message):
    config = yaml.safe_load(yaml.safe_dump(configuration(DENSE)))
    inner = config
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = write_nemo(tmp_path / "a.nemo", random_state(DENSE), config)
    with pytest.raises(UserError, match=rf"a\.nemo is another network: in its model_config\.yaml, .*{message}"):
        load("jasper", path)


def test_quartznet_is_no_jasper(tmp_path):
    path = write_nemo(tmp_path / "a.nemo", random_state(SEPARABLE), configuration(SEPARABLE))
    with pytest.raises(UserError, match=r"encoder\.jasper has 5 blocks, not 6"):
        load("jasper", path)


def test_other_features_are_refused(tmp_path):
    state = {**random_state(DENSE), **buffers(mel_scale="htk")}
    path = write_nemo(tmp_path / "a.nemo", state, configuration(DENSE))
    with pytest.raises(UserError, match=r"trained with other features: preprocessor\.featurizer\.fb \(1, 64, 257\)"):
        load("jasper", path)
    state = {**random_state(DENSE), "preprocessor.featurizer.window": torch.hann_window(320)}
    path = write_nemo(tmp_path / "b.nemo", state, configuration(DENSE))
    with pytest.raises(UserError, match=r"trained with other features: preprocessor\.featurizer\.window"):
        load("jasper", path)


def test_every_tensor_is_accounted_for(tmp_path):
    state = random_state(DENSE)
    del state["encoder.encoder.2.res.1.0.conv.weight"]
    state["encoder.encoder.2.res.9.0.conv.weight"] = torch.zeros(12, 8, 1)
    state["encoder.encoder.0.mconv.1.weight"] = torch.zeros(9)
    state["spec_augmentation.mask"] = torch.zeros(1)
    path = write_nemo(tmp_path / "a.nemo", state, configuration(DENSE))
    with pytest.raises(UserError) as error:
        load("jasper", path)
    text = str(error.value)
    assert "1 missing (blocks.2.shortcuts.1.0.weight)" in text
    assert "2 unexpected (encoder.encoder.2.res.9.0.conv.weight, spec_augmentation.mask)" in text
    assert "1 of another shape (blocks.0.norms.0.weight (9,) instead of (8,))" in text


def test_two_tensors_for_one_place(tmp_path):
    state = of_2019(random_state(DENSE))
    state["module.acoustic_model.jasper_decoder.decoder_layers.0.bias"] = torch.zeros(29)
    torch.save({"state_dict": state}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"holds two different tensors for head\.bias; the second is module\.acoustic"):
        load("jasper", tmp_path / "a.pt")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["a.nemo", "a.pt"])
def test_code_in_a_file_does_not_run(tmp_path, form):
    path, trace = tmp_path / form, tmp_path / "trace"
    if form == "a.nemo":
        write_nemo(path, {**random_state(DENSE), "evil": Evil(trace)}, configuration(DENSE))
    else:
        torch.save({"state_dict": of_jasper(random_state(DENSE)), "optimizer": Evil(trace)}, path)
    with pytest.raises(UserError, match="could run code: it was not loaded") as error:
        load("jasper", path)
    assert "\n" not in str(error.value) and not trace.exists()


def test_yaml_cannot_run_code_either(tmp_path):
    trace = tmp_path / "trace"
    config = f"model: !!python/object/apply:os.mkdir ['{trace}']".encode()
    path = write_tar(tmp_path / "a.nemo", {"model_config.yaml": config, "model_weights.ckpt": b"x"})
    with pytest.raises(UserError, match=r"a\.nemo is damaged \(model_config\.yaml is no YAML\)"):
        load("jasper", path)
    assert not trace.exists()


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_damaged_archives(tmp_path, compressed, damage):
    path = write_nemo(tmp_path / "a.nemo", random_state(DENSE), configuration(DENSE), compressed)
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "noise": data[:4] + b"\x07" * 4000}[damage])
    with pytest.raises(UserError, match=r"a\.nemo is damaged \(.+\); get it anew") as error:
        load("jasper", path)
    assert "\n" not in str(error.value)


def test_nothing_of_an_archive_is_unpacked_by_its_name(tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    state = random_state(DENSE)
    files = {
        "../outside": b"x",
        "/tmp/quantbench_absolute": b"x",
        "./model_config.yaml": yaml.safe_dump(configuration(DENSE)).encode(),
        "sub/model_weights.ckpt": b"another",
        "model_weights.ckpt": saved(state),
    }
    path = write_tar(folder / "a.nemo", files)
    assert_computes(load("jasper", path), state, DENSE)
    assert [file.name for file in tmp_path.rglob("*")] == ["inner", "a.nemo"]
    assert not os.path.exists("/tmp/quantbench_absolute")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_is_not_followed(tmp_path, kind):
    path = tmp_path / "a.nemo"
    with tarfile.open(path, "w:") as archive:
        info = tarfile.TarInfo("model_config.yaml")
        info.type, info.linkname = kind, "/etc/hostname"
        archive.addfile(info)
    with pytest.raises(UserError, match=r"no network of NeMo: it holds no file model_config\.yaml"):
        load("jasper", path)


@pytest.mark.parametrize(("name", "size"), [("model_config.yaml", 2 << 20), ("other", 1 << 40)])
def test_an_absurd_size_is_not_believed(tmp_path, name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    path = tmp_path / "a.nemo"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    with pytest.raises(UserError, match=rf"cannot be a network: it says that '{name}' has [\d,]+ bytes"):
        load("jasper", path)


def test_one_s_own_names_are_read_as_before(tmp_path):
    module = Acoustic(TINY["jasper"])
    torch.save({"state_dict": module.state_dict()}, tmp_path / "a.pt")
    network = load("jasper", tmp_path / "a.pt")
    assert torch.equal(network.module.head.weight, module.head.weight) and network.preprocessing == PREPROCESSING
