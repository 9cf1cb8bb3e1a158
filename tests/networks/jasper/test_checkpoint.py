"""Files laid out as NeMo's and DeepLearningExamples' are, and what the network answers with them."""

import hashlib
import os
import tarfile

import numpy as np
import pytest
import torch
import yaml

from quantbench import networks
from quantbench.errors import UserError
from quantbench.networks.checkpoint import load_into
from quantbench.networks.jasper import checkpoint
from quantbench.networks.jasper.checkpoint import renamed
from quantbench.networks.jasper.features import PREPROCESSING, Hearing, features
from quantbench.networks.jasper.network import ARCHITECTURES, Acoustic
from tests.networks.jasper.nemo_files import (
    BLOCKS,
    DENSE,
    JASPER,
    LETTERS,
    QUARTZNET,
    TINY,
    buffers,
    computed,
    configuration,
    random_state,
    saved,
    shapes,
    write_nemo,
    write_tar,
)

FULL_SIZE = dict(ARCHITECTURES)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    for name, stages in TINY.items():
        monkeypatch.setitem(ARCHITECTURES, name, lambda stages=stages: stages)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


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
        (("encoder", "jasper", 1, "repeat"), None, r"encoder\.jasper\[1\]\.repeat is None, not 2$"),
        (("encoder", "jasper", 3, "residual_dense"), False, r"jasper\[3\]\.residual_dense is False, not True$"),
        (("encoder", "jasper", 5), "no block", r"jasper\[5\]\.filters is None, not 20$"),
        (("encoder", "jasper"), DENSE[:-1], r"encoder\.jasper has 5 blocks, not 6$"),
        (("encoder",), None, r"encoder\.jasper has no blocks, not 6$"),
        (("encoder", "activation"), "swish", r"encoder\.activation is 'swish', not 'relu'$"),
        (("preprocessor", "window_size"), 0.025, r"preprocessor\.window_size is 0\.025, not 0\.02$"),
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


def test_an_archive_cannot_run_code(tmp_path):
    trace = tmp_path / "trace"
    path = write_nemo(tmp_path / "a.nemo", {"evil": Evil(trace)}, configuration(DENSE))
    with pytest.raises(UserError, match="could run code: it was not loaded"):
        load("jasper", path)
    config = f"model: !!python/object/apply:os.mkdir ['{trace}']".encode()
    path = write_tar(tmp_path / "b.nemo", {"model_config.yaml": config, "model_weights.ckpt": b"x"})
    with pytest.raises(UserError, match=r"b\.nemo is damaged \(model_config\.yaml is no YAML\)"):
        load("jasper", path)
    assert not trace.exists()


@pytest.mark.parametrize("compressed", [True, False])
def test_a_damaged_archive(tmp_path, compressed):
    path = write_nemo(tmp_path / "a.nemo", random_state(DENSE), configuration(DENSE), compressed)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"a\.nemo is damaged \(.+\); get it anew") as error:
        load("jasper", path)
    assert "\n" not in str(error.value)


def test_nothing_of_an_archive_is_unpacked_by_its_name(tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    state = random_state(DENSE)
    files = {
        "../outside": b"x",
        "./model_config.yaml": yaml.safe_dump(configuration(DENSE)).encode(),
        "sub/model_weights.ckpt": b"another",
        "model_weights.ckpt": saved(state),
    }
    assert_computes(load("jasper", write_tar(folder / "a.nemo", files)), state, DENSE)
    assert [file.name for file in tmp_path.rglob("*")] == ["inner", "a.nemo"]


def test_a_link_is_not_followed(tmp_path):
    with tarfile.open(tmp_path / "a.nemo", "w:") as archive:
        info = tarfile.TarInfo("model_config.yaml")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(info)
    with pytest.raises(UserError, match=r"no network of NeMo: it holds no file model_config\.yaml"):
        load("jasper", tmp_path / "a.nemo")


def test_a_configuration_that_is_larger_than_any_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setitem(checkpoint._LARGEST, "model_config.yaml", 100)
    path = write_nemo(tmp_path / "a.nemo", {}, configuration(DENSE))
    with pytest.raises(UserError, match=r"cannot be a network: it says that 'model_config\.yaml' has [\d,]+ bytes"):
        load("jasper", path)


def test_aliases_that_unfold_without_an_end_are_not_written_out(tmp_path):
    laughs = [b"a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]".encode() for i in range(1, 40))]
    config = b"\n".join([*laughs, b"encoder: {activation: *a39}"])
    path = write_tar(tmp_path / "a.nemo", {"model_config.yaml": config, "model_weights.ckpt": saved({})})
    with pytest.raises(UserError, match=r"encoder\.activation is \[.*\.\.\..*, not 'relu'") as error:
        load("jasper", path)
    assert len(str(error.value)) < 5000


def test_one_s_own_names_are_read_as_before(tmp_path):
    module = Acoustic(TINY["jasper"])
    torch.save({"state_dict": module.state_dict()}, tmp_path / "a.pt")
    network = load("jasper", tmp_path / "a.pt")
    assert torch.equal(network.module.head.weight, module.head.weight) and network.preprocessing == PREPROCESSING
