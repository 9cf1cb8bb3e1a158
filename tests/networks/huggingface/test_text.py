"""Language networks: padding is no data, real weights give what their authors' code gives, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from quantbench import networks
from quantbench.errors import UserError
from quantbench.networks import huggingface
from quantbench.quant.observe import collect
from quantbench.quant.simulate import simulate
from quantbench.run.inputs import Inputs
from quantbench.run.predict import predict
from quantbench.tasks.sampling import reading
from quantbench.tasks.task import Sample
from tests.calibration import max_mappings
from tests.quant.helpers import moved
from tests.tiny_language import architecture, marked_network

HEADS = ("question_answering", "sequence_classification", "embedding")
KINDS = [("bert", "eager"), ("bert", "sdpa"), ("mpnet", "eager"), ("roberta", "sdpa")]
LENGTHS = (3, 17, 64, 9, 64, 30, 5, 12, 41, 17)


def tiny(kind="bert", attention="eager", head="embedding", types=2, **more):
    made = architecture(kind, attention, **({} if kind in ("mpnet", "distilbert") else {"type_vocab_size": types}))
    return huggingface.load(name="tiny", head=head, weights="random", architecture=made, max_length=64, **more)


def texts(network):
    """Items of several lengths, as a tokenizer would give them."""
    items = []
    for seed, length in enumerate(LENGTHS):
        generator = torch.Generator().manual_seed(seed)
        ids, *rest = (tensor[:length].clone() for tensor in network.noise(seed))
        ids[:] = torch.randint(2, 120, (length,), generator=generator)  # without the padding of any of them
        for kind in rest[int(network.masked) :]:
            kind[length // 2 :] = 1
        items.append((ids, *rest))
    return items


def inputs(network, items):
    ready = replace(network, preprocess=lambda item: [item], decode=None)
    return Inputs(ready, [Sample(str(i), reading(item), None) for i, item in enumerate(items)])


def alone(module, item):
    with torch.no_grad():
        return module(*(tensor[None] for tensor in item))[0]


def close(found, expected):
    """Equal up to rounding; positions behind the shorter of both are zeros."""
    if expected.dim() == 2:
        longest = max(len(found), len(expected))
        found, expected = (F.pad(each, (0, 0, 0, longest - len(each))) for each in (found, expected))
    return torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("kind", "attention"), KINDS)
def test_padding_of_any_length_changes_no_answer(kind, attention, head):
    network = tiny(kind, attention, head)
    assert network.module.config._attn_implementation == attention
    for item in [item for item in texts(network) if len(item[0]) < 57]:
        expected = alone(network.module, item)
        assert expected.abs().max() > 1e-3
        for more in {1, 7, 64 - len(item[0])}:
            padded = tuple(F.pad(t, (0, more), value=value) for t, value in zip(item, network.pad, strict=True))
            assert close(alone(network.module, padded), expected)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("kind", "attention"), KINDS)
def test_batch_size_changes_no_float_answer(kind, attention, head):
    network = tiny(kind, attention, head)
    items = texts(network)
    expected = [alone(network.module, item) for item in items]
    for size in (1, 3, 64):
        found = predict(network.module, inputs(network, items), size, "cpu", "")
        assert all(close(one, other) for one, other in zip(found, expected, strict=True))


READING_PADDING = {
    "nystromformer": {"model_type": "nystromformer"},
    "fnet": {"model_type": "fnet"},
    "llama, pad -1": {"model_type": "llama", "pad_token_id": -1},
    "llama, pad beyond the vocabulary": {"model_type": "llama", "pad_token_id": 120},
    "gpt2, without pad": {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 4},
}


@pytest.mark.parametrize("head", HEADS[1:])
@pytest.mark.parametrize("kind", READING_PADDING)
def test_batch_size_changes_no_float_answer_of_a_network_that_reads_padding(kind, head, capsys):
    made = {**architecture(), **READING_PADDING[kind]}
    network = huggingface.load(name="tiny", head=head, weights="random", architecture=made, max_length=64)
    for parameter in network.module.parameters():
        if parameter.dim() > 1:
            parameter.data *= 4  # as large as trained ones
    items = texts(network)
    expected = [alone(network.module, item) for item in items]
    for size in (1, 3, 64):
        found = predict(network.module, inputs(network, items), size, "cpu", "")
        assert all(close(one, other) for one, other in zip(found, expected, strict=True))
    said = capsys.readouterr().err.splitlines()
    reads = head == "sequence_classification" or kind in ("nystromformer", "fnet")  # else the last token is one of all
    assert len(said) == (2 if reads else 0)
    assert all(
        line.startswith("quantbench: tiny: ") and line.endswith("; batches hold items of one length") for line in said
    )


@pytest.mark.parametrize("padding", [None, -1, 120])
@pytest.mark.parametrize("kind", ["bert", "bart", "llama"])
def test_a_pad_token_that_is_none_is_replaced_where_the_mask_hides_it(kind, padding):
    more = {"d_model": 32, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "eos_token_id": 2}
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    made = {**architecture(kind), **(more | layers if kind == "bart" else {}), "pad_token_id": padding}
    network = huggingface.load(name="tiny", head="embedding", weights="random", architecture=made, max_length=64)
    assert set(network.pad) == {0.0}
    items = texts(network)
    expected = [alone(network.module, item) for item in items]
    found = predict(network.module, inputs(network, items), 64, "cpu", "")
    assert all(close(one, other) for one, other in zip(found, expected, strict=True))


def test_a_network_that_counts_positions_by_a_pad_token_that_is_none_is_refused():
    network = huggingface.load(
        name="tiny",
        head="embedding",
        weights="random",
        architecture={**architecture("roberta"), "pad_token_id": 120},
        max_length=64,
    )
    with pytest.raises(UserError, match=r"^tiny cannot be run on a batch of texts as they are \("):
        network.module(*network.example)


@pytest.mark.parametrize(("kind", "attention"), KINDS[1:3])
def test_batch_size_changes_quantized_answers_on_near_ties_only(kind, attention):
    network = tiny(kind, attention, "sequence_classification", classes=5)
    items = texts(network) * 10
    for seed, (ids, *_) in enumerate(items):  # 100 different texts
        ids[:] = torch.randint(2, 120, ids.shape, generator=torch.Generator().manual_seed(1000 + seed))
    given = inputs(network, items)
    batches = [batch for _, batch in given.batches(8, "cpu", "", padded=False)]
    mappings = max_mappings(network.module, network.example, batches)
    with simulate(network.module, mappings):
        quantized = [predict(network.module, given, size, "cpu", "") for size in (1, 8, 64)]
    assert not torch.equal(quantized[0], predict(network.module, given, 1, "cpu", ""))
    best = quantized[0].topk(2).values
    margin = (best[:, 0] - best[:, 1]) / quantized[0].std()
    for other in quantized[1:]:
        differs = quantized[0].argmax(1) != other.argmax(1)
        assert int(differs.sum()) <= 2  # of 100
        assert (margin[differs] < 0.1).all()
        # A position that only fills up a batch would move all answers, not a few in their last step.
        assert (quantized[0] - other).abs().median() < 0.02 * quantized[0].std()


@pytest.mark.parametrize(("kind", "attention"), KINDS)
def test_statistics_are_those_of_each_text_alone(kind, attention):
    network = tiny(kind, attention)
    items = texts(network)
    expected = collect(network.module, [tuple(t[None] for t in item) for item in items])
    for size in (1, 2, 64):
        found = collect(network.module, (b for _, b in inputs(network, items).batches(size, "cpu", "", padded=False)))
        assert found.keys() == expected.keys()
        for site, histogram in expected.items():
            assert found[site].total == histogram.total
            # Float sums depend on the batch in their last bits: a value on an edge may change its bin.
            assert moved(found[site], histogram) <= max(2, 1e-4 * histogram.total), site


def test_arguments_are_those_that_the_architecture_reads():
    assert len(tiny("bert").example) == 3  # types of tokens tell two texts apart
    assert [len(tiny(kind, types=1).example) for kind in ("mpnet", "roberta", "distilbert")] == [2, 2, 2]
    assert (tiny("bert").pad, tiny("mpnet").pad) == ((0.0, 0.0, 0.0), (1.0, 0.0))


def test_noise_is_a_text_of_full_length_that_the_seed_draws():
    network = tiny()
    ids, mask, types = network.random_item(5)
    assert ids.shape == mask.shape == types.shape == (64,) and mask.all() and not types.any()
    assert ids.min() >= 0 and ids.max() < 120
    assert torch.equal(network.random_item(5)[0], ids) and not torch.equal(network.random_item(6)[0], ids)
    assert [tensor.shape for tensor in network.example] == [(1, 64)] * 3


def test_noise_of_images_has_the_shape_of_the_example():
    network = networks.load({"name": "resnet20_fashion", "family": "fashion", "weights": "random", "seed": 0})
    (image,) = network.random_item(3)
    assert image.shape == (1, 28, 28) and image.is_floating_point()
    assert torch.equal(network.random_item(3)[0], image) and not torch.equal(network.random_item(4)[0], image)


def test_random_weights_follow_the_seed():
    states = [tiny(seed=seed).module.state_dict() for seed in (0, 0, 1)]
    key = "embeddings.word_embeddings.weight"
    assert torch.equal(states[0][key], states[1][key]) and not torch.equal(states[0][key], states[2][key])
    assert (tiny().weights, tiny(seed=1).weights) == ("random:0", "random:1")


def test_an_embedding_is_the_mean_over_the_text_without_padding():
    network = tiny()
    (ids, mask, types), *_ = texts(network)
    with torch.no_grad():
        hidden = type(network.module).__mro__[1].forward(network.module, ids[None], mask[None], types[None])
    assert close(alone(network.module, (ids, mask, types)), hidden.last_hidden_state[0].mean(0))
    assert not any(name.startswith("pooler") for name, _ in network.module.named_modules())


def test_the_answer_to_two_texts_is_the_cosine_of_their_embeddings():
    decode = tiny().decode
    outputs = torch.tensor([[3.0, 4.0], [4.0, 3.0]])
    assert decode(("a", "b"), outputs) == pytest.approx(24 / 25)
    assert decode(("a", "b"), torch.tensor([[1.0, 0.0], [-2.0, 0.0]])) == pytest.approx(-1)
    with pytest.raises(UserError, match="reads a pair of texts"):
        decode("a", outputs[:1])


@pytest.mark.parametrize(
    ("head", "raw", "wanted"),
    [
        ("sequence_classification", np.zeros((28, 28, 1), np.uint8), "a text or a pair of texts"),
        ("embedding", np.zeros((28, 28, 1), np.uint8), "a text or a pair of texts"),
        ("question_answering", np.zeros((28, 28, 1), np.uint8), "a pair of texts"),
        ("question_answering", "a text", "a pair of texts"),
        ("sequence_classification", ("a", "b", "c"), "a text or a pair of texts"),
        ("embedding", ("a", 1), "a text or a pair of texts"),
    ],
)
def test_samples_of_another_kind_are_refused(tmp_path, head, raw, wanted):
    network = tiny(head=head, path=str(marked_network(tmp_path, {})))
    with pytest.raises(UserError, match=f"^tiny reads {wanted}, .*choose another task$"):
        network.preprocess(raw)
