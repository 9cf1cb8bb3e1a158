from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from quantbench.quant import mapping as maps
from quantbench.quant.integer import accumulate, integer_output
from quantbench.quant.intercept.mode import intercept
from quantbench.quant.intercept.operations import Call
from quantbench.quant.scheme import Scheme
from quantbench.quant.simulate import simulate
from tests.quant.helpers import Function, calls_of, mappings_for

P = torch.randn

SCHEMES = st.builds(
    Scheme,
    weight_bits=st.integers(2, 8),
    activation_bits=st.integers(2, 8),
    mapping=st.sampled_from(["scale", "affine"]),
    weight_granularity=st.sampled_from(["per_channel", "per_tensor"]),
)


def check_exact(module: nn.Module, *inputs: Tensor, scheme: Scheme) -> None:
    """Each layer's simulated output equals the integer reference, up to float32's rounding of its sums."""
    mappings = mappings_for(module, *inputs, scheme=scheme)
    pairs: list[tuple[Call, Tensor]] = []

    def outer(call: Call) -> Tensor:  # sees what the simulation executes: operands on the grid
        pairs[-1] = (pairs[-1][0], call.run())
        return pairs[-1][1]

    def inner(call: Call) -> Tensor:
        pairs.append((call, torch.empty(0)))
        return call.run()

    with torch.no_grad(), intercept(module, outer), simulate(module, mappings), intercept(module, inner):
        module(*inputs)
    assert pairs
    for call, simulated in pairs:
        exact = integer_output(call, mappings)
        assert exact.shape == simulated.shape
        first, second = (maps.fake_quantize(o.tensor, mappings[o.site]).double().abs() for o in call.operands)
        size = call.run(first, second, None if call.bias is None else call.bias.double().abs())
        assert ((simulated.double() - exact).abs() <= 4e-6 * size.abs() + 1e-12).all()


@st.composite
def convolutions(draw):
    dims, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    transposed = draw(st.booleans())
    options = {
        "stride": draw(st.integers(1, 3)),
        "padding": draw(st.integers(0, 1)),
        "dilation": draw(st.integers(1, 2)),
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    if transposed and draw(st.booleans()):
        options["output_padding"] = max(options["stride"], options["dilation"]) - 1
    inputs, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel = draw(st.integers(1, 3))
    torch.manual_seed(draw(st.integers(0, 1000)))
    layer = getattr(nn, f"Conv{'Transpose' * transposed}{dims}d")(inputs, outputs, kernel, **options)
    side = {1: 9, 2: 6, 3: 5}[dims]
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    x = P(*batch, inputs, *([side] * dims)) * 3 + draw(st.sampled_from([0.0, 2.0]))
    if draw(st.booleans()):
        with torch.no_grad():
            layer.weight[0] = 0
    return layer, x


@settings(deadline=None, max_examples=80)
@given(convolutions(), SCHEMES)
def test_every_simulated_convolution_equals_the_integer_reference(convolution, scheme):
    layer, x = convolution
    check_exact(layer, x, scheme=scheme)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(1, 4), max_size=2),
    st.integers(1, 200),
    st.integers(1, 6),
    st.booleans(),
    SCHEMES,
    st.integers(0, 99),
)
def test_every_simulated_linear_equals_the_integer_reference(batch, inputs, outputs, bias, scheme, seed):
    torch.manual_seed(seed)
    check_exact(nn.Linear(inputs, outputs, bias=bias), P(*batch, 2, inputs), scheme=scheme)


