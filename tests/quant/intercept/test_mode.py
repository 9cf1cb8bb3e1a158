from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from quantbench.quant import QuantizationError
from quantbench.quant.intercept.mode import intercept
from quantbench.quant.layers import find_layers
from tests.quant.helpers import Function, calls_of, names, sites

P = torch.randn


@pytest.mark.parametrize(
    ("layer", "x", "kind"),
    [
        (nn.Conv1d(2, 4, 3, groups=2), P(1, 2, 8), "conv1d"),
        (nn.Conv2d(2, 4, 3, padding="same", padding_mode="reflect"), P(1, 2, 8, 8), "conv2d"),
        (nn.Conv3d(2, 4, 3), P(1, 2, 4, 4, 4), "conv3d"),
        (nn.ConvTranspose1d(2, 4, 3, groups=2), P(1, 2, 8), "conv_transpose1d"),
        (nn.ConvTranspose2d(2, 4, 3, groups=2), P(1, 2, 4, 4), "conv_transpose2d"),
        (nn.ConvTranspose3d(2, 4, 3), P(1, 2, 3, 3, 3), "conv_transpose3d"),
        (nn.Linear(2, 4), P(3, 2), "linear"),
    ],
)
def test_a_module_with_a_weight_is_a_layer_of_its_own_name(layer, x, kind):
    module = nn.ModuleDict({"deep": nn.Sequential(layer)})
    module.forward = lambda x: module["deep"](x)
    (found,) = find_layers(module, x)
    assert (found.name, found.kind) == ("deep.0", kind)
    assert sites(found) == ["deep.0.input", "deep.0.weight"]
    assert [site.operand for site in found.sites] == ["input", "weight"]
    (channel,) = [site.channel for site in found.sites if site.weight is not None]
    assert channel.axis == (1 if "transpose" in kind else 0)
    assert channel.groups == (layer.groups if "transpose" in kind else 1)


def test_functional_calls_with_parameters_of_their_own_are_numbered_by_kind():
    module = Function(
        lambda s, x: F.linear(F.conv2d(F.conv2d(x, s.p0), s.p0, bias=s.p1).flatten(1), s.p2),
        *(P(2, 2, 1, 1), P(2), P(3, 8)),
    )
    found = find_layers(nn.Sequential(module), P(1, 2, 2, 2))
    assert [layer.name for layer in found] == ["0.conv2d_0", "0.conv2d_1", "0.linear_0"]
    assert [layer.parameters for layer in found] == [4, 6, 24]


A, B = P(2, 3, 4), P(2, 4, 5)
PRODUCTS = {
    "matmul": (torch.matmul, (A, B)),
    "Tensor.matmul": (torch.Tensor.matmul, (A, B)),
    "@": (lambda a, b: a @ b, (A, B)),
    "rmatmul": (lambda a, b: torch.Tensor.__rmatmul__(b, a), (A, B)),
    "bmm": (torch.bmm, (A, B)),
    "Tensor.bmm": (torch.Tensor.bmm, (A, B)),
    "mm": (torch.mm, (A[0], B[0])),
    "mm with keywords": (lambda a, b: torch.mm(input=a, mat2=b), (A[0], B[0])),
    "Tensor.mm": (torch.Tensor.mm, (A[0], B[0])),
    "addmm": (lambda a, b: torch.addmm(P(5), a, b), (A[0], B[0])),
    "Tensor.addmm": (lambda a, b: P(5).addmm(a, b, alpha=2), (A[0], B[0])),
    "baddbmm": (lambda a, b: torch.baddbmm(P(2, 3, 5), a, b, beta=0.5), (A, B)),
    "baddbmm with keywords": (lambda a, b: torch.baddbmm(input=P(2, 3, 5), batch1=a, batch2=b), (A, B)),
    "Tensor.baddbmm": (lambda a, b: P(1, 3, 5).baddbmm(a, b), (A, B)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_of_activations_is_a_layer_with_both_operands(name):
    function, (a, b) = PRODUCTS[name]
    module = Function(lambda s, a, b: function(a, b))
    (call,) = calls_of(nn.ModuleDict({"m": module})["m"], a, b)
    assert [o.site for o in call.operands] == ["matmul_0.lhs", "matmul_0.rhs"]
    assert torch.equal(call.operands[0].tensor, a)
    assert torch.equal(call.operands[1].tensor, b)
    torch.testing.assert_close(call.run(a * 0, None) - call.run(a * 0, b * 0), torch.zeros_like(call.run()))
    torch.testing.assert_close(call.run(a * 2) - call.run(), call.run() - call.run(a * 0))


# Operations that multiply and sum. Every one must be a layer or an error: left in float unnoticed is wrong.
CELLS = {
    "LSTM": (nn.LSTM(4, 4), (P(2, 1, 4),)),
    "GRU": (nn.GRU(4, 4), (P(2, 1, 4),)),
    "RNN tanh": (nn.RNN(4, 4), (P(2, 1, 4),)),
    "RNN relu": (nn.RNN(4, 4, nonlinearity="relu"), (P(2, 1, 4),)),
    "LSTMCell": (nn.LSTMCell(4, 4), (P(2, 4),)),
    "GRUCell": (nn.GRUCell(4, 4), (P(2, 4),)),
    "RNNCell tanh": (nn.RNNCell(4, 4), (P(2, 4),)),
    "RNNCell relu": (nn.RNNCell(4, 4, nonlinearity="relu"), (P(2, 4),)),
    "Bilinear": (nn.Bilinear(4, 4, 4), (P(2, 4), P(2, 4))),
    "DeformConv2d": (torchvision.ops.DeformConv2d(2, 3, 3), (P(1, 2, 5, 5), torch.zeros(1, 18, 3, 3))),
}
FUNCTIONS = {
    "einsum": (torch.einsum, ("bij,bjk->bik", A, B)),
    "tensordot": (torch.tensordot, (A[0], B[0], 1)),
    "mv": (torch.mv, (A[0], P(4))),
    "Tensor.mv": (torch.Tensor.mv, (A[0], P(4))),
    "linalg.matmul": (torch.linalg.matmul, (A, B)),
    "linalg.multi_dot": (torch.linalg.multi_dot, ([A[0], B[0], P(5, 2)],)),
    "chain_matmul": (torch.chain_matmul, (A[0], B[0], P(5, 2))),
    "inner": (torch.inner, (A[0], A[0])),
    "Tensor.inner": (torch.Tensor.inner, (A[0], A[0])),
    "addmv": (torch.addmv, (P(3), A[0], P(4))),
    "addbmm": (torch.addbmm, (P(3, 5), A, B)),
    "addmm_": (torch.Tensor.addmm_, (P(3, 5), A[0], B[0])),
    "baddbmm_": (torch.Tensor.baddbmm_, (P(2, 3, 5), A, B)),
    "sparse.mm": (torch.sparse.mm, (A[0].to_sparse(), B[0])),
    "conv_tbc": (torch.conv_tbc, (P(5, 2, 3), P(3, 3, 4), P(4))),
    "convolution": (torch.convolution, (P(1, 2, 5, 5), P(3, 2, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)),
    "ops.aten.mm": (torch.ops.aten.mm, (A[0], B[0])),
}


@pytest.mark.parametrize("name", [*CELLS, *FUNCTIONS])
def test_no_compute_intensive_operation_stays_in_float_unnoticed(name):
    if name in CELLS:
        module, inputs = CELLS[name]
    else:
        function, inputs = FUNCTIONS[name]
        module = Function(lambda s, *inputs: function(*inputs))
    module = nn.Sequential(module)
    module.forward = lambda *inputs: module[0](*inputs)
    try:
        found = find_layers(module, *inputs)
    except QuantizationError as error:
        assert "'0'" in str(error)
    else:
        assert found


def mask_of(kind: str) -> torch.Tensor | None:
    if kind == "bool":
        mask = torch.rand(5, 7) > 0.4
        mask[:, 0] = True
        return mask
    return P(2, 1, 5, 7) if kind == "float" else None


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("none", {}),
        ("bool", {}),
        ("float", {}),
        ("none", {"is_causal": True}),
        ("none", {"scale": 0.3}),
        ("bool", {"scale": 2.0}),
        ("none", {"enable_gqa": True}),
        ("float", {"enable_gqa": True, "scale": 0.5}),
    ],
)
def test_attention_as_two_products_equals_the_fused_one(kind, options):
    heads = 2 if options.get("enable_gqa") else 4
    q, k, v, mask = P(2, 4, 5, 6), P(2, heads, 7, 6), P(2, heads, 7, 3), mask_of(kind)
    module = Function(lambda s: F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **options))
    expected = module()
    with intercept(module, lambda call: call.run()):
        torch.testing.assert_close(module(), expected, rtol=1e-5, atol=1e-5)
    assert names(module) == ["matmul_0", "matmul_1"]


