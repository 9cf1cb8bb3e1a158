from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quantbench.quant.intercept.mode import intercept
from quantbench.quant.layers import find_layers
from quantbench.quant.mapping import scale_mapping
from quantbench.quant.observe import observe
from quantbench.quant.simulate import simulate
from tests.quant.helpers import Function

P = torch.randn


def adds_of(module: nn.Module, *example: object) -> list[str]:
    return [layer.name for layer in find_layers(module, *example, residual_adds=True) if layer.kind == "add"]


WAYS = {
    "+": lambda a, b: a + b,
    "__add__": lambda a, b: a.__add__(b),
    "__radd__": lambda a, b: a.__radd__(b),
    "torch.add": torch.add,
    "torch.add with keywords": lambda a, b: torch.add(input=a, other=b, alpha=1),
    "torch.add into": lambda a, b: torch.add(a, b, out=torch.empty_like(a)),
    "Tensor.add": lambda a, b: a.add(b),
    "Tensor.add with a keyword": lambda a, b: a.add(other=b),
    "+=": lambda a, b: a.__iadd__(b),
    "add_": lambda a, b: a.add_(b),
    "add_ with keywords": lambda a, b: a.add_(other=b, alpha=1),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_add_two_activations_is_a_layer(way):
    module, x = nn.Sequential(Function(lambda s, x: WAYS[way](F.linear(x, s.p0), x), 2 * torch.eye(2))), P(1, 2)
    linear, add = find_layers(module, x, residual_adds=True)
    assert (linear.name, add.name, add.kind) == ("0.linear_0", "0.add_0", "add")
    assert [(s.name, s.operand, s.shape) for s in add.sites] == [
        ("0.add_0.lhs", "lhs", (1, 2)),
        ("0.add_0.rhs", "rhs", (1, 2)),
    ]
    assert [(site.weight, site.channel) for site in add.sites] == [(None, None)] * 2
    assert (add.parameters, add.macs) == (0, 0)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_both_operands_are_quantized(way, gradients):
    if gradients and way == "torch.add into":
        pytest.skip("torch records no gradient through out=")
    module = Function(lambda s, x: WAYS[way](F.linear(x, s.p0), x), 2 * torch.eye(2))
    x = torch.tensor([[1.4, 127.0]])
    mappings = {
        "add_0.lhs": scale_mapping(torch.tensor(254.0), 8),  # steps of 2: 2.8 becomes 2
        "add_0.rhs": scale_mapping(torch.tensor(127.0), 8),  # steps of 1: 1.4 becomes 1
    }
    with torch.set_grad_enabled(gradients), simulate(module, mappings, residual_adds=True):
        result = module(x)
    assert result.tolist() == [[3.0, 381.0]]
    assert result.requires_grad == gradients
    assert x.tolist() == torch.tensor([[1.4, 127.0]]).tolist()


def test_an_addition_in_place_changes_the_tensor_that_the_network_keeps():
    def forward(s, x):
        y = F.linear(x, s.p0)
        kept, row = y, y[0]
        y += x
        assert y is kept
        return torch.stack([kept[0], row])

    module, x = Function(forward, 2 * torch.eye(2)), torch.tensor([[1.4, 127.0]])
    mappings = {f"add_0.{side}": scale_mapping(torch.tensor(127.0), 8) for side in ("lhs", "rhs")}
    with torch.no_grad(), simulate(module, mappings, residual_adds=True):
        assert module(x).tolist() == [[4.0, 254.0]] * 2  # lhs 3 and 127 (clipped), rhs 1 and 127


def test_gradients_pass_straight_through_both_operands():
    module, x = Function(lambda s, x: F.linear(x, s.p0) + x, torch.eye(2)), torch.tensor([[1.4, 99.0]])
    mappings = {
        "add_0.lhs": scale_mapping(torch.tensor(50.0), 8),
        "add_0.rhs": scale_mapping(torch.tensor(127.0), 8),
    }
    x.requires_grad_()
    with simulate(module, mappings, residual_adds=True):
        module(x).sum().backward()
    assert x.grad.tolist() == [[2.0, 1.0]]  # 99 is outside of the range of lhs


def test_calibration_sees_both_operands():
    module, x = Function(lambda s, x: F.linear(x, s.p0) + x, 2 * torch.eye(2)), torch.tensor([[1.0, -3.0]])
    with torch.no_grad(), observe(module, residual_adds=True) as counters:
        module(x)
    ends = {site: (counter.histogram().low, counter.histogram().high) for site, counter in counters.items()}
    assert ends == {"linear_0.input": (-3, 1), "add_0.lhs": (-6, 2), "add_0.rhs": (-3, 1)}


IDS = torch.tensor([[1, 2, 0]])


def attention(s, x, mask):
    """Attention of one head over one sample: scores and mask are both [1, 1, L, L]."""
    q = F.linear(x, s.p0)[:, None]
    return torch.softmax(q @ q.mT + mask, -1) @ q


def padding(ids):
    return ids.eq(0)[:, None, None].float().expand(1, 1, 3, 3) * -9


def positions(s):
    return F.embedding(torch.arange(3)[None], s.p0)


def gelu_by_hand(h):
    return 0.5 * h * (1 + torch.tanh(0.8 * (h + 0.044715 * torch.pow(h, 3))))


def rotary(h):
    angle = torch.arange(3)[:, None] * torch.ones(4)
    return h * angle.cos() + torch.cat([-h[..., 2:], h[..., :2]], -1) * angle.sin()


OTHER_SUMS = {
    "a number": (lambda s, x: F.linear(x, s.p0) + 1.0, P(1, 3, 4)),
    "a number to it": (lambda s, x: 1.0 + F.linear(x, s.p0), P(1, 3, 4)),
    "a bias": (lambda s, x: F.linear(x, s.p0) + s.p1, P(1, 3, 4)),
    "a parameter of the same shape": (lambda s, x: F.linear(x, s.p0) + s.p0, P(4, 4)),
    "a view of a parameter": (lambda s, x: F.linear(x, s.p0) + s.p0.t(), P(4, 4)),
    "what a layer makes of parameters": (lambda s, x: F.linear(x, s.p0) + F.linear(s.p0, s.p0), P(4, 4)),
    "a constant": (lambda s, x: F.linear(x, s.p0) + torch.arange(12.0).view(1, 3, 4), P(1, 3, 4)),
    "a multiple": (lambda s, x: torch.add(F.linear(x, s.p0), x, alpha=2), P(1, 3, 4)),
    "a multiple in place": (lambda s, x: F.linear(x, s.p0).add_(x, alpha=-1), P(1, 3, 4)),
    "with broadcasting": (lambda s, x: (h := F.linear(x, s.p0)) + F.linear(h, s.p0).mean(1, keepdim=True), P(1, 3, 4)),
    "integers": (lambda s, x: F.linear(x, s.p0).int() + x.int(), P(1, 3, 4)),
    "a comparison": (lambda s, x: (h := F.linear(x, s.p0)) + (h > 0).float(), P(1, 3, 4)),
    "zeros like it": (lambda s, x: (h := F.linear(x, s.p0)) + torch.zeros_like(h).fill_diagonal_(-9.0), P(3, 4)),
    "positions": (lambda s, x: F.embedding(x, s.p0) + positions(s), IDS),
    "positions made of the ids": (lambda s, x: F.embedding(x, s.p0) + F.embedding(x.ne(0).cumsum(1), s.p0), IDS),
    "three look-ups": (lambda s, x: F.embedding(x, s.p0) + F.embedding(x, s.p0) * 2 + F.embedding(x, s.p0), IDS),
    "positions to a layer's output": (lambda s, x: F.linear(F.embedding(x, s.p0), s.p0) + positions(s), IDS),
    "a causal mask": (lambda s, x: attention(s, x, torch.full((1, 1, 3, 3), -9.0).triu(1)), P(1, 3, 4)),
    "a mask of padding": (lambda s, x: attention(s, F.embedding(x, s.p0), padding(x)), IDS),
    "a GELU by hand": (lambda s, x: gelu_by_hand(F.linear(x, s.p0)), P(1, 3, 4)),
    "rotary positions": (lambda s, x: rotary(F.linear(x, s.p0)), P(1, 3, 4)),
}


@pytest.mark.parametrize("name", OTHER_SUMS)
def test_other_sums_are_no_residual_additions(name):
    function, x = OTHER_SUMS[name]
    module = Function(function, P(4, 4), P(4))
    assert adds_of(module, x) == []
    expected = module(x)
    with torch.no_grad(), intercept(module, lambda call: call.run(), residual_adds=True):
        assert torch.equal(module(x), expected)


def test_a_mask_of_floats_that_is_given_from_outside_is_none_either():
    module = Function(attention, P(4, 4))
    assert adds_of(module, P(1, 3, 4), torch.zeros(1, 1, 3, 3)) == []
    fused = Function(lambda s, x, m: F.scaled_dot_product_attention(*[F.linear(x, s.p0)] * 3, m), P(4, 4))
    assert adds_of(fused, P(1, 1, 3, 4), torch.zeros(1, 1, 3, 3)) == []


@pytest.mark.parametrize(
    "function, x",
    [
        (lambda s, x: x + F.linear(F.layer_norm(x, (4,)), s.p0), P(1, 3, 4)),
        (lambda s, x: (e := F.embedding(x, s.p0)) + F.linear(e, s.p0), IDS),
        (lambda s, x: (e := F.layer_norm(F.embedding(x, s.p0), (4,))) + F.linear(e, s.p0), IDS),
        (lambda s, x: (h := F.linear(x, s.p0)) + h * F.linear(h.mean(1, keepdim=True), s.p0).sigmoid(), P(1, 3, 4)),
        (lambda s, x: F.linear(x, s.p0) + F.linear(x, s.p0.t()), P(1, 3, 4)),
        (lambda s, x: (h := F.linear(x, s.p0)) + F.dropout(F.linear(torch.zeros_like(h).copy_(h), s.p0)), P(1, 3, 4)),
    ],
    ids=["input", "embedding", "normalized embedding", "gate", "two branches", "copied"],
)
def test_two_paths_of_which_one_goes_through_a_layer_are_joined_by_a_residual_addition(function, x):
    assert adds_of(Function(function, P(4, 4)), x) == ["add_0"]


def test_chains_are_followed_through_what_is_written_into_new_memory():
    def forward(s, x):
        batch = x.new_full((1, 3, 4), 0.0)
        batch[0, :, :].copy_(x[0])  # as torchvision's detectors batch their images
        h = F.linear(batch, s.p0)
        kept = torch.zeros_like(h)
        kept[:] = h
        return kept + F.linear(h, s.p0)

    assert adds_of(Function(forward, P(4, 4)), P(1, 3, 4)) == ["add_0"]


def test_several_additions_of_a_module_are_numbered():
    module = nn.Sequential(Function(lambda s, x: (y := x + F.linear(x, s.p0)) + F.linear(y, s.p0), P(4, 4)))
    assert adds_of(module, P(1, 4)) == ["0.add_0", "0.add_1"]


def test_a_part_that_is_called_from_outside_has_inputs_too():
    module = nn.ModuleDict({"encoder": nn.Sequential(Function(lambda s, x: x + F.linear(x, s.p0), P(4, 4)))})
    seen = []
    with torch.no_grad(), intercept(module, lambda call: (seen.append(call.layer), call.run())[1], residual_adds=True):
        module["encoder"](P(1, 4))
    assert seen == ["encoder.0.linear_0", "encoder.0.add_0"]
