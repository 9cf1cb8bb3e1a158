from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from quantbench.quant import QuantizationError
from quantbench.quant.calibrators import max_range
from quantbench.quant.histogram import Histogram, equal_bins
from quantbench.quant.layers import find_layers
from quantbench.quant.mapping import fake_quantize
from quantbench.quant.observe import observe
from quantbench.quant.scheme import Range, Scheme, activation_ranges, build_mappings, quantized_layers, weight_ranges
from tests.quant.helpers import Function

P = torch.randn


def network() -> nn.Module:
    layers = {"conv1": nn.Conv2d(3, 4, 3), "conv10": nn.Conv2d(4, 4, 3, groups=2), "up": nn.ConvTranspose2d(4, 6, 2)}
    module = nn.ModuleDict(layers)
    module.forward = lambda x: module["up"](module["conv10"](module["conv1"](x).relu()))
    return module


def layers_of(module: nn.Module):
    return find_layers(module, P(1, 3, 8, 8))


def histogram(low: float, high: float) -> Histogram:
    counts = np.zeros(8, np.int64)
    counts[0] = 1
    return equal_bins(counts, 1.0, low, high)


def test_the_default_scheme_is_the_recommended_one():
    assert dataclasses.astuple(Scheme()) == (8, 8, "scale", "per_channel", ())


def test_weight_ranges_are_the_largest_absolute_value_of_each_output_channel():
    module = network()
    ranges = weight_ranges(layers_of(module), Scheme())
    assert set(ranges) == {"conv1.weight", "conv10.weight", "up.weight"}
    for name, reduced in (("conv1", (1, 2, 3)), ("conv10", (1, 2, 3)), ("up", (0, 2, 3))):
        expected = module[name].weight.detach().abs().amax(reduced, keepdim=True)
        span = ranges[f"{name}.weight"]
        assert torch.equal(span.high, expected)
        assert torch.equal(span.low, -expected)


def test_weight_ranges_per_tensor_are_the_largest_of_all():
    module = network()
    ranges = weight_ranges(layers_of(module), Scheme(weight_granularity="per_tensor"))
    for name in module:
        assert float(ranges[f"{name}.weight"].high) == float(module[name].weight.detach().abs().max())


def test_affine_weight_ranges_are_the_least_and_the_largest_value():
    module = network()
    span = weight_ranges(layers_of(module), Scheme(mapping="affine"))["conv1.weight"]
    weight = module["conv1"].weight.detach()
    assert torch.equal(span.low.flatten(), weight.flatten(1).amin(1))
    assert torch.equal(span.high.flatten(), weight.flatten(1).amax(1))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_a_weight_that_is_not_finite_is_refused_by_the_site_s_name(bad, granularity):
    module = network()
    layers = layers_of(module)
    with torch.no_grad():
        module["conv10"].weight[1, 0, 2, 2] = bad
    with pytest.raises(QuantizationError, match=r"conv10\.weight"):
        weight_ranges(layers, Scheme(weight_granularity=granularity))


def test_activation_ranges_are_what_the_calibrator_decides_for_each_site():
    seen = []

    def calibrator(h: Histogram, bits: int) -> float:
        seen.append((h.largest, bits))
        return h.largest / 2

    names = ["conv1.input", "conv10.input", "up.input"]
    histograms = {name: histogram(-1.0, 2.0 + i) for i, name in enumerate(names)}
    ranges = activation_ranges(layers_of(network()), histograms, calibrator, Scheme(activation_bits=5))
    assert {site: (float(r.low), float(r.high)) for site, r in ranges.items()} == {
        "conv1.input": (-1.0, 1.0),
        "conv10.input": (-1.5, 1.5),
        "up.input": (-2.0, 2.0),
    }
    assert sorted(seen) == [(2, 5), (3, 5), (4, 5)]


@pytest.mark.parametrize(
    ("low", "high", "alpha", "expected"),
    [
        (-0.5, 3.0, 3.0, (-0.5, 3.0)),
        (-0.5, 3.0, 0.25, (-0.25, 0.25)),
        (0.0, 3.0, 2.0, (0.0, 2.0)),
        (1.0, 3.0, 3.0, (0.0, 3.0)),
        (-3.0, -1.0, 2.0, (-2.0, 0.0)),
        (0.0, 0.0, 0.0, (0.0, 0.0)),
    ],
)
def test_an_affine_activation_range_is_what_was_seen_within_alpha_and_holds_zero(low, high, alpha, expected):
    layers = find_layers(nn.Sequential(nn.Linear(2, 2)), P(1, 2))
    scheme = Scheme(mapping="affine")
    ranges = activation_ranges(layers, {"0.input": histogram(low, high)}, lambda h, bits: alpha, scheme)
    assert (float(ranges["0.input"].low), float(ranges["0.input"].high)) == expected
    assert build_mappings(layers, ranges, scheme)["0.input"].scale.isfinite()


