"""Normalized weights, modules that hide what they run, and products by other names."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quantbench.quant import QuantizationError
from quantbench.quant.calibrators import max_range
from quantbench.quant.layers import find_layers
from quantbench.quant.observe import collect
from quantbench.quant.scheme import Scheme, decide
from quantbench.quant.simulate import simulate
from tests.quant.helpers import Function, names, sites
from tests.quant.test_operands import P, fake

NORMS = {
    "spectral": nn.utils.parametrizations.spectral_norm,
    "spectral, of old": nn.utils.spectral_norm,
    "weight": nn.utils.parametrizations.weight_norm,
    "orthogonal": nn.utils.parametrizations.orthogonal,
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 3), nn.Linear(6, 4)])
def test_a_weight_that_is_normalized_is_the_weight_of_its_module(norm, layer):
    module = nn.Sequential(NORMS[norm](copy.deepcopy(layer))).eval()
    x = P(2, 3, 6, 6)
    module(x)
    (found,) = find_layers(module, x)
    assert sites(found) == ["0.input", "0.weight"]
    weight = module[0].weight.detach()
    torch.testing.assert_close(found.sites[1].weight, weight)
    mappings = decide([found], collect(module, [(x,)]), max_range, Scheme()).mappings
    largest = weight.abs().flatten(1).amax(1).view(-1, *[1] * (weight.ndim - 1))
    multiply = F.conv2d if weight.ndim == 4 else F.linear
    with torch.no_grad(), simulate(module, mappings):
        expected = multiply(fake(x, x.abs().max()), fake(weight, largest), module[0].bias)
        torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize(
    ("hide", "advice"),
    [
        (torch.jit.script, r"module '0' is scripted.*give the module it was made of"),
        (torch.compile, r"module '0' is compiled.*give its _orig_mod"),
        (lambda part: (part.compile(), part)[1], r"module '0' is compiled.*before \.compile\(\)"),
        (lambda part: Function(lambda s, x: torch.vmap(part)(x)), r"vmap .*module '0' cannot be quantized"),
    ],
)
def test_a_module_that_hides_what_it_runs_is_refused_in_one_line(hide, advice):
    with pytest.raises(QuantizationError, match=advice):
        find_layers(nn.Sequential(hide(nn.Linear(4, 4))), P(2, 4))


EINSUMS = {
    "bhid,bhjd->bhij": [(2, 3, 4, 5), (2, 3, 6, 5)],
    "...d,dhk->...hk": [(2, 3, 4), (4, 2, 5)],
    "ij,jk": [(3, 4), (4, 5)],
    "bij,bjk->ik": [(2, 3, 4), (2, 4, 5)],
    "ii,ij->j": [(3, 3), (3, 4)],
    "...ij,...jk->...ik": [(2, 1, 3, 4), (5, 4, 6)],
    "ibnd , jbnd -> bnij": [(3, 2, 4, 5), (6, 2, 4, 5)],
    "bi,bi->b": [(2, 3), (2, 3)],
    "i,i": [(4,), (4,)],
    "ijq,jk->ik": [(3, 4, 2), (4, 5)],
}


@pytest.mark.parametrize("equation", EINSUMS)
def test_einsum_of_two_is_one_product(equation):
    a, b = (P(shape) for shape in EINSUMS[equation])
    module = Function(lambda s, a, b: torch.einsum(equation, a, b))
    assert names(module, a, b) == ["matmul_0"]
    with simulate(module, {}):
        torch.testing.assert_close(module(a, b), torch.einsum(equation, a, b), rtol=1e-4, atol=1e-5)


def test_einsum_that_sums_over_nothing_is_no_product_of_matrices():
    module = Function(lambda s, a, b: torch.einsum("i,j->ij", a, b) + torch.einsum("ij->ji", P(4, 3)))
    assert names(module, P(3), P(4)) == []


def test_einsum_of_three_is_refused():
    module = nn.Sequential(Function(lambda s, x: torch.einsum("ij,jk,kl->il", x, x, x)))
    with pytest.raises(QuantizationError, match=r"einsum in module '0' .* products of two"):
        find_layers(module, P(3, 3))


@pytest.mark.parametrize("dims", [1, 2, ([1, 0], [0, 2]), ([-1], [0])])
def test_tensordot_is_one_product(dims):
    a, b = P(3, 4), P(4, 5, 3) if isinstance(dims, tuple) or dims == 1 else P(3, 4, 5)
    module = Function(lambda s, a, b: torch.tensordot(a, b, dims))
    assert names(module, a, b) == ["matmul_0"]
    with simulate(module, {}):
        torch.testing.assert_close(module(a, b), torch.tensordot(a, b, dims))


def test_groups_of_rows_with_a_matrix_each_are_one_layer_with_a_weight_each():
    ends = torch.tensor([2, 2, 6], dtype=torch.int32)
    module, x = Function(lambda s, x: F.grouped_mm(x, s.p0, offs=ends), P(3, 8, 4)), P(6, 8)
    (layer,) = find_layers(module, x)
    assert sites(layer) == ["matmul_0.lhs", "matmul_0.weight", "matmul_0.weight[1]"]
    with torch.no_grad(), simulate(module, {}):
        torch.testing.assert_close(module(x), torch.cat([x[:2] @ module.p0[0], x[2:] @ module.p0[2]]))
