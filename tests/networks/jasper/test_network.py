"""Jasper and QuartzNet: their sizes, the letters of an utterance whatever is beside it, and CTC."""

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from quantbench import networks
from quantbench.errors import UserError
from quantbench.networks.jasper.features import features
from quantbench.networks.jasper.network import ARCHITECTURES, BLANK, LETTERS, Acoustic, Stage, greedy, steps
from quantbench.networks.random_weights import seeded
from quantbench.quant.layers import find_layers
from quantbench.run.inputs import Inputs
from quantbench.run.predict import predict
from quantbench.tasks.task import Sample


def load(name, **options):
    return networks.load({"name": name, "family": "jasper", "weights": "random", "seed": 0, **options})


@pytest.fixture(scope="module")
def mini():
    return load("jasper_mini")


def tiny(**options):
    """Few channels, every kind of stage."""
    stages = [
        Stage(8, 11, stride=2),
        *(Stage(8, 5, repeat=2, **options) for _ in range(2)),
        Stage(12, 7, dilation=2),
        Stage(12, 1),
    ]
    module = seeded(lambda: Acoustic(stages), 1)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d):
            norm.running_mean.uniform_(-1, 1)  # a shift makes padding differ from zero
    return module.eval()


def test_the_networks_have_the_parameters_of_their_papers():
    counts = {}
    for name in ("jasper", "quartznet15x5"):
        with torch.device("meta"):
            counts[name] = sum(p.numel() for p in Acoustic(ARCHITECTURES[name]()).parameters())
    assert counts == {"jasper": 332_632_349, "quartznet15x5": 18_924_381}  # "333 M" and "18.9 M"


def test_jasper_is_that_of_table_1():
    with torch.device("meta"):
        module = Acoustic(ARCHITECTURES["jasper"]())
    kernels = [[conv[0].kernel_size[0] for conv in block.convolutions] for block in module.blocks]
    assert kernels == [[11], *([[k] * 5 for k in (11, 13, 17, 21, 25) for _ in range(2)]), [29], [1]]
    widths = [block.convolutions[-1][0].out_channels for block in module.blocks]
    assert widths == [256, 256, 256, 384, 384, 512, 512, 640, 640, 768, 768, 896, 1024]
    assert [len(block.shortcuts) for block in module.blocks] == [0, *range(1, 11), 0, 0]
    last = [shortcut[0].in_channels for shortcut in module.blocks[10].shortcuts]
    assert last == [256, 256, 256, 384, 384, 512, 512, 640, 640, 768]
    assert module.blocks[0].convolutions[0][0].stride == (2,) and module.blocks[11].convolutions[0][0].dilation == (2,)


def test_quartznet_separates_time_from_channels():
    with torch.device("meta"):
        module = Acoustic(ARCHITECTURES["quartznet15x5"]())
    first, second = module.blocks[7].convolutions[1]
    assert (first.groups, first.kernel_size, second.groups, second.kernel_size) == (512, (51,), 1, (1,))
    assert [len(block.shortcuts) for block in module.blocks] == [0, *[1] * 15, 0, 0]


