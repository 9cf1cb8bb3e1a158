from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from quantbench.quant.granularity import PerChannel, PerTensor, reduce_min_max, split_groups
from quantbench.quant.scheme import Scheme
from tests.quant.helpers import Function, calls_of, mappings_for


def test_per_tensor_is_the_least_and_the_largest_value_of_all():
    low, high = reduce_min_max(torch.tensor([[1.0, -7.0], [3.0, 2.0]]), PerTensor())
    assert (float(low), float(high)) == (-7, 3)
    assert low.numel() == high.numel() == 1


@pytest.mark.parametrize(("axis", "low", "high"), [(0, [[-7], [2]], [[1], [3]]), (1, [[1, -7]], [[3, 2]])])
def test_per_channel_reduces_every_axis_but_its_own(axis, low, high):
    x = torch.tensor([[1.0, -7.0], [3.0, 2.0]])
    for same_axis in (axis, axis - 2):
        lows, highs = reduce_min_max(x, PerChannel(same_axis))
        assert (lows.tolist(), highs.tolist()) == (low, high)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_a_channel_of_a_grouped_transposed_convolution_is_its_block_and_its_index(groups, inputs, outputs, kernel):
    x = torch.randn(groups * inputs, outputs, kernel, kernel)
    low, high = reduce_min_max(x, PerChannel(1, groups))
    low, high = low.expand_as(x), high.expand_as(x)
    for g in range(groups):
        rows = slice(g * inputs, (g + 1) * inputs)
        for o in range(outputs):
            assert (low[rows, o] == x[rows, o].min()).all()
            assert (high[rows, o] == x[rows, o].max()).all()


def test_splitting_groups_keeps_the_order_of_values():
    x = torch.arange(24.0).view(6, 2, 2)
    assert torch.equal(split_groups(x, 3)[1], x[2:4])


P = torch.randn
MODULES = {
    "conv1d": (nn.Conv1d(4, 6, 3, groups=2), P(1, 4, 7)),
    "conv2d": (nn.Conv2d(4, 6, 3), P(1, 4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), P(1, 4, 5, 5)),
    "conv3d": (nn.Conv3d(2, 3, 2), P(1, 2, 3, 3, 3)),
    "conv_transpose1d": (nn.ConvTranspose1d(4, 6, 3, groups=2), P(1, 4, 7)),
    "conv_transpose2d": (nn.ConvTranspose2d(6, 9, 2, groups=3, stride=2), P(1, 6, 3, 3)),
    "conv_transpose3d": (nn.ConvTranspose3d(2, 3, 2), P(1, 2, 3, 3, 3)),
    "linear": (nn.Linear(5, 4), P(2, 5)),
    "addmm": (Function(lambda s, x: torch.addmm(s.p1, x, s.p0), P(5, 4), P(4)), P(2, 5)),
    "weight on the right": (Function(lambda s, x: x @ s.p0, P(5, 4)), P(2, 3, 5)),
    "batched weight": (Function(lambda s, x: torch.bmm(x, s.p0), P(2, 5, 4)), P(2, 3, 5)),
    "weight on the left": (Function(lambda s, x: s.p0 @ x, P(4, 5)), P(5, 3)),
    "same weight in linear": (Function(lambda s, x: F.linear(x, s.p0), P(4, 5)), P(2, 5)),
}
CHANNELS = {"conv1d": 6, "conv2d": 6, "depthwise": 8, "conv3d": 3, "batched weight": 2 * 4}
CHANNELS |= {"conv_transpose1d": 6, "conv_transpose2d": 9, "conv_transpose3d": 3}


@pytest.mark.parametrize("name", MODULES)
def test_all_weights_that_are_summed_into_one_output_share_one_scale(name):
    module, x = MODULES[name]
    (call,) = calls_of(module, x)
    mappings = mappings_for(module, x)
    index = [operand.is_weight for operand in call.operands].index(True)
    operand = call.operands[index]
    weight = operand.tensor.detach().abs().requires_grad_()
    scale = mappings[operand.site].scale.expand_as(weight)
    ones = [None, None]
    ones[index], ones[1 - index] = weight, torch.ones_like(call.operands[1 - index].tensor)
    output = call.run(*ones)
    used = torch.zeros_like(weight, dtype=torch.bool)
    for value in output.flatten():
        (gradient,) = torch.autograd.grad(value, weight, retain_graph=True)
        assert len(scale[gradient != 0].unique()) <= 1
        used |= gradient != 0
    assert used.all()
    assert len(scale.unique()) == CHANNELS.get(name, 4)  # as fine as it may be: no two output channels share one


@pytest.mark.parametrize("name", MODULES)
def test_per_tensor_has_one_scale_for_all_weights(name):
    mappings = mappings_for(*MODULES[name], scheme=Scheme(weight_granularity="per_tensor"))
    assert all(mapping.scale.numel() == 1 for mapping in mappings.values())


@pytest.mark.parametrize("name", MODULES)
def test_activations_always_have_one_scale(name):
    module, x = MODULES[name]
    (call,) = calls_of(module, x)
    mappings = mappings_for(module, x)
    (activation,) = [operand for operand in call.operands if not operand.is_weight]
    assert mappings[activation.site].scale.numel() == 1
