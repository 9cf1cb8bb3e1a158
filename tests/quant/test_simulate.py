from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from quantbench.quant import mapping as maps
from quantbench.quant.layers import find_layers
from quantbench.quant.scheme import Scheme, build_mappings, weight_ranges
from quantbench.quant.simulate import _Scratch, fake_quantize_into, simulate
from quantbench.quant.tensors import CHUNK
from tests.quant.helpers import Function, mappings_for, naive_scale_quantize

P = torch.randn


def scale(alpha: float, bits: int = 8) -> maps.Mapping:
    return maps.scale_mapping(torch.tensor(alpha), bits)


def affine(beta: float, alpha: float, bits: int = 8) -> maps.Mapping:
    return maps.affine_mapping(torch.tensor(beta), torch.tensor(alpha), bits)


BASE = P(4, 6, 10, 8)
LAYOUTS = {
    "contiguous": BASE,
    "channels last": BASE.to(memory_format=torch.channels_last),
    "transposed": BASE.transpose(0, 2),
    "permuted": BASE.permute(3, 0, 2, 1),
    "strided slice": BASE[:, ::2, 1:, ::3],
    "expanded": BASE[:1, :, :, :1].expand(4, 6, 10, 5),
    "scalar": BASE[0, 0, 0, 0],
    "empty": BASE[:0],
    "not the start of its memory": BASE.flatten()[17:301],
    "longer than a chunk": P(CHUNK + 11),
}


@pytest.mark.parametrize("mapping", [scale(1.3), scale(0.7, 3), scale(0.0), affine(-0.4, 1.7), affine(0.0, 0.9, 4)])
@pytest.mark.parametrize("name", LAYOUTS)
def test_quantizing_into_scratch_equals_fake_quantize_in_every_layout(name, mapping):
    x = LAYOUTS[name]
    before = x.clone()
    result = fake_quantize_into(x, mapping, _Scratch())
    assert torch.equal(result, maps.fake_quantize(x, mapping))
    assert torch.equal(x, before)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(allow_nan=False, width=32), min_size=1),
    st.integers(2, 8),
    st.floats(2**-20, 2**20, width=32),
    st.booleans(),
)
def test_quantizing_into_scratch_is_bit_identical_to_fake_quantize(values, bits, alpha, symmetric):
    x = torch.tensor(values, dtype=torch.float32)
    mapping = scale(alpha, bits) if symmetric else affine(-alpha / 3, alpha, bits)
    result, expected = fake_quantize_into(x, mapping, _Scratch()), maps.fake_quantize(x, mapping)
    assert torch.equal(result.view(torch.int32), expected.view(torch.int32))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_quantizing_into_scratch_keeps_the_float_type(dtype):
    x = P(1000).to(dtype)
    result = fake_quantize_into(x, scale(1.0), _Scratch())
    assert result.dtype == dtype
    assert torch.equal(result, maps.fake_quantize(x, scale(1.0)))


def test_channels_last_stays_channels_last():
    x = LAYOUTS["channels last"]
    assert fake_quantize_into(x, scale(1.0), _Scratch()).is_contiguous(memory_format=torch.channels_last)


def test_scratch_is_used_again_and_grows():
    scratch = _Scratch()
    first = fake_quantize_into(P(100), scale(1.0), scratch)
    second = fake_quantize_into(P(50), scale(1.0), scratch)
    assert first.data_ptr() == second.data_ptr()
    x = P(1000)
    assert torch.equal(fake_quantize_into(x, scale(1.0), scratch), maps.fake_quantize(x, scale(1.0)))
    y = P(10).double()
    assert torch.equal(fake_quantize_into(y, scale(1.0), scratch), maps.fake_quantize(y, scale(1.0)))


