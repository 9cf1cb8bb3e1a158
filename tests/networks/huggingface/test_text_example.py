"""The example of a network that reads text: a real text where there is a tokenizer, else one with an end."""

import pytest
import torch

from quantbench import networks
from quantbench.errors import UserError
from quantbench.quant.layers import find_layers
from tests.tiny_language import SPECIAL, architecture, tokenizer_files

WORDS = ("the", "harbour", "was", "built", "in", "nineteenth", "century", "when", "ships", "came", "from", "with")
BART = {
    "model_type": "bart", "vocab_size": 60, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
    "decoder_start_token_id": 3, "num_labels": 6,
}  # fmt: skip
T5 = {
    "model_type": "t5", "vocab_size": 60, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2,
    "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "num_labels": 6,
}  # fmt: skip


def load(**options):
    usual = {"name": "mine", "family": "huggingface", "head": "sequence_classification", "max_length": 32, "seed": 0}
    return networks.load({**usual, **options})


@pytest.mark.parametrize("config", [BART, T5])
def test_a_network_that_asks_for_an_end_of_text(config):
    network = load(weights="random", architecture=config)
    assert len(find_layers(network.module, *network.example)) > 10
    for seed in range(40):
        (tokens, _) = network.random_item(seed)
        assert (tokens == config["eos_token_id"]).nonzero().tolist() == [[31]]


def test_noise_of_a_network_without_an_end_is_as_it_was():
    network = load(weights="random", architecture=architecture(eos_token_id=None))
    right = torch.randint(120, (32,), generator=torch.Generator().manual_seed(7))
    assert torch.equal(network.random_item(7)[0], right)


@pytest.mark.parametrize("head", ["sequence_classification", "embedding", "question_answering"])
def test_the_example_is_a_real_text_of_full_length(tmp_path, head):
    from transformers import AutoConfig, AutoModel, AutoModelForQuestionAnswering, AutoModelForSequenceClassification

    builders = {"embedding": AutoModel, "question_answering": AutoModelForQuestionAnswering}
    config = AutoConfig.for_model(**architecture())
    builders.get(head, AutoModelForSequenceClassification).from_config(config).save_pretrained(tmp_path)
    tokenizer_files(tmp_path, [*SPECIAL, *WORDS])
    network = load(name=str(tmp_path), head=head)
    tokens = network.example[0]
    assert (
        tokens.shape == (1, 32) and tokens[0, 0] == SPECIAL.index("[CLS]") and tokens[0, -1] == SPECIAL.index("[SEP]")
    )
    assert (tokens >= len(SPECIAL)).sum() > 10
    (tmp_path / "vocab.txt").unlink()
    assert load(name=str(tmp_path), head=head).example[0].shape == (1, 32)


def test_classes_are_those_of_the_configuration(tmp_path):
    names = {0: "abbreviation", 1: "entity", 2: "human"}
    config = architecture(id2label=names, label2id={name: i for i, name in names.items()})
    network = load(weights="random", architecture=config)
    assert (network.outputs, network.classes) == (3, tuple(names.values()))
    network = load(weights="random", architecture=architecture(), classes=4)
    assert (network.outputs, network.classes) == (4, ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"))
    assert load(weights="random", architecture=architecture(), head="embedding").outputs is None


def test_names_that_contradict_each_other_are_refused():
    names = {0: "abbreviation", 1: "entity"}
    for other in ({"abbreviation": 1, "entity": 0}, {"human": 0, "entity": 1}):
        with pytest.raises(UserError, match=r"id2label and label2id of its config\.json contradict each other"):
            load(weights="random", architecture=architecture(id2label=names, label2id=other))
