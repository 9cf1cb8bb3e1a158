"""What the options change in a whole network: which layers there are, their ranges, and how much signal is kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from quantbench.quant.calibrators import max_range
from quantbench.quant.layers import find_layers
from quantbench.quant.mapping import Mapping
from quantbench.quant.observe import observe
from quantbench.quant.scheme import Range, Scheme, activation_ranges, build_mappings, weight_ranges
from quantbench.quant.simulate import simulate
from quantbench.quant.sqnr import decibel, weight_sqnr_db
from quantbench.quant.transforms.gelu import clip_gelu
from tests.quant.helpers import Function
from tests.quant.transformers_networks import bert


def calibrated(
    module: nn.Module,
    *data: Tensor,
    bound: float | None = None,
    residual_adds: bool = False,
    scheme: Scheme | None = None,
) -> tuple[dict[str, Range], dict[str, Mapping]]:
    """The range and mapping of every site, calibrated with max."""
    scheme = scheme or Scheme()
    layers = find_layers(module, *data, residual_adds=residual_adds)
    with torch.no_grad(), clip_gelu(module, bound), observe(module, residual_adds) as counters:
        module(*data)
    histograms = {site: counter.histogram() for site, counter in counters.items()}
    ranges = {**weight_ranges(layers, scheme), **activation_ranges(layers, histograms, max_range, scheme)}
    return ranges, build_mappings(layers, ranges, scheme)


def sqnr(expected: Tensor, result: Tensor) -> float:
    return decibel(float(expected.square().sum()), float((expected - result).square().sum()))


def test_gelu10_takes_the_outlier_out_of_the_next_layer_s_range():
    module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.GELU(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        module[0].weight.copy_(torch.eye(4))
    usual = torch.randn(64, 4)
    calibration = torch.cat([usual, torch.tensor([[400.0, 0, 0, 0]])])
    site, highest, kept = "2.input", [], []
    for bound in (None, 10.0):
        ranges, mappings = calibrated(module, calibration, bound=bound)
        only_there = {site: mappings[site]}
        with torch.no_grad(), clip_gelu(module, bound), simulate(module, only_there):
            result = module(usual)
        highest.append(float(ranges[site].high))
        kept.append(sqnr(module(usual).detach(), result))
    assert highest[0] > 399 and highest[1] == pytest.approx(10, rel=0.01)
    # Steps are 40 times smaller: 20 log10(40) = 32 dB, less what values below half a step lose in full.
    assert 20 < kept[1] - kept[0] < 34


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def test_residual_adds_are_that_many_layers_more_and_lower_the_signal_to_noise():
    blocks = [Residual(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)) for _ in range(3)]
    module, x = nn.Sequential(*blocks, nn.Linear(16, 4)), torch.randn(32, 16)
    plain, more = ([x.name for x in find_layers(module, x, residual_adds=option)] for option in (False, True))
    assert more == ["0.0", "0.2", "0.add_0", "1.0", "1.2", "1.add_0", "2.0", "2.2", "2.add_0", "3"]
    assert plain == [name for name in more if "add" not in name]
    expected, results = module(x).detach(), []
    for option in (False, True):
        ranges, mappings = calibrated(module, x, residual_adds=option)
        with torch.no_grad(), simulate(module, mappings, residual_adds=option):
            results.append(module(x))
    assert ranges["1.add_0.lhs"].high == ranges["1.0.input"].high  # the input of the block goes both ways
    assert not torch.equal(*results)
    assert sqnr(expected, results[1]) < sqnr(expected, results[0]) - 0.1


def test_the_ranges_of_an_addition_are_those_of_its_operands():
    module, x = Function(lambda s, x: x + x @ s.p0, torch.tensor([[-3.0]])), torch.tensor([[2.0], [1.0]])
    ranges, mappings = calibrated(module, x, residual_adds=True)
    assert {site: float(ranges[site].high) for site in ("add_0.lhs", "add_0.rhs")} == {"add_0.lhs": 2, "add_0.rhs": 6}
    assert float(mappings["add_0.rhs"].scale) == pytest.approx(127 / 6)
    ranges, _ = calibrated(module, x, residual_adds=True, scheme=Scheme(mapping="affine"))
    assert (float(ranges["add_0.rhs"].low), float(ranges["add_0.rhs"].high)) == (-6, 0)


def test_one_large_row_of_a_bert_layer_needs_ranges_per_channel():
    module, inputs = bert("sdpa")
    dense = module.network.encoder.layer[0].intermediate.dense
    with torch.no_grad():
        dense.weight[3] *= 100
    site = "network.encoder.layer.0.intermediate.dense.weight"
    expected, kept = module(*inputs).detach(), {}
    others = torch.arange(16) != 3
    for granularity in ("per_channel", "per_tensor"):
        ranges, mappings = calibrated(module, *inputs, scheme=Scheme(weight_granularity=granularity))
        largest = dense.weight.detach().abs().amax(1)
        assert torch.equal(
            ranges[site].high.flatten(), largest if granularity == "per_channel" else largest.amax()[None]
        )
        scale = mappings[site].scale if granularity == "per_tensor" else mappings[site].scale[others]
        rows = Mapping(scale, torch.zeros_like(scale), -127, 127)
        with torch.no_grad(), simulate(module, {site: mappings[site]}):
            kept[granularity] = (weight_sqnr_db(dense.weight[others].detach(), rows), sqnr(expected, module(*inputs)))
    assert kept["per_channel"][0] > 35 and kept["per_tensor"][0] < 10  # the other 15 rows
    assert kept["per_channel"][1] > kept["per_tensor"][1] + 10  # the output