class Small(nn.Module):
    """Convolutions, a residual, a product of two activations and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.linear = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.first(x))
        y = self.second(y) + y
        rows = y.flatten(2)
        return self.linear((rows @ rows.mT).flatten(1)[:, :16])


def naive_small(module: Small, x: torch.Tensor, bits: int = 8) -> torch.Tensor:
    """The whole network quantized with formulas only; activation ranges come from a float run."""

    def quantized(tensor: torch.Tensor, alpha: np.ndarray | float) -> torch.Tensor:
        return torch.from_numpy(naive_scale_quantize(tensor.detach().numpy(), alpha, bits))

    def weight(layer: nn.Module) -> torch.Tensor:
        w = layer.weight.detach()
        return quantized(w, w.abs().flatten(1).amax(1).view(-1, *[1] * (w.ndim - 1)).numpy())

    def conv(tensor: torch.Tensor, layer: nn.Conv2d, alpha: float) -> torch.Tensor:
        return F.conv2d(quantized(tensor, alpha), weight(layer), layer.bias, padding=1, groups=layer.groups)

    def largest(tensor: torch.Tensor) -> float:
        return float(tensor.abs().max())

    y0 = F.relu(module.first(x))
    r0 = (module.second(y0) + y0).flatten(2)
    l0 = (r0 @ r0.mT).flatten(1)[:, :16]
    y = F.relu(conv(x, module.first, largest(x)))
    rows = (conv(y, module.second, largest(y0)) + y).flatten(2)
    product = quantized(rows, largest(r0)) @ quantized(rows.mT.contiguous(), largest(r0))
    flat = product.flatten(1)[:, :16]
    return F.linear(quantized(flat, largest(l0)), weight(module.linear), module.linear.bias)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_whole_network_equals_a_naive_implementation_although_scratch_is_reused(bits):
    module, x = Small().eval(), P(2, 3, 6, 6)
    mappings = mappings_for(module, x, scheme=Scheme(weight_bits=bits, activation_bits=bits))
    assert len(mappings) == 8
    with torch.no_grad():
        expected = naive_small(module, x, bits)
        plain = module(x)
        with simulate(module, mappings):
            for _ in range(3):
                result = module(x)
    # A rounding difference may move a value of a later layer across a tie.
    assert (result - expected).norm() < 0.05 * (plain - expected).norm()


def test_outputs_of_earlier_forwards_stay_valid():
    module, x = Small().eval(), P(3, 3, 6, 6)
    mappings = mappings_for(module, x)
    with torch.no_grad(), simulate(module, mappings):
        first = module(x[:1])
        kept = first.clone()
        module(x[1:])
        assert torch.equal(first, kept)


def test_two_operands_that_are_the_same_tensor_are_quantized_each_by_its_own_mapping():
    module, x = Function(lambda s, x: x @ x), P(5, 5)
    with torch.no_grad(), simulate(module, {"matmul_0.lhs": scale(1.0, 3), "matmul_0.rhs": scale(2.0, 5)}):
        result = module(x)
    assert torch.equal(result, maps.fake_quantize(x, scale(1.0, 3)) @ maps.fake_quantize(x, scale(2.0, 5)))


def test_sites_without_a_mapping_stay_in_float():
    module, x = Small().eval(), P(2, 3, 6, 6)
    with torch.no_grad():
        expected = module(x)
        with simulate(module, {}):
            assert torch.equal(module(x), expected)
        with simulate(module, {"first.input": scale(1.0, 2)}):
            result = module(x)
        y = F.relu(F.conv2d(maps.fake_quantize(x, scale(1.0, 2)), module.first.weight, module.first.bias, padding=1))
        rows = (module.second(y) + y).flatten(2)
        torch.testing.assert_close(result, module.linear((rows @ rows.mT).flatten(1)[:, :16]))


def test_weights_are_quantized_once(monkeypatch):
    module, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), P(2, 4)
    mappings, shapes, original = mappings_for(module, x), [], maps.fake_quantize
    monkeypatch.setattr(maps, "fake_quantize", lambda x, m: (shapes.append(tuple(x.shape)), original(x, m))[1])
    with torch.no_grad(), simulate(module, mappings):
        for _ in range(5):
            module(x)
    assert shapes == [(4, 4), (4, 4)]


def test_weights_are_quantized_anew_the_next_time():
    module, x = nn.Sequential(nn.Linear(4, 4)), P(2, 4)
    for _ in range(2):
        mappings = mappings_for(module, x, scheme=Scheme(activation_bits=None, weight_bits=3))
        with torch.no_grad(), simulate(module, mappings):
            result = module(x)
        weight = maps.fake_quantize(module[0].weight.detach(), mappings["0.weight"])
        assert torch.equal(result, F.linear(x, weight, module[0].bias))
        with torch.no_grad():
            module[0].weight.mul_(-1.7)


def test_a_weight_that_another_call_replaces_is_not_taken_for_it():
    module = Function(lambda s, x: F.linear(x, s.p0 if x.sum() > 0 else s.p1), torch.ones(3, 3), -torch.ones(3, 3))
    x = torch.ones(1, 3)
    layers = find_layers(module, x)
    mappings = build_mappings(layers, weight_ranges(layers, Scheme()), Scheme())
    with torch.no_grad(), simulate(module, mappings):
        assert torch.equal(module(x), module.function(module, x))
        assert module(-x).tolist() == [[3, 3, 3]]


def test_a_product_of_two_parameters_is_simulated():
    module = Function(lambda s, x: x + s.p0 @ s.p1, P(3, 3), P(3, 3))
    x = P(3, 3)
    mappings = mappings_for(module, x)
    with torch.no_grad():
        expected = module(x)
        with simulate(module, mappings):
            assert (module(x) - expected).abs().max() < 0.1


def test_neither_input_nor_parameters_are_modified():
    module, x = nn.Sequential(nn.Linear(4, 4)), P(2, 4)
    before = x.clone(), module[0].weight.clone()
    with torch.no_grad(), simulate(module, mappings_for(module, x, scheme=Scheme(weight_bits=2, activation_bits=2))):
        module(x)
    assert torch.equal(x, before[0])
    assert torch.equal(module[0].weight, before[1])