def test_a_query_that_may_see_nothing_gives_what_the_fused_attention_gives():
    q, mask = P(1, 1, 3, 4), torch.tensor([[True, False, False], [False] * 3, [True] * 3])
    module = Function(lambda s: F.scaled_dot_product_attention(q, q, q, mask))
    expected = module()
    with intercept(module, lambda call: call.run()):
        torch.testing.assert_close(module(), expected, equal_nan=True)


def test_attention_operands_are_query_and_transposed_key_then_weights_and_value():
    q, k, v = P(1, 2, 3, 4), P(1, 2, 5, 4), P(1, 2, 5, 6)
    first, second = calls_of(Function(lambda s: F.scaled_dot_product_attention(q, k, v)))
    assert torch.equal(first.operands[0].tensor, q)
    assert torch.equal(first.operands[1].tensor, k.mT)
    expected = torch.softmax(q @ k.mT / math.sqrt(4), -1)
    torch.testing.assert_close(second.operands[0].tensor, expected)
    assert torch.equal(second.operands[1].tensor, v)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_multihead_attention_shows_its_projections_and_products(need_weights, batch_first):
    attention = nn.MultiheadAttention(8, 2, batch_first=batch_first).eval()
    x = P(3, 3, 8)
    module = nn.ModuleDict({"a": attention})
    module.forward = lambda x: module["a"](x, x, x, need_weights=need_weights)[0]
    expected = module(x)
    assert names(module, x) == ["a.linear_0", "a.matmul_0", "a.matmul_1", "a.out_proj"]
    with intercept(module, lambda call: call.run()):
        torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


def test_cross_attention_shows_every_projection():
    attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=5).eval()
    found = names(attention, P(3, 2, 8), P(4, 2, 6), P(4, 2, 5))
    assert found == ["linear_0", "linear_1", "linear_2", "matmul_0", "matmul_1", "out_proj"]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_fast_path_of_the_transformer_encoder_is_off_while_intercepting_and_restored(enabled):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    module, x = nn.TransformerEncoder(layer, 2).eval(), P(2, 3, 8)
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        with torch.no_grad():
            expected = module(x)
        found = names(module, x)
        assert torch.backends.mha.get_fastpath_enabled() == enabled
        with torch.no_grad(), intercept(module, lambda call: call.run()):
            assert not torch.backends.mha.get_fastpath_enabled()
            torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
    own = ["self_attn.linear_0", "self_attn.matmul_0", "self_attn.matmul_1", "self_attn.out_proj", "linear1", "linear2"]
    assert found == [f"layers.{i}.{name}" for i in range(2) for name in own]