@pytest.mark.parametrize(
    "options", [{"residual": "dense"}, {"residual": "plain", "separable": True}, {"residual": None}]
)
def test_padding_and_neighbours_change_nothing(options):
    module = tiny(**options)
    generator = torch.Generator().manual_seed(0)
    lengths = [61, 40, 1, 60]
    alone = [torch.randn(1, 64, length, generator=generator) for length in lengths]
    batch = torch.full((4, 64, 75), 1e3)  # what lies behind the end is not read, whatever it is
    for row, one in zip(batch, alone, strict=True):
        row[:, : one.shape[2]] = one
    with torch.no_grad():
        together = module(batch, torch.tensor(lengths)[:, None])
        assert together.shape == (4, 38, BLANK + 1)
        for row, one, length in zip(together, alone, lengths, strict=True):
            expected = module(one)[0]
            assert len(expected) == steps(torch.tensor(length), 2) == -(-length // 2)
            torch.testing.assert_close(row[: len(expected)], expected)
            assert not row[len(expected) :].any()


def test_a_dense_block_hears_all_blocks_before_it():
    """The last block, its own convolutions silenced, is the sum of its shortcuts."""
    module = tiny(residual="dense")
    seen = []
    for block in module.blocks[:3]:
        block.register_forward_hook(lambda _, arguments, result: seen.append(result[0]))
    last = module.blocks[2]
    nn.init.zeros_(last.convolutions[-1][0].weight)
    nn.init.zeros_(last.norms[-1].running_mean)
    with torch.no_grad():
        module(torch.randn(1, 64, 30, generator=torch.Generator().manual_seed(0)))
        expected = torch.relu(last.shortcuts[0](seen[0]) + last.shortcuts[1](seen[1]))
    torch.testing.assert_close(seen[2], expected)


def test_greedy_merges_repeats_and_leaves_out_blanks_and_padding():
    symbols = [*"  hheel", BLANK, *"lloo", BLANK, " ", BLANK, " ", *"joe's "]
    logits = torch.zeros(len(symbols) + 3, BLANK + 1)  # three steps of padding
    for step, symbol in enumerate(symbols):
        logits[step, symbol if symbol == BLANK else LETTERS.index(symbol)] = 5.0
    assert greedy(logits) == "hello joe's"
    assert greedy(torch.zeros(4, BLANK + 1)) == ""


def test_a_network_reads_sounds_of_any_length(mini):
    assert mini.weights == "random:0" and not mini.module.training
    rng = np.random.default_rng(0)
    sounds = [rng.standard_normal(size).astype(np.float32) for size in (9000, 16000, 4321)]
    [(bands, length)] = mini.preprocess(sounds[0])
    assert torch.equal(bands, features(sounds[0])) and length.tolist() == [57]
    samples = [Sample(str(i), lambda sound=sound: sound, "") for i, sound in enumerate(sounds)]
    inputs = Inputs(mini, samples)
    outputs = predict(mini.module, inputs, 3, "cpu", "")
    assert outputs.shape == (3, 34, 29)
    assert torch.allclose(outputs, predict(mini.module, inputs, 1, "cpu", ""), atol=1e-5)
    heard = inputs.answers(outputs)
    assert heard == [greedy(row) for row in outputs] and all(set(text) <= set(LETTERS) for text in heard)


def test_every_convolution_is_a_layer(mini):
    layers = find_layers(mini.module, *mini.example)
    assert len(layers) == 1 + 3 * 3 + (1 + 2 + 3) + 2 + 1 and {layer.kind for layer in layers} == {"conv1d"}
    assert sum(p.numel() for p in mini.module.parameters()) == 4_282_653
    assert [tensor.shape for tensor in mini.random_item(1)] == [(64, 1000), (1,)]
    assert mini.random_item(1)[1].tolist() == [1000]


def test_weights_of_a_file(tmp_path):
    path = tmp_path / "mine.safetensors"
    module = seeded(lambda: Acoustic(ARCHITECTURES["jasper_mini"]()), 9)
    save_file({k: t.half() if t.ndim > 1 else t for k, t in module.state_dict().items()}, path)
    network = load("mine", arch="jasper_mini", weights=str(path))
    assert network.weights == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert network.module.head.weight.dtype == torch.float32
    assert torch.equal(network.module.head.weight, module.head.weight.half().float())


def test_what_cannot_be_had():
    with pytest.raises(UserError, match=r"no weights of jasper can be fetched: give model.weights=FILE or .*random"):
        load("jasper", weights=None)
    with pytest.raises(
        UserError, match=r"no network 'wav2letter' in the family jasper: there are jasper, quartznet15x5"
    ):
        load("wav2letter")