PRODUCTS = {
    "matmul": (lambda s, a: a @ a.mT, (), (2, 3, 4)),
    "broadcast": (lambda s, a: a @ a[0, 0].mT, (), (2, 2, 3, 4)),
    "bmm": (lambda s, a: torch.bmm(a, a.mT), (), (2, 3, 4)),
    "vector": (lambda s, a: a @ a[0, 0], (), (2, 3, 4)),
    "baddbmm": (lambda s, a: torch.baddbmm(s.p0, a, a.mT), ((2, 1, 3),), (2, 3, 4)),
    "addmm with weight": (lambda s, a: torch.addmm(s.p1, a, s.p0), ((4, 5), (5,)), (3, 4)),
    "weight on the right": (lambda s, a: a @ s.p0, ((4, 5),), (2, 3, 4)),
    "batched weight": (lambda s, a: torch.bmm(a, s.p0), ((2, 4, 5),), (2, 3, 4)),
    "weight on the left": (lambda s, a: s.p0 @ a, ((5, 3),), (2, 3, 4)),
    "weight on the left of a vector": (lambda s, a: s.p0 @ a, ((5, 4),), (4,)),
    "attention": (lambda s, a: F.scaled_dot_product_attention(a, a, a), (), (1, 2, 3, 4)),
    "linear with a vector of weights": (lambda s, a: F.linear(a, s.p0), ((4,),), (3, 4)),
    "scaled addmm": (lambda s, a: torch.addmm(s.p1, a, s.p0, alpha=0.25, beta=2), ((4, 5), (5,)), (3, 4)),
    "scaled baddbmm": (lambda s, a: torch.baddbmm(s.p0, a, a.mT, alpha=0.125, beta=0), ((2, 3, 3),), (2, 3, 4)),
}


@pytest.mark.parametrize("name", PRODUCTS)
@settings(deadline=None, max_examples=10)
@given(SCHEMES)
def test_every_simulated_product_equals_the_integer_reference(name, scheme):
    function, parameters, shape = PRODUCTS[name]
    torch.manual_seed(7)
    check_exact(Function(function, *(P(*p) for p in parameters)), P(*shape), scheme=scheme)


@settings(deadline=None, max_examples=5)
@given(SCHEMES)
def test_every_layer_of_a_transformer_equals_the_integer_reference(scheme):
    torch.manual_seed(3)
    check_exact(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), P(2, 3, 8), scheme=scheme)


def integers(call: Call, mappings: dict[str, maps.Mapping]) -> list[np.ndarray]:
    """Both operands as int64, zero points taken off, from the mapping's formula."""
    result = []
    for operand in call.operands:
        m, x = mappings[operand.site], operand.tensor.detach().numpy()
        scale, zero = m.scale.numpy(), m.zero_point.numpy()
        q = np.clip(np.rint(x * scale) + zero, m.low, m.high).astype(np.int64) - zero.astype(np.int64)
        result.append(np.where(np.broadcast_to(scale, x.shape) > 0, q, 0))
    return result