def test_a_site_that_calibration_never_reached_is_refused_by_name():
    with pytest.raises(QuantizationError, match=r"conv10\.input"):
        activation_ranges(layers_of(network()), {"conv1.input": histogram(0, 1)}, max_range, Scheme())


def test_weights_only_needs_no_histogram_and_maps_no_activation():
    layers, scheme = layers_of(network()), Scheme(activation_bits=None)
    assert activation_ranges(layers, {}, max_range, scheme) == {}
    mappings = build_mappings(layers, weight_ranges(layers, scheme), scheme)
    assert set(mappings) == {"conv1.weight", "conv10.weight", "up.weight"}


def test_weights_and_activations_have_bits_of_their_own():
    layers = find_layers(nn.Sequential(nn.Linear(2, 2)), P(1, 2))
    scheme = Scheme(weight_bits=3, activation_bits=6)
    ranges = {**weight_ranges(layers, scheme), "0.input": Range(torch.tensor(-1.0), torch.tensor(1.0))}
    mappings = build_mappings(layers, ranges, scheme)
    assert (mappings["0.weight"].high, mappings["0.input"].high) == (3, 31)
    assert all(mapping.symmetric for mapping in mappings.values())


def test_affine_mappings_cover_the_range_from_end_to_end():
    layers = find_layers(nn.Sequential(nn.Linear(2, 2)), P(1, 2))
    scheme = Scheme(mapping="affine", activation_bits=4)
    mappings = build_mappings(layers, {"0.input": Range(torch.tensor(0.0), torch.tensor(15.0))}, scheme)
    assert fake_quantize(torch.tensor([-3.0, 0.0, 7.0, 15.0, 99.0]), mappings["0.input"]).tolist() == [0, 0, 7, 15, 15]


def test_only_sites_with_a_range_are_mapped():
    layers = layers_of(network())
    ranges = {"up.input": Range(torch.tensor(-1.0), torch.tensor(1.0)), "unknown.input": Range(*P(2, 1).sort(0)[0])}
    assert set(build_mappings(layers, ranges, Scheme())) == {"up.input"}


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_out_of_range_are_refused(bits):
    layers = find_layers(nn.Sequential(nn.Linear(2, 2)), P(1, 2))
    scheme = Scheme(weight_bits=bits)
    with pytest.raises(QuantizationError, match=str(bits)):
        build_mappings(layers, weight_ranges(layers, scheme), scheme)


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ((), ["conv1", "conv10", "up"]),
        (("conv1",), ["conv10", "up"]),
        (("conv1*",), ["up"]),
        (("conv1", "up"), ["conv10"]),
        (("*",), []),
        (("conv1?",), ["conv1", "up"]),
    ],
)
def test_skipped_layers_are_named_whole_or_by_pattern(patterns, left):
    found = quantized_layers(layers_of(network()), Scheme(skip_layers=patterns))
    assert [layer.name for layer in found] == left


@pytest.mark.parametrize("pattern", ["conv", "CONV1", "conv1.", "", "down*"])
def test_a_pattern_that_fits_no_layer_is_refused(pattern):
    with pytest.raises(QuantizationError, match="skip_layers"):
        quantized_layers(layers_of(network()), Scheme(skip_layers=("up", pattern)))


def test_layers_may_be_given_as_an_iterator():
    layers = layers_of(network())
    assert quantized_layers(iter(layers), Scheme(skip_layers=("up", "conv1"))) == [layers[1]]


def test_a_whole_pipeline_maps_every_site_of_the_layers_that_are_not_skipped():
    module = Function(lambda s, x: s.linear(x @ x))
    module.linear = nn.Linear(3, 3)
    x, scheme = P(3, 3), Scheme(skip_layers=("matmul_0",))
    layers = quantized_layers(find_layers(module, x), scheme)
    with torch.no_grad(), observe(module) as counters:
        module(x)
    histograms = {site: counter.histogram() for site, counter in counters.items()}
    ranges = {**weight_ranges(layers, scheme), **activation_ranges(layers, histograms, max_range, scheme)}
    assert set(build_mappings(layers, ranges, scheme)) == {"linear.input", "linear.weight"}
    assert float(ranges["linear.input"].high) == pytest.approx(float((x @ x).abs().max()))
