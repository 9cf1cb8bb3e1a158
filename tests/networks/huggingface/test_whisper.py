from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from quantbench import networks
from quantbench.errors import UserError
from quantbench.networks.huggingface.whisper import Prompt, greedy
from quantbench.quant.layers import find_layers
from quantbench.quant.observe import observe
from quantbench.run.inputs import Inputs
from quantbench.run.predict import predict
from quantbench.tasks.task import Sample
from tests.tiny_speech import (
    BANDS,
    END,
    FRAMES,
    PLAIN,
    START,
    WORDS,
    ctranslate2_folder,
    whisper,
    whisper_architecture,
    whisper_tokenizer,
)

PROMPT = Prompt((START, PLAIN), END, never=(START, PLAIN), never_first=(3,))


def sounds(*seconds: float) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.normal(0, 0.3, round(16_000 * each)).astype(np.float32) for each in seconds]


def features(count: int) -> torch.Tensor:
    return torch.randn(count, BANDS, FRAMES, generator=torch.Generator().manual_seed(1))


def load(**options):
    options = {"weights": "random", "architecture": whisper_architecture(init_std=0.5), **options}
    return networks.load({"name": "tiny", "family": "huggingface", "head": "speech_seq2seq", "seed": 0, **options})


def reference(module, one: torch.Tensor, most: int, prompt: Prompt) -> list[int]:
    """Greedy decoding with the whole text read anew for every token, by the module's own forward."""
    text = list(prompt.tokens)
    while len(text) - len(prompt.tokens) < most:
        logits = module(input_features=one[None], decoder_input_ids=torch.tensor([text])).logits[0, -1]
        first = len(text) == len(prompt.tokens)
        logits[[*prompt.never, *(prompt.never_first if first else ())]] = -torch.inf
        token = int(logits.argmax())
        if token == prompt.end:
            break
        text.append(token)
    return text[len(prompt.tokens) :]


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_says_what_each_says_alone_without_a_cache(seed):
    module = whisper(seed)
    heard, most = features(6), torch.tensor([[1], [9], [4], [12], [9], [9]])
    with torch.inference_mode():
        outputs = greedy(module, heard, most, PROMPT)
        expected = [reference(module, one, int(limit), PROMPT) for one, limit in zip(heard, most, strict=True)]
    assert outputs.shape == (6, max(map(len, expected)), 1)
    for row, text in zip(outputs[..., 0].tolist(), expected, strict=True):
        assert row == [token + 1 for token in text] + [0] * (len(row) - len(text))
    assert len({tuple(text) for text in expected}) > 1


def test_texts_end_at_the_end_and_at_their_limit():
    module = whisper()
    with torch.inference_mode():
        free = greedy(module, features(2), torch.tensor([[8], [8]]), PROMPT)[..., 0].long()
        said = free[0].tolist()
        place = next(i for i in range(1, 8) if said[i] not in said[:i])
        ending = replace(PROMPT, end=said[place] - 1)  # a later token of the first text is the end now
        ended = greedy(module, features(2)[:1], torch.tensor([[8]]), ending)[0, :, 0].long()
    assert free.shape == (2, 8)
    assert ended.tolist() == said[:place]


def test_a_text_that_ends_at_once_is_one_zero():
    module = whisper()
    with torch.inference_mode():
        first = int(greedy(module, features(1), torch.tensor([[1]]), PROMPT)[0, 0, 0]) - 1
        outputs = greedy(module, features(1), torch.tensor([[5]]), replace(PROMPT, end=first))
    assert outputs.tolist() == [[[0.0]]]


def test_what_is_never_said_is_not():
    module = whisper()
    with torch.inference_mode():
        said = greedy(module, features(4), torch.full((4, 1), 12), PROMPT)[..., 0]
        first = int(said[0, 0]) - 1
        other = greedy(module, features(4), torch.full((4, 1), 12), replace(PROMPT, never=(first,)))[..., 0]
    assert not (set(said.flatten().tolist()) & {START + 1.0, PLAIN + 1.0})
    assert first + 1 not in other.flatten().tolist()


def test_layers_of_both_halves_are_found_with_stable_names():
    network = load()
    layers = {layer.name: layer for layer in find_layers(network.module, *network.example)}
    attention = ("q_proj", "k_proj", "v_proj", "matmul_0", "matmul_1", "out_proj")
    encoder = [f"self_attn.{part}" for part in attention]
    decoder = [*encoder, *(f"encoder_attn.{part}" for part in attention)]
    assert set(layers) == {
        *("model.encoder.conv1", "model.encoder.conv2", "proj_out"),
        *(f"model.encoder.layers.{i}.{part}" for i in range(2) for part in (*encoder, "fc1", "fc2")),
        *(f"model.decoder.layers.{i}.{part}" for i in range(2) for part in (*decoder, "fc1", "fc2")),
    }
    assert layers["proj_out"].sites[1].weight is not None
    assert layers["model.decoder.layers.0.encoder_attn.k_proj"].macs == FRAMES // 2 * 16 * 16  # once a sound


def test_every_step_of_every_text_is_counted_once_whatever_the_batch():
    network, heard, most = load(), features(3), torch.tensor([[2], [7], [4]])

    def counts(*batches):
        with torch.inference_mode(), observe(network.module) as counters:
            for rows in batches:
                network.module(heard[rows], most[rows])
        return {site: counter.histogram().counts.sum() for site, counter in counters.items()}

    together, alone = counts([0, 1, 2]), counts([0], [1], [2])
    assert together == alone
    steps = 2 + 7 + 4  # the random network never comes to an end: its prompt is one token
    assert together["proj_out.input"] == steps * 16
    assert together["model.decoder.layers.1.self_attn.q_proj.input"] == steps * 16
    assert together["model.decoder.layers.1.encoder_attn.k_proj.input"] == 3 * FRAMES // 2 * 16
    assert together["model.encoder.layers.0.fc1.input"] == 3 * FRAMES // 2 * 16


