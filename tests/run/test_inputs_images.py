"""Items of one shape: their order, layout, and what is decoded once."""

import re

import pytest
import torch
from torch import nn

from quantbench.errors import UserError
from quantbench.networks.network import Network
from quantbench.run import inputs as inputs_module
from quantbench.run.inputs import Inputs, in_fast_layout
from quantbench.run.predict import predict
from quantbench.tasks.sampling import reading
from quantbench.tasks.task import Sample
from tests.run.test_inputs import Loud, network, samples


class Images(nn.Module):
    def forward(self, image):
        return image.mean((2, 3))


def images(keep=False, read=lambda raw: raw):
    found = Network("images", Images(), lambda raw: [(read(raw),)], (torch.zeros(1, 3, 4, 4),), "random:0", "none")
    raws = torch.arange(5 * 48, dtype=torch.float32).reshape(5, 3, 4, 4)
    return Inputs(found, [Sample(str(i), reading(raw), None) for i, raw in enumerate(raws)], keep)


def test_items_of_one_shape_keep_their_order_and_lie_channels_last():
    batches = list(images().batches(2, "cpu", ""))
    assert [indices for indices, _ in batches] == [[0, 1], [2, 3], [4]]
    assert all(batch.is_contiguous(memory_format=torch.channels_last) for _, (batch,) in batches)
    assert images().owned == [[0], [1], [2], [3], [4]]
    assert in_fast_layout(torch.zeros(2, 3)).is_contiguous()


def test_small_inputs_are_decoded_once(monkeypatch):
    decoded = []

    def read(raw):
        decoded.append(raw)
        return raw

    for keep, expected in ((True, 5), (False, 10)):
        given = images(keep, read)
        decoded.clear()
        for _ in range(2):
            predict(given.network.module, given, 2, "cpu", "")
        assert len(decoded) == expected
    monkeypatch.setattr(inputs_module, "KEPT_BYTES", 5 * 48 * 4 - 1)
    given = images(True, read)
    decoded.clear()
    for _ in range(2):
        predict(given.network.module, given, 2, "cpu", "")
    assert len(decoded) == 10


def test_a_broken_output_names_the_first_sample_and_the_site():
    module = Loud()
    module.words.weight.data[7] = float("inf")
    given = Inputs(network(module), samples("1 2", "3", "1 7", "7"), keep=True)
    message = "fp32: the output is NaN or infinite for 2 of 4 samples, first for s2; it comes up at site first.input: "
    with pytest.raises(UserError, match=re.escape(message)):
        predict(module, given, 4, "cpu", "fp32")
    module = Loud()
    module.second.bias.data[:] = float("nan")
    given = Inputs(network(module), samples("1"))
    with pytest.raises(UserError, match=r"it comes up at the network's output, after its last layer$"):
        predict(module, given, 4, "cpu", "fp32")
