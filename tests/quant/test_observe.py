from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quantbench.quant import QuantizationError
from quantbench.quant.histogram import Histogram
from quantbench.quant.observe import observe
from tests.quant.helpers import Function, calls_of, hooks_of, moved

P = torch.randn


def network() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4), nn.ReLU(), nn.Flatten()),
        nn.Linear(8 * 8 * 8, 10),
    ).eval()


def observed(module: nn.Module, *batches: Tensor) -> dict[str, Histogram]:
    with torch.no_grad(), observe(module) as counters:
        for batch in batches:
            module(batch)
    return {site: counter.histogram() for site, counter in counters.items()}


def test_histograms_are_those_of_the_inputs_that_forward_hooks_see():
    module, seen = network(), {}
    for name in ("0", "2", "5"):
        module.get_submodule(name).register_forward_pre_hook(
            lambda _, args, name=name: seen.setdefault(f"{name}.input", []).append(args[0].clone())
        )
    histograms = observed(module, P(4, 3, 12, 12), 3 * P(2, 3, 12, 12))
    assert set(histograms) == set(seen)
    for site, tensors in seen.items():
        x, histogram = torch.cat([t.flatten() for t in tensors]).double().numpy(), histograms[site]
        expected, _ = np.histogram(np.abs(x), bins=histogram.edges)
        assert np.array_equal(histogram.counts, expected)
        assert (histogram.low, histogram.high) == (x.min(), x.max())


def test_both_operands_of_products_are_observed_and_weights_are_not():
    module, x = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), P(2, 3, 8)
    histograms = observed(module, x)
    expected = {o.site: o.tensor for call in calls_of(module, x) for o in call.operands if not o.is_weight}
    assert set(histograms) == set(expected)
    assert len(expected) == 8
    for site, tensor in expected.items():
        assert histograms[site].total == tensor.numel()
        assert histograms[site].largest == pytest.approx(float(tensor.abs().max()), rel=1e-5)


def test_observing_does_not_change_the_output():
    module, x = network(), P(2, 3, 12, 12)
    with torch.no_grad():
        expected = module(x)
        with observe(module):
            assert torch.equal(module(x), expected)
    assert hooks_of(module) == 0


@pytest.mark.parametrize("order", [list(range(24)), list(range(23, -1, -1))])
@pytest.mark.parametrize("size", [1, 5, 24])
def test_batch_size_and_order_move_only_values_on_a_bin_s_edge(order, size):
    module, x = network(), P(24, 3, 12, 12)
    once, other = observed(module, x), observed(module, *x[order].split(size))
    assert set(once) == set(other)
    for site, a in once.items():
        b = other[site]
        assert a.total == b.total
        assert moved(a, b) <= (0 if site == "0.input" else 2e-3 * a.total)
        assert a.largest == pytest.approx(b.largest, rel=1e-5)


def test_several_calls_of_one_module_go_into_one_histogram():
    linear = nn.Linear(4, 4)
    histograms = observed(nn.Sequential(linear, linear, linear), P(5, 4))
    assert {site: h.total for site, h in histograms.items()} == {"0.input": 60}


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_value_that_is_not_finite_names_the_site(bad):
    def spoil(_, x):
        return torch.cat([x.flatten()[:-1], torch.tensor([bad])]).view(x.shape)

    module = nn.Sequential(nn.Linear(4, 4), Function(spoil), nn.Sequential(nn.Linear(4, 4)))
    with pytest.raises(QuantizationError, match=r"site 2\.0\.input: .*of 8 values"), observe(module):
        module(P(2, 4))
    assert hooks_of(module) == 0


def test_the_second_operand_is_named_too():
    with pytest.raises(QuantizationError, match=r"site matmul_0\.rhs"):
        observed(Function(lambda s, x: x @ torch.full((4, 2), torch.nan)), P(3, 4))


def peak_growth(function) -> int:
    """How many bytes of resident memory `function` needs at its worst."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def read(key: str) -> int:
        return int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith(key))) * 1024

    try:
        clear.write_text("5")  # forgets the peak so far
    except OSError:
        pytest.skip("peak memory cannot be read here")
    before = read("VmRSS")
    function()
    return read("VmHWM") - before


@pytest.mark.parametrize("batches", [1, 8])
def test_peak_memory_is_within_1_3_of_the_float_forward_s_whatever_the_number_of_samples(batches):
    module = nn.Sequential(*(nn.Conv2d(16, 16, 1) for _ in range(2)), nn.Flatten(), nn.Linear(16 * 512 * 512, 1))
    x = P(4, 16, 512, 512)  # 64 MB

    def run() -> None:
        for _ in range(batches):
            module(x)

    with torch.no_grad():
        run()
        plain = peak_growth(run)
        with observe(module):
            observing = peak_growth(run)
    assert plain > 60e6
    assert observing < 1.3 * plain
