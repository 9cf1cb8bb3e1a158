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
from quantbench.quant.simulate import simulate
from tests.quant.helpers import Function, calls_of, hooks_of, mappings_for, names, sites

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


def test_a_module_called_several_times_is_one_layer():
    linear = nn.Linear(4, 4)
    module = nn.Sequential(linear, nn.ReLU(), linear, linear)
    (layer,) = find_layers(module, P(1, 4))
    assert (layer.name, layer.macs, layer.parameters) == ("0", 3 * 16, 20)


def test_a_parent_called_twice_numbers_its_own_operations_the_same_each_time():
    inner = Function(lambda s, x: (x @ x) @ x)
    assert names(nn.Sequential(inner, inner), P(3, 3)) == ["0.matmul_0", "0.matmul_1"]


def test_tied_weights_are_layers_of_the_modules_that_use_them():
    module = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False))
    module[2].weight = module[0].weight
    assert names(module, torch.tensor([[1, 2]])) == ["1", "2"]
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = module[0].weight
    assert names(module, P(1, 4)) == ["0", "1"]


def test_a_weight_used_by_its_owner_s_parent_is_the_owner_s_layer():
    module = nn.ModuleDict({"proj": nn.Linear(4, 3)})
    module.forward = lambda x: F.linear(x, module["proj"].weight) + module["proj"].forward(x)
    assert names(module, P(1, 4)) == ["proj"]


def test_a_product_of_two_parameters_has_two_sites():
    module = Function(lambda s, x: x + s.p0 @ s.p1, P(3, 2), P(2, 3))
    (layer,) = find_layers(module, P(3, 3))
    assert len(set(sites(layer))) == 2


def test_a_transposed_parameter_is_still_a_weight():
    (layer,) = find_layers(Function(lambda s, x: x @ s.p0.t(), P(5, 4)), P(2, 4))
    assert [site.weight is None for site in layer.sites] == [True, False]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_bert_shows_six_linear_and_two_matmul_a_layer_whichever_attention_it_uses(attention):
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=30,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        attn_implementation=attention,
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    own = ["query", "key", "value", "matmul_0", "matmul_1"]
    expected = [f"attention.self.{name}" for name in own]
    expected += ["attention.output.dense", "intermediate.dense", "output.dense"]
    assert names(model, torch.tensor([[1, 2, 3]])) == [
        f"encoder.layer.{i}.{name}" for i in range(2) for name in expected
    ]


def test_gpt2_conv1d_is_a_layer_with_its_weight():
    from transformers import GPT2Config, GPT2Model

    model = GPT2Model(GPT2Config(vocab_size=30, n_embd=8, n_layer=1, n_head=2, n_positions=16)).eval()
    found = find_layers(model, torch.tensor([[1, 2, 3]]))
    own = ["attn.c_attn", "attn.matmul_0", "attn.matmul_1", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
    assert [layer.name for layer in found] == [f"h.0.{name}" for name in own]
    assert sites(found[0]) == ["h.0.attn.c_attn.lhs", "h.0.attn.c_attn.weight"]
    assert found[0].parameters == 8 * 24 + 24
    assert found[0].sites[1].channel.axis == -1


@pytest.mark.parametrize(("name", "side", "layers"), [("resnet18", 32, 21), ("mobilenet_v2", 32, 53)])
def test_torchvision_classifiers_show_every_convolution_and_linear(name, side, layers):
    model = getattr(torchvision.models, name)().eval()
    owners = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    found = find_layers(model, P(1, 3, side, side))
    assert len(found) == layers
    assert {layer.name for layer in found} == set(owners)
    norms = sum(p.numel() for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    assert sum(layer.parameters for layer in found) == sum(p.numel() for p in model.parameters()) - norms


def test_vit_shows_its_attention():
    with torch.device("meta"):  # no memory, no arithmetic
        model, x = torchvision.models.vit_b_16().eval(), torch.randn(1, 3, 224, 224)
    found = find_layers(model, x)
    attention = ["linear_0", "matmul_0", "matmul_1", "out_proj"]
    own = [*(f"self_attention.{name}" for name in attention), "mlp.0", "mlp.3"]
    blocks = [f"encoder.layers.encoder_layer_{i}.{name}" for i in range(12) for name in own]
    assert [layer.name for layer in found] == ["conv_proj", *blocks, "heads.head"]
    outside = 2 * 768 * 25 + 768 * 198  # LayerNorm twice a block and once at the end, class token, positions
    assert sum(layer.parameters for layer in found) == 86_567_656 - outside


def test_a_detector_with_control_flow_is_discovered():
    model = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=64
    ).eval()
    owners = {n for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert set(names(model, [torch.rand(3, 64, 64)])) == owners


def test_an_opaque_operation_is_named_with_its_module():
    module = nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 4))
    with pytest.raises(QuantizationError, match="lstm in module '1'"):
        find_layers(module, P(2, 1, 4))


def test_an_error_in_forward_leaves_nothing_behind():
    def fail(s, x):
        raise RuntimeError("boom")

    module = nn.Sequential(nn.Linear(4, 4), Function(fail))
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(RuntimeError, match="boom"):
        find_layers(module, P(1, 4))
    assert hooks_of(module) == 0
    assert torch.backends.mha.get_fastpath_enabled() == fast_path
    assert calls_of(module[0], P(1, 4))[0].layer == ""
    torch.matmul(P(2, 2), P(2, 2))


def test_names_are_right_after_an_error_that_was_caught_inside():
    def fail_on_negative(s, x):
        if x.sum() < 0:
            raise RuntimeError("boom")
        return x @ x

    module, seen = nn.Sequential(nn.Sequential(nn.Linear(3, 3)), Function(fail_on_negative)), []
    with torch.no_grad(), intercept(module, lambda call: (seen.append(call.layer), call.run().abs() * sign)[1]):
        sign = -1
        with pytest.raises(RuntimeError, match="boom"):
            module(P(3, 3))
        torch.matmul(P(2, 2), P(2, 2))
        sign = 1
        module(P(3, 3))
    assert seen == ["0.0", "0.0", "1.matmul_0"]  # what runs outside of the network is none of its layers


def test_running_without_changes_gives_the_output_of_the_module():
    module, x = torchvision.models.resnet18().eval(), P(1, 3, 32, 32)
    with torch.no_grad():
        expected = module(x)
        with intercept(module, lambda call: call.run()):
            assert torch.equal(module(x), expected)
        assert torch.equal(module(x), expected)
    assert hooks_of(module) == 0


def test_an_inner_intercept_sees_the_same_layers_as_the_outer_one():
    module, x, inner, outer = nn.Sequential(nn.Linear(3, 3), nn.MultiheadAttention(3, 1)), P(2, 1, 3), [], []
    module.forward = lambda x: module[1](*[module[0](x)] * 3)[0]
    with (
        intercept(module, lambda call: (outer.append(call.layer), call.run())[1]),
        intercept(module, lambda call: (inner.append(call.layer), call.run())[1]),
    ):
        module(x)
    assert inner == outer == ["0", "1.linear_0", "1.matmul_0", "1.matmul_1", "1.out_proj"]


def test_a_whole_transformer_can_be_simulated_with_the_sites_that_discovery_names():
    module, x = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), P(2, 3, 8)
    mappings = mappings_for(module, x)
    assert len(mappings) == 12
    with torch.no_grad():
        expected = module(x)
        with simulate(module, mappings):
            result = module(x)
    assert 0 < (result - expected).abs().max() < 0.2
