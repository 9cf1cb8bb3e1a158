"""Simulation with gradients, beside itself, observed, and in other precisions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from quantbench.quant import mapping as maps
from quantbench.quant.observe import observe
from quantbench.quant.scheme import Scheme
from quantbench.quant.simulate import simulate
from tests.quant.helpers import hooks_of, mappings_for
from tests.quant.test_simulate import P, Small, scale


def test_gradients_flow_straight_through_to_input_and_weights():
    module = nn.Sequential(nn.Linear(3, 2, bias=False))
    x = torch.tensor([[0.5, -0.2, 9.0]], requires_grad=True)
    mappings = {"0.input": scale(1.0, 4), "0.weight": scale(10.0, 4)}
    with simulate(module, mappings):
        module(x).sum().backward()
    weight = maps.fake_quantize(module[0].weight.detach(), mappings["0.weight"])
    assert torch.equal(x.grad, weight.sum(0, keepdim=True) * torch.tensor([[1.0, 1.0, 0.0]]))
    quantized = maps.fake_quantize(x.detach(), mappings["0.input"])
    assert torch.equal(module[0].weight.grad, quantized.expand(2, 3))


def test_forward_with_gradients_equals_forward_without():
    module, x = Small().eval(), P(2, 3, 6, 6)
    mappings = mappings_for(module, x)
    with simulate(module, mappings):
        recorded = module(x)
        with torch.no_grad():
            assert torch.equal(module(x), recorded.detach())


def test_training_changes_what_the_next_forward_quantizes():
    module, x = nn.Sequential(nn.Linear(4, 4)), P(8, 4)
    mappings = mappings_for(module, x)
    optimizer = torch.optim.SGD(module.parameters(), 0.5)
    losses = []
    with simulate(module, mappings):
        for _ in range(5):
            optimizer.zero_grad()
            loss = module(x).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("first", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("second", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_forwards_under_different_gradient_modes_agree(first, second):
    module, x = Small().eval(), P(2, 3, 6, 6)
    with simulate(module, mappings_for(module, x)):
        with first():
            a = module(x)
        with second():
            b = module(x)
    assert torch.equal(a.detach(), b.detach())


def test_a_second_simulation_after_the_first_is_independent():
    module, x = Small().eval(), P(2, 3, 6, 6)
    coarse, fine = mappings_for(module, x, scheme=Scheme(3, 3)), mappings_for(module, x)
    with torch.no_grad():
        plain = module(x)
        with simulate(module, fine):
            expected = module(x)
        with simulate(module, coarse):
            assert not torch.equal(module(x), expected)
        with simulate(module, fine):
            assert torch.equal(module(x), expected)
        assert torch.equal(module(x), plain)
    assert hooks_of(module) == 0


def test_simulations_of_disjoint_sites_nest():
    module, x = Small().eval(), P(2, 3, 6, 6)
    mappings = mappings_for(module, x)
    weights = {site: m for site, m in mappings.items() if site.endswith("weight")}
    others = {site: m for site, m in mappings.items() if not site.endswith("weight")}
    with torch.no_grad():
        with simulate(module, mappings):
            expected = module(x)
        with simulate(module, weights), simulate(module, others):
            assert torch.equal(module(x), expected)


def test_a_simulated_network_can_be_observed():
    module, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), P(2, 4)
    mappings = mappings_for(module, x, scheme=Scheme(2, 2))
    with torch.no_grad(), simulate(module, mappings), observe(module) as counters:
        module(x)
    with torch.no_grad(), observe(module) as floats:
        module(x)
    assert counters["0.input"].histogram().high == floats["0.input"].histogram().high
    assert counters["1.input"].histogram().high != floats["1.input"].histogram().high


def test_half_precision_networks_are_simulated():
    module, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).bfloat16(), P(2, 4).bfloat16()
    mappings = mappings_for(module, x)
    with torch.no_grad():
        expected = module(x)
        with simulate(module, mappings):
            assert (module(x) - expected).abs().max() < 0.1


def test_an_all_zero_channel_and_an_all_zero_input_are_simulated_without_nan():
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        module[0].weight[1] = 0
        module[0].bias.fill_(-100)
    x = P(1, 2, 4, 4)
    with torch.no_grad(), simulate(module, mappings_for(module, x)):
        result = module(x)
    assert torch.equal(result, module[2].bias.detach().view(1, 2, 1, 1).expand(1, 2, 4, 4))
