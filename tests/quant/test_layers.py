from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quantbench.quant.layers import find_layers
from tests.quant.helpers import Function, sites

P = torch.randn


@pytest.mark.parametrize(
    ("module", "x", "parameters", "macs"),
    [
        # outputs x (inputs / groups) x kernel, by hand
        (nn.Conv1d(4, 6, 3, padding=1), P(1, 4, 10), 6 * 4 * 3 + 6, 60 * 12),
        (nn.Conv2d(4, 6, 3, stride=2), P(1, 4, 9, 7), 6 * 4 * 9 + 6, 6 * 4 * 3 * 36),
        (nn.Conv2d(4, 8, 3, groups=4, bias=False), P(1, 4, 5, 5), 8 * 9, 8 * 9 * 9),
        (nn.Conv3d(2, 3, 2), P(1, 2, 3, 3, 3), 3 * 16 + 3, 3 * 8 * 16),
        # inputs x (outputs / groups) x kernel
        (nn.ConvTranspose1d(4, 6, 3, stride=2), P(1, 4, 5), 4 * 6 * 3 + 6, 20 * 18),
        (nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), P(1, 4, 3, 3), 4 * 3 * 4 + 6, 36 * 3 * 4),
        (nn.Linear(5, 7), P(1, 5), 42, 35),
        (nn.Linear(5, 7, bias=False), P(1, 3, 5), 35, 105),
        (Function(lambda s, x: x @ x.mT), P(2, 3, 4), 0, 2 * 9 * 4),
        (Function(lambda s, x: torch.baddbmm(P(2, 3, 3), x, x.mT)), P(2, 3, 4), 0, 2 * 9 * 4),
        (Function(lambda s, x: torch.addmm(s.p1, x, s.p0), P(4, 5), P(5)), P(3, 4), 25, 60),
        (Function(lambda s, x: s.p0 @ x, P(5, 4)), P(4, 3), 20, 60),
        (Function(lambda s, x: x @ s.p0, P(4)), P(3, 4), 4, 12),
        (Function(lambda s, x: F.linear(x, s.p0), P(4)), P(3, 4), 4, 12),
        (Function(lambda s, x: torch.addmm(x, x, s.p0), P(4, 4)), P(4, 4), 16, 64),
    ],
)
def test_parameters_and_multiplications_are_those_counted_by_hand(module, x, parameters, macs):
    (layer,) = find_layers(module, x)
    assert (layer.parameters, layer.macs) == (parameters, macs)


def test_multiplications_of_all_calls_add_up_and_parameters_do_not():
    linear = nn.Linear(4, 4)
    (layer,) = find_layers(nn.Sequential(linear, linear, linear), P(1, 4))
    assert (layer.parameters, layer.macs) == (20, 48)


def test_attention_multiplies_for_scores_and_for_values():
    q, k, v = P(1, 2, 3, 4), P(1, 2, 5, 4), P(1, 2, 5, 6)
    scores, values = find_layers(Function(lambda s: F.scaled_dot_product_attention(q, k, v)))
    assert (scores.macs, values.macs) == (2 * 3 * 5 * 4, 2 * 3 * 5 * 6)


def test_layers_come_in_the_order_of_their_first_execution():
    module = nn.ModuleDict({"b": nn.Linear(2, 2), "a": nn.Linear(2, 2)})
    module.forward = lambda x: module["b"](module["a"](module["b"](x)) @ x)
    assert [layer.name for layer in find_layers(module, P(2, 2))] == ["b", "a", "matmul_0"]


def test_sites_carry_the_operand_s_shape_and_only_weights_carry_a_tensor():
    conv = nn.Conv2d(4, 6, 3, groups=2)
    (layer,) = find_layers(nn.Sequential(conv), P(2, 4, 5, 5))
    first, second = layer.sites
    assert (first.name, first.operand, first.shape, first.channel, first.weight) == (
        *("0.input", "input"),
        (2, 4, 5, 5),
        *(None, None),
    )
    assert (second.name, second.operand, second.shape) == ("0.weight", "weight", (6, 2, 3, 3))
    assert torch.equal(second.weight, conv.weight)
    assert not second.weight.requires_grad


def test_a_layer_is_immutable():
    (layer,) = find_layers(nn.Linear(2, 2), P(1, 2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.name = "other"


def test_a_module_without_layers_has_none():
    assert find_layers(nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3), nn.LayerNorm(3)).eval(), P(2, 3)) == []


def test_finding_changes_neither_parameters_nor_buffers_nor_gradients():
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.ReLU()).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    find_layers(module, P(2, 2, 4, 4))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())


def test_finding_twice_gives_the_same_layers():
    module, x = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), P(1, 3, 8)
    first, second = find_layers(module, x), find_layers(module, x)
    assert first == second
    every = [name for layer in first for name in sites(layer)]
    assert len(every) == len(set(every))
