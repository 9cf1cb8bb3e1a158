"""Embeddings as sentence-transformers declares them, against plain NumPy."""

import json

import numpy as np
import pytest
import torch

from quantbench import networks
from quantbench.errors import UserError
from quantbench.networks.huggingface.pooling import POOLINGS, Embedding, embedding_of
from tests.tiny_language import SPECIAL, architecture, tokenizer_files

WORDS = ("a", "black", "cat", "sat", "on", "the", "mat", "and", "saw", "another", "two", "birds")
PREFIX = "sentence_transformers.models."


def write(folder, pooling=None, steps=("Transformer", "Pooling"), **files):
    folder.mkdir(exist_ok=True)
    paths = {"Transformer": "", "Pooling": "1_Pooling"}
    found = [{"idx": i, "path": paths.get(step, f"{i}_{step}"), "type": PREFIX + step} for i, step in enumerate(steps)]
    (folder / "modules.json").write_text(json.dumps(found))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling or {"pooling_mode_mean_tokens": True}))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def by_hand(states, length):
    """What each pooling makes of the first `length` states: the definitions, one text at a time."""
    text = states[:length]
    weight = np.arange(1, length + 1)[:, None]
    return {
        "cls": text[0],
        "max": text.max(0),
        "mean": text.mean(0),
        "mean_sqrt_len": text.sum(0) / np.sqrt(length),
        "weightedmean": (text * weight).sum(0) / weight.sum(),
        "lasttoken": text[-1],
    }


@pytest.mark.parametrize("name", POOLINGS)
def test_poolings(name):
    states, mask = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0)) - 1, torch.zeros(3, 7).long()
    lengths = (7, 1, 4)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
    found = Embedding((name,)).pool(states, mask)
    right = np.stack([by_hand(states[row].numpy(), length)[name] for row, length in enumerate(lengths)])
    np.testing.assert_allclose(found.numpy(), right, rtol=1e-5, atol=1e-6)


def test_what_is_declared(tmp_path):
    assert embedding_of(tmp_path, None) == Embedding() and embedding_of(None, "cls") == Embedding(("cls",))
    for declared, right in (
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, ("max", "mean")),
        ({"pooling_mode": "lasttoken"}, ("lasttoken",)),
        ({"pooling_mode": ["mean", "cls"]}, ("cls", "mean")),
        ({"pooling_mode_weightedmean_tokens": True, "word_embedding_dimension": 8}, ("weightedmean",)),
    ):
        found = embedding_of(write(tmp_path, declared), None)
        assert found.poolings == right and found.declared and not found.normalize
    assert embedding_of(tmp_path, "max").poolings == ("max",)
    folder = write(
        tmp_path,
        steps=("Transformer", "Pooling", "Normalize"),
        sentence_bert_config={"max_seq_length": 12, "do_lower_case": True},
        config_sentence_transformers={
            "prompts": {"query": "query: ", "document": ""},
            "default_prompt_name": "query",
            "similarity_fn_name": "dot",
        },
    )
    found = embedding_of(folder, None)
    assert (found.normalize, found.length, found.text("A Cat"), found.similarity) == (True, 12, "query: a cat", "dot")
    norm = found.pool(torch.randn(2, 3, 4), torch.ones(2, 3)).norm(dim=1)
    assert torch.allclose(norm, torch.ones(2))
    first, second = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.0])
    assert found.compare(first, second) == 5.0 and abs(Embedding().compare(first, second) - 5 / 50**0.5) < 1e-6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": ("Transformer", "Pooling", "Dense")}, "declares the step Dense"),
        ({"steps": ("WordEmbeddings", "Pooling")}, "declares the step WordEmbeddings"),
        ({"steps": ("Transformer",)}, "declares Transformer: the steps must be"),
        ({"pooling": {"pooling_mode": "attention"}}, "declares the pooling attention: known are cls, max"),
        ({"pooling": {"pooling_mode_new": True}}, "declares the pooling pooling_mode_new"),
        ({"pooling": {"pooling_mode_mean_tokens": False}}, "declares no pooling"),
        ({"pooling": {"pooling_mode": "mean", "include_prompt": False}}, "leaves the prompt out"),
        ({"config_sentence_transformers": {"similarity_fn_name": "manhattan"}}, "declares the similarity manhattan"),
        ({"config_sentence_transformers": {"default_prompt_name": "x"}}, "declares the prompt x"),
        ({"config_sentence_transformers": []}, "is damaged"),
        ({"sentence_bert_config": {"max_seq_length": "x"}}, "max_seq_length 'x'"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        embedding_of(write(tmp_path, **options), None)


def test_wrong_names():
    with pytest.raises(UserError, match=r"model\.pooling=x: must be one of cls, max, mean"):
        embedding_of(None, "x")
    with pytest.raises(UserError, match=r"model\.pooling=cls: is for model\.head=embedding alone"):
        networks.load(
            {"name": "x", "family": "huggingface", "head": "question_answering", "weights": "random", "pooling": "cls",
             "architecture": architecture()}
        )  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    """A small BERT with a tokenizer, in a folder."""
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    folder = tmp_path / "net"
    tokenizer_files(folder, [*SPECIAL, *WORDS])
    AutoModel.from_config(AutoConfig.for_model(**architecture())).save_pretrained(folder)
    return folder


def test_a_network_answers_as_its_folder_declares(saved):
    def load(**options):
        choice = {"name": str(saved), "family": "huggingface", "head": "embedding", "max_length": 16, "seed": 0}
        return networks.load({**choice, **options})

    def embedded(network, text):
        with torch.no_grad():
            (item,) = network.preprocess(text)
            return network.module(*(tensor[None] for tensor in item))[0]

    plain = load()
    assert "declares no pooling" in plain.remarks[0] and "pooling mean" in plain.preprocessing
    write(saved, {"pooling_mode_cls_token": True}, sentence_bert_config={"max_seq_length": 9})
    network = load()
    assert "pooling cls" in network.preprocessing and network.example[0].shape == (1, 9)
    assert network.remarks == (f"{saved} declares that it reads 9 tokens: texts are cut off there",)
    from transformers import AutoModel

    module = AutoModel.from_pretrained(saved).eval()
    text = "the black cat sat"
    (item,) = network.preprocess(text)
    with torch.no_grad():
        right = module(input_ids=item[0][None], attention_mask=item[1][None]).last_hidden_state
    assert torch.allclose(embedded(network, text), right[0, 0], atol=1e-5)
    assert torch.allclose(embedded(load(pooling="mean"), text), right[0].mean(0), atol=1e-5)
    before = networks.identity({"name": str(saved), "family": "huggingface"})
    (saved / "1_Pooling" / "config.json").write_text('{"pooling_mode": "max"}')
    assert networks.identity({"name": str(saved), "family": "huggingface"})["sha256"] != before["sha256"]
