"""Simulation quantizes what runs: compared with fake quantization of the same operands in plain torch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from quantbench.quant import QuantizationError
from quantbench.quant.calibrators import max_range
from quantbench.quant.kept import packed, unpacked
from quantbench.quant.layers import find_layers
from quantbench.quant.observe import collect
from quantbench.quant.scheme import Scheme, decide
from quantbench.quant.simulate import simulate
from tests.quant.helpers import Function, names, sites

P = torch.randn
D = 6


class Plain:
    """Multiplies as F.linear does, and quantizes both operands once it has seen them in float."""

    def __init__(self) -> None:
        self.largest: dict[tuple[Any, str], float] = {}
        self.quantized = False

    def __call__(self, place: Any, x: Tensor, w: Tensor, computed: bool = False) -> Tensor:
        x = self._activation((place, "input"), x)
        if computed:
            w = self._activation((place, "weight"), w)
        elif self.quantized:
            w = fake(w, w.abs().amax(1, keepdim=True))
        return F.linear(x, w)

    def _activation(self, key: tuple[Any, str], x: Tensor) -> Tensor:
        if not self.quantized:
            self.largest[key] = max(self.largest.get(key, 0.0), float(x.abs().max()))
            return x
        return fake(x, torch.tensor(self.largest[key]))


def fake(x: Tensor, alpha: Tensor) -> Tensor:
    scale = 127 / alpha.float()
    return (x * scale).round().clamp(-127, 127) / scale


class Part(nn.Module):
    """One way to come to a weight. `plain`, where given, multiplies instead of torch."""

    plain: Plain | None = None

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(D, D, bias=False)
        self.make = nn.Linear(D, D * D, bias=False)
        self.stack = nn.Parameter(P(4, D, D) * torch.logspace(-2, 1, 4)[:, None, None])
        self.several = nn.ParameterList(nn.Parameter(P(D, D) * k) for k in (0.01, 1.0, 30.0))

    def times(self, place: str, x: Tensor, w: Tensor, computed: bool = False) -> Tensor:
        return F.linear(x, w) if self.plain is None else self.plain((self, place), x, w, computed)


class Own(Part):
    def forward(self, x: Tensor, choice: Tensor) -> Tensor:
        return self.linear(x) if self.plain is None else self.times("own", x, self.linear.weight)


class Chosen(Part):
    def forward(self, x: Tensor, choice: Tensor) -> Tensor:
        return self.times("chosen", x, self.several[int(choice) % 3])


class Experts(Part):
    def forward(self, x: Tensor, choice: Tensor) -> Tensor:
        out, taken = torch.zeros_like(x), (torch.arange(len(x)) * int(choice)) % 4
        for i in taken.unique().tolist():
            out[taken == i] = self.times("expert", x[taken == i], self.stack[i])
        return out


class Generated(Part):
    def forward(self, x: Tensor, choice: Tensor) -> Tensor:
        mean = x.mean(0, keepdim=True)
        made = self.make(mean) if self.plain is None else self.times("make", mean, self.make.weight)
        return self.times("generated", x, made.view(D, D), computed=True)


class Tied(Part):
    def forward(self, x: Tensor, choice: Tensor) -> Tensor:
        return self.times("back", torch.tanh(self.times("there", x, self.several[0])), self.several[0].t())


class Standardized(Part):
    def forward(self, x: Tensor, choice: Tensor) -> Tensor:
        w = self.several[2]
        return self.times("standardized", x, (w - w.mean(1, keepdim=True)) / w.std())


class Branch(Part):
    def forward(self, x: Tensor, choice: Tensor) -> Tensor:
        if int(choice) % 2:
            x = self.times("odd", x, self.several[0])
        return self.times("always", x, self.several[1])


class Loop(Part):
    def forward(self, x: Tensor, choice: Tensor) -> Tensor:
        for w in self.several[: 1 + int(choice) % 3]:
            x = torch.tanh(self.times("turn", x, w / w.norm()))
        return x


PARTS = (Own, Chosen, Experts, Generated, Tied, Standardized, Branch, Loop)


class Network(nn.Module):
    def __init__(self, parts: list[type[Part]]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(part() for part in parts)

    def forward(self, x: Tensor, choice: Tensor) -> Tensor:
        for part in self.parts:
            x = F.layer_norm(part(x, choice), (D,))
        return x


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=4),
    st.lists(st.integers(0, 5), min_size=2, max_size=4),
    st.integers(0, 5),
    st.booleans(),
    st.integers(0, 1000),
)
def test_simulation_equals_fake_quantization_of_the_same_operands_or_is_refused(parts, choices, other, kept, seed):
    torch.manual_seed(seed)
    module = Network(parts).eval().double()  # in which no two orders of summing fall on two sides of a rounding
    batches = [(P(5, D).double(), torch.tensor(choice)) for choice in choices]
    found, plain = find_layers(module, torch.zeros(1, D).double(), torch.tensor(other)), Plain()
    seen = collect(module, batches)
    if kept:  # on disk, for another process with the same network
        text, module = packed(seen, module), copy.deepcopy(module)
        seen = unpacked(text, seen, module, found) or seen
    mappings = decide(found, seen, max_range, Scheme()).mappings
    reference = copy.deepcopy(module)
    for part in reference.parts:
        part.plain = plain
    with torch.no_grad():
        for batch in batches:
            reference(*batch)
        plain.quantized = True
        with simulate(module, mappings):
            for batch in batches:
                torch.testing.assert_close(module(*batch), reference(*batch), rtol=1e-6, atol=1e-6)
            new = P(5, D).double(), torch.tensor(other)
            try:
                got = module(*new)
            except QuantizationError as error:
                assert "parts." in str(error)
            else:
                torch.testing.assert_close(got, reference(*new), rtol=1e-6, atol=1e-6)


def test_several_weights_of_one_place_are_sites_of_one_layer():
    module = Experts()
    seen = collect(module, [(P(8, D), torch.tensor(1))])
    (layer,) = seen.layers
    assert layer.name == "linear_0"
    assert sites(layer) == ["linear_0.input", *("linear_0.weight" + f"[{i}]" * (i > 0) for i in range(4))]
    assert layer.parameters == 4 * D * D
    assert list(seen) == ["linear_0.input"]


def test_an_operation_keeps_its_name_whichever_branch_runs():
    module = Branch()
    assert names(module, P(2, D), torch.tensor(0)) == ["linear_0"]
    assert names(module, P(2, D), torch.tensor(1)) == ["linear_1", "linear_0"]
    assert names(copy.deepcopy(module), P(2, D), torch.tensor(1)) == ["linear_1", "linear_0"]


def test_two_modules_that_are_no_parts_of_the_network_are_two_layers():
    others = [Function(lambda s, x: F.linear(x, s.p0), P(D, D)) for _ in range(2)]
    module = Function(lambda s, x: others[1](others[0](x)))
    assert names(module, P(2, D)) == ["linear_0", "linear_1"]


@pytest.mark.parametrize(
    "make", [lambda s, x: s.p0.softmax(0), lambda s, x: s.p0 @ s.p0, lambda s, x: s.p0[1:].repeat(1, 2)]
)
def test_what_is_computed_of_parameters_is_a_weight(make):
    module = Function(lambda s, x: F.linear(x, make(s, x)), P(4, 4))
    width = make(module, None).shape[1]
    layer = collect(module, [(P(3, width),), (P(3, width),)]).layers[-1]
    torch.testing.assert_close(layer.sites[1].weight, make(module, None))


@pytest.mark.parametrize(
    "make",
    [
        lambda s, x: s.p0 * x.mean(),
        lambda s, x: s.p0 * float(x.mean()),
        lambda s, x: s.p0.clone().copy_(x[:4]),
        lambda s, x: torch.zeros(4, 4).index_copy_(0, torch.arange(4), x[:4]),
        lambda s, x: torch.from_numpy(x[:4].numpy()),
        lambda s, x: s.p0 + torch.rand(4, 4),
    ],
)
def test_what_differs_between_inputs_is_an_activation(make):
    module = Function(lambda s, x: F.linear(x, make(s, x)), P(4, 4))
    seen = collect(module, [(P(5, 4),), (P(5, 4) * 9,)])
    assert set(seen) == {"linear_0.input", "linear_0.weight"}
    assert seen.layers[0].sites[1].weight is None


def test_a_computed_weight_that_is_another_later_is_refused():
    module = Function(lambda s, x: F.linear(x, s.p0 * float(x.mean())), P(4, 4))
    x = torch.ones(2, 4)
    mappings = decide(find_layers(module, x), collect(module, [(x,)]), max_range, Scheme()).mappings
    with torch.no_grad(), simulate(module, mappings):
        module(x)
        with pytest.raises(QuantizationError, match=r"site linear_0\.weight"):
            module(2 * x)


@pytest.mark.parametrize("skip", [(), ("linear_*",)])
def test_what_calibration_did_not_see_is_refused_by_name_unless_it_is_skipped(skip):
    module = Branch()
    x, even, odd = P(3, D), torch.tensor(0), torch.tensor(1)
    scheme = Scheme(skip_layers=skip)
    mappings = decide(find_layers(module, x, even), collect(module, [(x, even)]), max_range, scheme).mappings
    with torch.no_grad(), simulate(module, mappings):
        module(x, even)
        if skip:
            module(x, odd)
        else:
            with pytest.raises(QuantizationError, match=r"site linear_1\.input"):
                module(x, odd)


def test_with_activations_in_float_a_parameter_that_the_example_did_not_show_has_its_own_range():
    module, x = Chosen(), P(3, D)
    scheme = Scheme(activation_bits=None)
    mappings = decide(find_layers(module, x, torch.tensor(0)), {}, max_range, scheme).mappings
    with torch.no_grad(), simulate(module, mappings):
        for choice, w in enumerate(module.several):
            expected = F.linear(x, fake(w, w.abs().amax(1, keepdim=True)))
            torch.testing.assert_close(module(x, torch.tensor(choice)), expected)


def test_with_activations_in_float_a_weight_that_is_generated_stays_in_float():
    module, x = Generated(), P(3, D)
    mappings = decide(find_layers(module, x, torch.tensor(0)), {}, max_range, Scheme(activation_bits=None)).mappings
    assert set(mappings) == {"make.weight"}
