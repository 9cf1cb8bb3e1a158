"""Residual additions of whole networks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from quantbench.networks.fashion import resnet20
from quantbench.quant.intercept.mode import intercept
from quantbench.quant.layers import find_layers
from quantbench.quant.observe import observe
from quantbench.quant.transforms.fold import fold_batch_norm
from tests.quant.helpers import Function, hooks_of
from tests.quant.intercept.test_residual import P, adds_of
from tests.quant.transformers_networks import bert, gpt2, mpnet, t5, vit, whisper


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_bert_has_two_residual_additions_a_layer_and_none_in_its_embeddings(attention, heads, batch):
    module, inputs = bert(attention, layers=2, heads=heads)
    assert adds_of(module, *(x[-batch:] for x in inputs)) == [
        f"network.encoder.layer.{i}.{part}.add_0" for i in range(2) for part in ("attention.output", "output")
    ]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    "network, expected",
    [
        (lambda: mpnet(), ["encoder.layer.0.attention.add_0", "encoder.layer.0.output.add_0"]),
        (lambda: vit("sdpa"), ["layers.0.add_0", "layers.0.add_1"]),
        (lambda: gpt2("eager", heads=1), ["h.0.add_0", "h.0.add_1"]),
        (
            lambda: t5("eager"),
            [
                *("encoder.block.0.layer.0.add_0", "encoder.block.0.layer.1.add_0"),
                *(f"decoder.block.0.layer.{i}.add_0" for i in range(3)),
            ],
        ),
        (
            lambda: whisper("eager"),
            [
                *("model.encoder.layers.0.add_0", "model.encoder.layers.0.add_1"),
                *(f"model.decoder.layers.0.add_{i}" for i in range(3)),
            ],
        ),
    ],
    ids=["mpnet", "vit", "gpt2", "t5", "whisper"],
)
def test_other_transformers_have_one_a_sublayer(network, expected, batch):
    module, inputs = network()
    assert adds_of(module, *(x[-batch:] for x in inputs)) == [f"network.{name}" for name in expected]


@pytest.mark.parametrize("layer", ["encoder", "decoder"])
def test_torch_s_transformer_layers(layer):
    if layer == "encoder":
        encoder = nn.TransformerEncoderLayer(8, 1, 16, batch_first=True).eval()
        assert adds_of(encoder, P(1, 3, 8), torch.zeros(3, 3)) == ["add_0", "add_1"]
    else:
        decoder = nn.TransformerDecoderLayer(8, 1, 16, batch_first=True).eval()
        assert adds_of(decoder, P(1, 3, 8), P(1, 5, 8)) == ["add_0", "add_1", "add_2"]


def test_resnet20_has_nine_and_keeps_them_when_normalization_is_folded():
    module, x = resnet20().eval(), P(2, 1, 28, 28)
    expected = [f"layer{stage}.{block}.add_0" for stage in (1, 2, 3) for block in range(3)]
    assert adds_of(module, x) == expected
    folded, pairs = fold_batch_norm(module, x)
    assert len(pairs) == 21
    assert adds_of(folded, x) == expected
    with torch.no_grad(), intercept(folded, lambda call: call.run(), residual_adds=True):
        torch.testing.assert_close(folded(x), module(x), rtol=1e-4, atol=1e-4)


def test_mobilenet_v2_has_ten():
    module = torchvision.models.mobilenet_v2().eval()
    expected = [f"{n}.add_0" for n, m in module.named_modules() if getattr(m, "use_res_connect", False)]
    assert len(expected) == 10
    assert adds_of(module, P(1, 3, 32, 32)) == expected


def test_the_arithmetic_of_boxes_is_none_and_the_sums_of_a_feature_pyramid_are():
    module = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=64
    ).eval()
    blocks = [f"{n}.add_0" for n, m in module.named_modules() if getattr(m, "use_res_connect", False)]
    assert adds_of(module, [torch.rand(3, 64, 64)]) == [*blocks, "backbone.fpn.add_0"]


def test_swin_v2_s_position_bias_from_a_layer_is_none():
    module = torchvision.models.SwinTransformer(
        [4, 4],
        8,
        [2],
        [2],
        [4, 4],
        block=torchvision.models.swin_transformer.SwinTransformerBlockV2,
        downsample_layer=torchvision.models.swin_transformer.PatchMergingV2,
    ).eval()
    # One window of one sample: scores and bias have one shape.
    assert adds_of(module, P(1, 3, 16, 16)) == [f"features.1.{i}.add_{j}" for i in range(2) for j in range(2)]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_all_other_layers_keep_their_names_and_histograms(attention):
    module, inputs = bert(attention)

    def seen(**option: bool) -> tuple[list[str], dict[str, list[int]]]:
        with torch.no_grad(), observe(module, **option) as counters:
            module(*inputs)
        counts = {site: counter.histogram().counts.tolist() for site, counter in counters.items()}
        return [layer.name for layer in find_layers(module, *inputs, **option)], counts

    (names, counts), (more_names, more_counts) = seen(), seen(residual_adds=True)
    assert [name for name in more_names if ".add_" not in name] == names
    assert {site: found for site, found in more_counts.items() if ".add_" not in site} == counts
    assert len(more_counts) == len(counts) + 4


def test_nothing_is_done_where_the_option_is_off():
    module, x = nn.Sequential(Function(lambda s, x: x + F.linear(x, s.p0), P(4, 4))), P(1, 4)
    with torch.no_grad(), intercept(module, lambda call: call.run()):
        hooks = hooks_of(module)
        result = module(x)
    assert hooks == 4  # in and out of each module
    assert not vars(x) and not vars(result)
    assert [layer.name for layer in find_layers(module, x)] == ["0.linear_0"]


def test_nothing_is_left_on_the_module():
    module, x = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval(), P(2, 4)
    module.forward = lambda x: x + module[1](module[0](x))
    assert adds_of(module, x) == ["add_0"]
    assert hooks_of(module) == 0
    assert not any(vars(tensor) for tensor in (*module.parameters(), *module.buffers()))