def test_preprocessing_is_that_of_transformers_with_silence_to_the_end():
    from transformers import WhisperFeatureExtractor

    network = load()
    (short,) = sounds(0.4)
    [(found, most)] = network.preprocess(short)
    silence = np.concatenate([short, np.zeros(16_000 - len(short), np.float32)])
    expected = WhisperFeatureExtractor(feature_size=BANDS, chunk_length=1)(silence, sampling_rate=16_000)
    assert found.shape == (BANDS, FRAMES) and found.dtype == torch.float32
    assert torch.equal(found, torch.from_numpy(expected["input_features"][0]))
    assert most.tolist() == [10 + 4]


def test_long_sound_is_cut_into_pieces():
    network = load()
    (long,) = sounds(2.25)
    items = network.preprocess(long)
    assert [most.tolist() for _, most in items] == [[20], [20], [12]]
    assert torch.equal(items[1][0], network.preprocess(long[16_000:32_000])[0][0])


def test_what_is_no_sound_is_refused():
    network = load()
    for raw in ("a text", np.zeros((2, 400), np.float32), np.zeros(400, np.uint8)):
        with pytest.raises(UserError, match="tiny hears speech"):
            network.preprocess(raw)
    with pytest.raises(UserError, match="0 samples"):
        network.preprocess(np.zeros(0, np.float32))


def test_a_logit_that_is_not_finite_names_the_site():
    network = load()
    with torch.no_grad():
        network.module.model.decoder.layer_norm.weight[3] = torch.nan
    with pytest.raises(UserError, match=r"NaN or infinite for 1 of 1 samples, first for x; .* site proj_out\.input"):
        predict(network.module, Inputs(network, [Sample("x", lambda: sounds(0.3)[0], "")]), 2, "cpu", "fp32")


def test_weights_in_ctranslate2s_format(tmp_path):
    folder = ctranslate2_folder(tmp_path, whisper(), never=(5,), first=(END,))
    network = load(weights="hub", path=str(folder), architecture=None)
    state = network.module.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in whisper().state_dict().items())
    assert network.weights.startswith("sha256:") and "the prompt (21, 22), 1 never said" in network.preprocessing
    samples = [Sample(str(i), lambda sound=sound: sound, "") for i, sound in enumerate(sounds(0.5, 1.2, 0.7))]
    inputs = Inputs(network, samples)
    answers = inputs.answers(predict(network.module, inputs, 4, "cpu", "fp32"))
    prompt = Prompt((START, PLAIN), END, (5,), (END,))
    with torch.inference_mode():
        pieces = [
            reference(whisper(), found, int(most), prompt)
            for s in samples
            for found, most in network.preprocess(s.read())
        ]
    letters = ["".join("abcdefghijklmnopqrst"[token] for token in piece if token < END) for piece in pieces]
    assert answers == [letters[0], f"{letters[1]} {letters[2]}", letters[3]]
    assert "f" not in "".join(letters) and all(answers)


def test_a_folder_of_transformers_says_the_same(tmp_path):
    theirs = ctranslate2_folder(tmp_path / "ctranslate2", whisper(), never=(5,), first=(END,))
    ours = tmp_path / "transformers"
    whisper().save_pretrained(ours)
    whisper_tokenizer(ours)
    (ours / "generation_config.json").write_text(json.dumps({"suppress_tokens": [5], "begin_suppress_tokens": [END]}))
    (ours / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    items = load(weights="hub", path=str(ours), architecture=None).preprocess(sounds(0.6)[0])
    outputs = []
    for folder in (ours, theirs):
        network = load(weights="hub", path=str(folder), architecture=None)
        with torch.inference_mode():
            outputs.append(network.module(*(tensor[None] for tensor in items[0])))
    assert torch.equal(*outputs)


def test_files_that_do_not_fit_are_one_line(tmp_path):
    folder = ctranslate2_folder(tmp_path, whisper())
    good = (folder / "config.json").read_text()
    for text, why in (
        ("{", "config.json is damaged"),
        (json.dumps({"suppress_ids": [WORDS]}), f"names the token {WORDS}"),
    ):
        (folder / "config.json").write_text(text)
        with pytest.raises(UserError, match=why):
            load(weights="hub", path=str(folder), architecture=None)
    (folder / "config.json").write_text(good)
    tokenizer = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(tokenizer.replace("<|notimestamps|>", "<|other|>"))
    with pytest.raises(UserError, match=r"not that of this Whisper: it lacks <\|notimestamps\|>"):
        load(weights="hub", path=str(folder), architecture=None)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="no tokenizer that can be read"):
        load(weights="hub", path=str(folder), architecture=None)


def test_another_sequence_network_is_refused():
    with pytest.raises(UserError, match="only Whisper is known, not speech_to_text"):
        load(architecture={"model_type": "speech_to_text", "vocab_size": 50, "d_model": 16, "encoder_layers": 1})


@pytest.mark.filterwarnings("error::FutureWarning")
def test_nothing_is_asked_of_transformers_that_is_going_away():
    with torch.inference_mode():
        greedy(load().module, features(1), torch.tensor([[3]]), PROMPT)
