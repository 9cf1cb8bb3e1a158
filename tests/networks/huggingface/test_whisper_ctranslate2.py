from __future__ import annotations

import pytest
import torch

from quantbench.errors import UserError
from quantbench.networks.huggingface.whisper_ctranslate2 import WhisperFile
from tests.tiny_speech import PROJECTION, ctranslate2_file, ctranslate2_variables, whisper


@pytest.fixture(scope="module")
def module():
    return whisper()


def written(folder, module, aliases=PROJECTION, specification="WhisperSpec", **changes):
    """The folder with a file of the module's weights, those in `changes` replaced or, where None, left out."""
    variables = {**ctranslate2_variables(module), **{name.replace("__", "/"): t for name, t in changes.items()}}
    kept = {name: tensor for name, tensor in variables.items() if tensor is not None}
    (folder / "model.bin").write_bytes(ctranslate2_file(kept, aliases, specification))
    return folder


def test_every_tensor_arrives_where_it_was(tmp_path, module):
    state = WhisperFile(written(tmp_path, module)).state()
    own = module.state_dict()
    assert state.keys() == own.keys()
    for name, tensor in own.items():
        assert state[name].dtype == torch.float32 and torch.equal(state[name], tensor), name


def test_the_shapes_say_the_configuration(tmp_path, module):
    found, own = WhisperFile(written(tmp_path, module)).config(), module.config
    for key in (
        *("vocab_size", "d_model", "num_mel_bins", "max_source_positions", "max_target_positions"),
        *("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"),
        *("encoder_ffn_dim", "decoder_ffn_dim"),
    ):
        assert getattr(found, key) == getattr(own, key), key


def test_float16_becomes_float32(tmp_path, module):
    half = module.state_dict()["model.encoder.conv1.weight"].half()
    state = WhisperFile(written(tmp_path, module, encoder__conv1__weight=half)).state()
    assert torch.equal(state["model.encoder.conv1.weight"], half.float())


def test_what_does_not_fit_is_named(tmp_path, module):
    keys = torch.zeros(48)
    keys[20] = 0.5
    for changes, why in (
        ({"specification": "TransformerSpec"}, "holds a TransformerSpec, not a Whisper"),
        ({"encoder__conv2__bias": None}, "lacks encoder/conv2/bias"),
        ({"aliases": {}}, "lacks decoder/projection/weight"),
        ({"encoder__extra": torch.zeros(2)}, r"holds 1 tensors that no Whisper has \(encoder/extra, ...\)"),
        ({"decoder__layer_3__fc": torch.zeros(2)}, "1 tensors that no Whisper has"),
        ({"encoder__layer_0__self_attention__linear_0__bias": keys}, "has a bias of the keys"),
        ({"encoder__layer_0__self_attention__linear_0__weight": torch.zeros(47, 16)}, "cannot be cut into q, k, v"),
        ({"encoder__conv1__weight": torch.zeros(16, 8, 3, dtype=torch.int8)}, "is quantized already"),
        ({"decoder__activation": torch.tensor(0, dtype=torch.int8)}, "decoder/activation is 0, not 3"),
    ):
        with pytest.raises(UserError, match=why) as refusal:
            WhisperFile(written(tmp_path, module, **changes)).state()
        assert "model.bin" in str(refusal.value)


def test_a_configuration_that_cannot_be_is_refused(tmp_path, module):
    for changes, why in (
        ({"encoder__num_heads": torch.tensor(0, dtype=torch.int16)}, "which 16 channels cannot be shared"),
        ({"encoder__num_heads": torch.tensor(3, dtype=torch.int16)}, "which 16 channels cannot be shared"),
        ({"decoder__embeddings__weight": torch.zeros(40)}, r"has the shape \(40,\), not one of 2"),
        ({"decoder__position_encodings__encodings": None}, "lacks decoder/position_encodings"),
    ):
        with pytest.raises(UserError, match=why):
            WhisperFile(written(tmp_path, module, **changes)).config()
