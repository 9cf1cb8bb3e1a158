from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCTC

from quantbench import networks
from quantbench.errors import UserError
from quantbench.networks.random_weights import seeded
from quantbench.quant.layers import find_layers
from quantbench.run.inputs import Inputs
from quantbench.run.predict import predict
from quantbench.tasks.task import Sample
from tests.tiny_speech import letters_tokenizer, wav2vec2_architecture, whisper_architecture

NORMS = ("group", "layer")


def sounds(*lengths: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.normal(0.1, 0.3, length).astype(np.float32) for length in lengths]


def load(norm: str = "group", model_type: str = "wav2vec2", **options):
    options = {"weights": "random", "architecture": wav2vec2_architecture(norm, model_type), **options}
    return networks.load({"name": "tiny", "family": "huggingface", "head": "speech_ctc", "seed": 3, **options})


def outputs(network, raws, batch_size):
    samples = [Sample(str(i), lambda raw=raw: raw, "") for i, raw in enumerate(raws)]
    return predict(network.module, Inputs(network, samples), batch_size, "cpu", "fp32")


@pytest.mark.parametrize("model_type", ["wav2vec2", "hubert"])
@pytest.mark.parametrize("norm", NORMS)
def test_no_sound_depends_on_its_batch_and_logits_are_the_original_ones(norm, model_type):
    network, raws = load(norm, model_type), sounds(900, 2000, 431, 1600)
    together, alone = outputs(network, raws, 4), [outputs(network, [raw], 1)[0] for raw in raws]
    config = AutoConfig.for_model(**wav2vec2_architecture(norm, model_type), mask_time_prob=0.0, mask_feature_prob=0.0)
    original = seeded(lambda: AutoModelForCTC.from_config(config), 3).eval()
    assert together.shape == (4, 99, 8)  # (2000 - 10) // 5 + 1 = 399 steps, (399 - 4) // 4 + 1 = 99
    for raw, one, row in zip(raws, alone, together, strict=True):
        torch.testing.assert_close(row[: len(one)], one, rtol=1e-4, atol=1e-5)
        assert not row[len(one) :].any()
        normalized = torch.from_numpy((raw - raw.mean()) / np.sqrt(raw.var() + 1e-7))
        with torch.no_grad():
            torch.testing.assert_close(one, original(normalized[None]).logits[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_every_layer_is_found_and_no_weight_is_computed_anew(norm):
    network = load(norm)
    layers = {layer.name: layer for layer in find_layers(network.module, *network.example)}
    attention = ("q_proj", "k_proj", "v_proj", "matmul_0", "matmul_1", "out_proj")
    assert set(layers) == {
        *(f"wav2vec2.feature_extractor.conv_layers.{i}.conv" for i in range(2)),
        *("wav2vec2.feature_projection.projection", "wav2vec2.encoder.pos_conv_embed.conv", "lm_head"),
        *(
            f"wav2vec2.encoder.layers.{i}.{part}"
            for i in range(2)
            for part in (
                *(f"attention.{part}" for part in attention),
                *("feed_forward.intermediate_dense", "feed_forward.output_dense"),
            )
        ),
    }


def saved(folder, **preprocessor):
    config = AutoConfig.for_model(**wav2vec2_architecture("group"))
    seeded(lambda: AutoModelForCTC.from_config(config), 3).save_pretrained(folder)
    letters_tokenizer(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def test_a_folder_of_transformers(tmp_path):
    network = load(weights="hub", architecture=None, path=str(saved(tmp_path)))
    (raw,) = sounds(900)
    [(found, count)] = network.preprocess(raw)
    assert (
        found.mean().abs() < 1e-6 and found.var(correction=0) == pytest.approx(1, abs=1e-4) and count.tolist() == [900]
    )
    original = AutoModelForCTC.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = original(found[None]).logits
    torch.testing.assert_close(outputs(network, [raw], 1), expected, rtol=1e-4, atol=1e-5)
    plain = load(weights="hub", architecture=None, path=str(saved(tmp_path, do_normalize=False)))
    assert torch.equal(plain.preprocess(raw)[0][0], torch.from_numpy(raw))
    assert plain.preprocessing != network.preprocessing
    with pytest.raises(UserError, match="hears sound at 8000 Hz, the tasks have it at 16000"):
        load(weights="hub", architecture=None, path=str(saved(tmp_path, sampling_rate=8000)))


def test_letters_become_a_text(tmp_path):
    network = load(weights="hub", architecture=None, path=str(saved(tmp_path)))
    steps = [5, 5, 0, 5, 4, 4, 6, 0, 7, 7]  # a a - a | | b - c c: the network's letters by step
    logits = torch.nn.functional.one_hot(torch.tensor(steps), 8).float()
    behind = torch.zeros(1, 3, 8)
    assert network.decode(None, torch.cat([logits[None], behind], 1)) == "aa bc"
    assert network.decode(None, behind) == ""


def test_any_speech_network_by_its_head_alone(tmp_path):
    asked = {"name": str(saved(tmp_path)), "family": "huggingface", "head": "speech_ctc", "weights": "hub", "seed": 0}
    network = networks.load({**asked, "max_length": 384, "stride": 128})
    assert network.example[0].shape == (1, 80_000) and network.decode is not None
    random = {**asked, "name": "x", "weights": "random", "architecture": whisper_architecture()}
    assert not networks.load({**random, "head": "speech_seq2seq"}).numbers
    with pytest.raises(UserError, match=r"model\.head=poetry: must be one of question_answering, .*, speech_seq2seq"):
        networks.load({**asked, "head": "poetry"})
    with pytest.raises(UserError, match=r"model\.head=speech_ctc: .* are for networks that read text"):
        load(max_length=64)


def test_what_cannot_be_heard_is_refused():
    network = load()
    with pytest.raises(UserError, match="a sound of 24 samples: it is shorter than one step"):
        network.preprocess(np.zeros(24, np.float32))
    with pytest.raises(UserError, match="tiny hears speech"):
        network.preprocess(("a", "b"))
    assert len(network.preprocess(np.zeros(25, np.float32))) == 1
