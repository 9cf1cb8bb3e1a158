"""Which layers whole networks have, and that an interception leaves nothing behind."""

from __future__ import annotations

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
from tests.quant.intercept.test_mode import P


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