def naive_conv2d(x: np.ndarray, w: np.ndarray, layer: nn.Conv2d, height: int, width: int) -> np.ndarray:
    s, p, d = layer.stride[0], layer.padding[0], layer.dilation[0]
    out = np.zeros((len(x), len(w), height, width), np.int64)
    per_group_in, per_group_out = w.shape[1], len(w) // layer.groups
    for n, o, i, j in np.ndindex(*out.shape):
        for c, a, b in np.ndindex(*w.shape[1:]):
            row, column = i * s - p + a * d, j * s - p + b * d
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                out[n, o, i, j] += x[n, (o // per_group_out) * per_group_in + c, row, column] * w[o, c, a, b]
    return out


def naive_conv_transpose2d(
    x: np.ndarray, w: np.ndarray, layer: nn.ConvTranspose2d, height: int, width: int
) -> np.ndarray:
    s, p, d = layer.stride[0], layer.padding[0], layer.dilation[0]
    out = np.zeros((len(x), w.shape[1] * layer.groups, height, width), np.int64)
    per_group_in = len(w) // layer.groups
    for n, c, i, j in np.ndindex(*x.shape):
        for o, a, b in np.ndindex(*w.shape[1:]):
            row, column = i * s - p + a * d, j * s - p + b * d
            if 0 <= row < height and 0 <= column < width:
                out[n, (c // per_group_in) * w.shape[1] + o, row, column] += x[n, c, i, j] * w[c, o, a, b]
    return out


@pytest.mark.parametrize("mapping", ["scale", "affine"])
@pytest.mark.parametrize(("groups", "stride", "padding", "dilation"), [(1, 1, 0, 1), (2, 2, 1, 1), (1, 1, 1, 2)])
@pytest.mark.parametrize("transposed", [False, True])
def test_the_accumulator_of_a_convolution_is_that_of_plain_integer_loops(
    transposed, groups, stride, padding, dilation, mapping
):
    kind, naive = (nn.ConvTranspose2d, naive_conv_transpose2d) if transposed else (nn.Conv2d, naive_conv2d)
    layer = kind(4, 6, (3, 2), stride=stride, padding=padding, dilation=dilation, groups=groups)
    x = P(2, 4, 5, 4)
    mappings = mappings_for(layer, x, scheme=Scheme(mapping=mapping, activation_bits=5))
    (call,) = calls_of(layer, x)
    sums = accumulate(call, mappings)
    assert sums.dtype == torch.int64
    assert np.array_equal(sums.numpy(), naive(*integers(call, mappings), layer, *sums.shape[2:]))


@pytest.mark.parametrize("mapping", ["scale", "affine"])
def test_the_accumulator_of_linear_and_matmul_is_that_of_plain_integer_loops(mapping):
    scheme = Scheme(mapping=mapping)
    for module, x in (
        (nn.Linear(5, 4), P(3, 5)),
        (Function(lambda s, x: x @ s.p0, P(5, 4)), P(3, 5)),
        (Function(lambda s, x: torch.addmm(s.p1, x, s.p0), P(5, 4), P(4)), P(3, 5)),
    ):
        mappings = mappings_for(module, x, scheme=scheme)
        (call,) = calls_of(module, x)
        a, b = integers(call, mappings)
        b = b.T if call.kind == "linear" else b
        expected = np.zeros((3, 4), np.int64)
        for i, j, k in itertools.product(range(3), range(4), range(5)):
            expected[i, j] += a[i, k] * b[k, j]
        assert np.array_equal(accumulate(call, mappings).numpy(), expected)


def test_the_real_output_is_the_accumulator_over_both_scales_plus_the_bias():
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0], [0.5, 0.25]]))
        layer.bias.copy_(torch.tensor([10.0, -1.0]))
    mappings = {
        "input": maps.scale_mapping(torch.tensor(127.0), 8),
        "weight": maps.scale_mapping(torch.tensor([[7.0], [0.5]]), 4),
    }
    (call,) = calls_of(layer, torch.tensor([[3.0, 4.0]]))
    renamed = {operand.site: mappings[operand.name] for operand in call.operands}
    # rows: scale 1 -> (1, -2); scale 14 -> (7, 4 by ties to even of 3.5)
    assert accumulate(call, renamed).tolist() == [[3 - 8, 21 + 16]]
    torch.testing.assert_close(
        integer_output(call, renamed), torch.tensor([[10.0 - 5, -1 + 37 / 14]], dtype=torch.float64)
    )


def test_a_sum_that_does_not_fit_int32_is_an_error():
    fits = (2**31 - 1) // 127**2
    mapping = maps.scale_mapping(torch.tensor(1.0), 8)
    for size in (fits, fits + 1):
        layer = nn.Linear(size, 1, bias=False)
        nn.init.ones_(layer.weight)
        (call,) = calls_of(nn.Sequential(layer), torch.ones(1, size))
        mappings = {"0.input": mapping, "0.weight": mapping}
        if size == fits:
            assert accumulate(call, mappings).item() == fits * 127**2
        else:
            with pytest.raises(OverflowError, match="layer 0"):
                accumulate(call, mappings)


def test_large_sums_are_exact_where_float32_is_not():
    size = 40_000
    layer = nn.Linear(size, 1, bias=False)
    nn.init.ones_(layer.weight)
    x = torch.ones(1, size)
    x[0, 0] = 1 / 127
    (call,) = calls_of(nn.Sequential(layer), x)
    mapping = maps.scale_mapping(torch.tensor(1.0), 8)
    assert accumulate(call, {"0.input": mapping, "0.weight": mapping}).item() == (size - 1) * 127**2 + 127


def test_padding_is_real_zero_under_an_affine_mapping():
    layer = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    nn.init.ones_(layer.weight)
    (call,) = calls_of(nn.Sequential(layer), torch.full((1, 1, 2), 5.0))
    mappings = {
        "0.input": maps.affine_mapping(torch.tensor(0.0), torch.tensor(255.0), 8),
        "0.weight": maps.scale_mapping(torch.tensor(1.0), 2),
    }
    assert accumulate(call, mappings).tolist() == [[[10, 10]]]
