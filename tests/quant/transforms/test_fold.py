from __future__ import annotations

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune  # noqa: F401 - torch.nn.utils.prune is there once it was imported

from quantbench.quant import QuantizationError
from quantbench.quant.transforms.fold import fold_batch_norm
from tests.quant.helpers import hooks_of

P = torch.randn


def randomized(module: nn.Module) -> nn.Module:
    """In eval mode, with normalizations that do something."""
    for child in module.modules():
        if isinstance(getattr(child, "running_mean", None), torch.Tensor):
            child.running_mean.normal_(0, 0.5)
            child.running_var.uniform_(0.5, 2)
            if child.weight is not None:
                nn.init.uniform_(child.weight, 0.5, 1.5)
                nn.init.normal_(child.bias, 0, 0.5)
    return module.eval()


def check_folded(module: nn.Module, x: torch.Tensor, expected: list[tuple[str, str]] | int) -> nn.Module:
    """The folded module computes the same; which pairs were folded is as expected."""
    folded, pairs = fold_batch_norm(module, x)
    assert pairs == expected if isinstance(expected, list) else len(pairs) == expected
    with torch.no_grad():
        before, after = module(x), folded(x)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5 * float(before.abs().max()))
    return folded


LAYERS = {
    "conv1d": (nn.Conv1d(4, 6, 3), nn.BatchNorm1d, P(2, 4, 8)),
    "conv2d": (nn.Conv2d(4, 6, 3), nn.BatchNorm2d, P(2, 4, 6, 6)),
    "conv2d without bias": (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d, P(2, 4, 6, 6)),
    "depthwise": (nn.Conv2d(6, 6, 3, groups=6), nn.BatchNorm2d, P(2, 6, 6, 6)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d, P(2, 4, 6, 6)),
    "conv3d": (nn.Conv3d(2, 6, 2), nn.BatchNorm3d, P(2, 2, 4, 4, 4)),
    "transposed 1d": (nn.ConvTranspose1d(4, 6, 3, stride=2), nn.BatchNorm1d, P(2, 4, 8)),
    "transposed 2d": (nn.ConvTranspose2d(4, 6, 3), nn.BatchNorm2d, P(2, 4, 5, 5)),
    "grouped transposed 2d": (nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d, P(2, 4, 5, 5)),
    "grouped transposed 3d": (nn.ConvTranspose3d(4, 6, 2, groups=2, bias=False), nn.BatchNorm3d, P(1, 4, 3, 3, 3)),
    "linear": (nn.Linear(4, 6), nn.BatchNorm1d, P(5, 4)),
    "linear without bias": (nn.Linear(4, 6, bias=False), nn.BatchNorm1d, P(5, 4)),
}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_a_folded_layer_computes_the_same(name, affine):
    layer, norm, x = LAYERS[name]
    folded = check_folded(randomized(nn.Sequential(layer, norm(6, affine=affine))), x, [("0", "1")])
    assert not any(isinstance(child, nn.modules.batchnorm._BatchNorm) for child in folded.modules())


@pytest.mark.parametrize("name", ["conv2d", "grouped transposed 2d", "linear"])
def test_folding_follows_the_formula(name):
    layer, norm, x = LAYERS[name]
    module = randomized(nn.Sequential(layer, norm(6)))
    folded, _ = fold_batch_norm(module, x)
    factor = module[1].weight / torch.sqrt(module[1].running_var + module[1].eps)
    bias = (layer.bias - module[1].running_mean) * factor + module[1].bias
    torch.testing.assert_close(folded[0].bias, bias)
    weight, result = layer.weight, folded[0].weight
    if name == "grouped transposed 2d":  # 2 groups of 2 inputs and 3 outputs
        for i in range(4):
            for o in range(3):
                torch.testing.assert_close(result[i, o], weight[i, o] * factor[(i // 2) * 3 + o])
    else:
        for o in range(6):
            torch.testing.assert_close(result[o], weight[o] * factor[o])


def test_the_original_module_is_unchanged():
    module = randomized(nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), nn.BatchNorm2d(3)))
    before = copy.deepcopy(module.state_dict())
    folded, _ = fold_batch_norm(module, P(1, 2, 4, 4))
    after = module.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert hooks_of(module) == hooks_of(folded) == 0
    assert module[0].bias is None
    assert folded[0].weight.data_ptr() != module[0].weight.data_ptr()


def test_a_module_in_training_mode_is_not_changed_by_folding():
    module = randomized(nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))).train()
    before = module[1].running_mean.clone()
    folded, _ = fold_batch_norm(module, P(2, 2, 4, 4))
    assert torch.equal(module[1].running_mean, before)
    assert not folded.training
    assert module.training


class Wires(nn.Module):
    """A convolution and a normalization; `wiring` says what runs."""

    def __init__(self, wiring, channels: int = 3) -> None:
        super().__init__()
        self.wiring = wiring
        self.conv, self.norm = nn.Conv2d(channels, 3, 1), nn.BatchNorm2d(3)
        self.other = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.wiring(self, x)


def used_twice(m, x):
    y = m.conv(x)
    return m.norm(y) + y


def returned_too(m, x):
    y = m.conv(x)
    return torch.cat([m.norm(y)]), {"features": [y]}


def in_place(m, x):
    y = m.conv(x)
    y += 1
    return m.norm(y)


NOT_FOLDED = {
    "the output is used elsewhere": used_twice,
    "the output is used by another layer": lambda m, x: m.norm(y := m.conv(x)) + m.other(y),
    "normalization before convolution": lambda m, x: m.conv(m.norm(x)),
    "something between": lambda m, x: m.norm(torch.relu(m.conv(x))),
    "an in-place change between": in_place,
    "a view between": lambda m, x: m.norm(m.conv(x)[:, :, 1:]),
    "the convolution runs twice": lambda m, x: m.norm(m.conv(x)) + m.conv(x),
    "the convolution runs twice in a row": lambda m, x: m.norm(m.conv(m.conv(x))),
    "its weight is used by a function": lambda m, x: m.norm(m.conv(x)) + F.conv2d(x / 2, m.conv.weight, m.conv.bias),
    "its bias is used by a function": lambda m, x: m.norm(m.conv(x)) + F.conv2d(x / 2, m.other.weight, m.conv.bias),
    "its weight is used transposed": lambda m, x: m.norm(m.conv(x)) + F.conv2d(x, m.conv.weight.transpose(0, 1)),
    "its weight is used by mT": lambda m, x: m.norm(m.conv(x)) + m.conv.weight.mT.sum(),
    "its weight is used by T": lambda m, x: m.norm(m.conv(x)) + m.conv.weight[:, :, 0, 0].T.sum(),
    "its weight is used detached": lambda m, x: m.norm(m.conv(x)) + m.conv.weight.detach().sum(),
    "its weight's data are used": lambda m, x: m.norm(m.conv(x)) + m.conv.weight.data.sum(),
    "its weight is also its input": lambda m, x: m.norm(F.conv2d(m.conv.weight, m.conv.weight, m.conv.bias)) + x[:1],
    "a view of the output is used": lambda m, x: m.norm(y := m.conv(x)) + y.mT.mT,
    "the output's data are used": lambda m, x: m.norm(y := m.conv(x)) + y.data,
    "the normalization's mean is used": lambda m, x: m.norm(m.conv(x)) + m.norm.running_mean.sum(),
    "the normalization's factor is used": lambda m, x: m.norm(m.conv(x)) + m.norm.weight.sum(),
    "the normalization runs twice": lambda m, x: m.norm(m.conv(x)) + m.norm(m.other(x)),
    "another normalization of its input": lambda m, x: m.norm(m.norm(m.conv(x))),
}


@pytest.mark.parametrize("name", NOT_FOLDED)
def test_a_pair_is_not_folded_where(name):
    check_folded(randomized(Wires(NOT_FOLDED[name])), P(2, 3, 4, 4), [])


def test_a_pair_whose_middle_is_returned_is_not_folded():
    assert fold_batch_norm(randomized(Wires(returned_too)), P(2, 3, 4, 4))[1] == []


def test_looking_at_the_shape_of_the_middle_does_not_prevent_folding():
    check_folded(randomized(Wires(lambda m, x: m.norm(y := m.conv(x)) * y.shape[1])), P(1, 3, 4, 4), [("conv", "norm")])


def test_a_weight_shared_with_another_layer_is_folded_in_one_only():
    module = randomized(Wires(lambda m, x: m.other(m.norm(m.conv(x)))))
    module.other.weight = module.conv.weight
    check_folded(module, P(1, 3, 4, 4), [("conv", "norm")])


def test_a_pair_that_is_registered_under_two_names_computes_the_same():
    module = Wires(lambda m, x: m.body(x))
    module.body = nn.Sequential(module.conv, module.norm)
    folded, _ = fold_batch_norm(randomized(module), x := P(1, 3, 4, 4))
    torch.testing.assert_close(folded(x), module(x))


@pytest.mark.parametrize("features", [5, 6])
def test_normalization_over_another_axis_than_the_features_of_linear_is_not_folded(features):
    module = randomized(nn.Sequential(nn.Linear(4, features), nn.BatchNorm1d(5)))
    check_folded(module, P(2, 5, 4), [])


def test_normalization_of_an_unbatched_convolution_s_columns_is_not_folded():
    check_folded(randomized(nn.Sequential(nn.Conv1d(4, 5, 1), nn.BatchNorm1d(5))), P(4, 5), [])


COMPUTED = {
    "standardized": lambda: timm.layers.StdConv2d(2, 3, 3),
    "standardized, padded as TensorFlow does": lambda: timm.layers.StdConv2dSame(2, 3, 3),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 3)),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 3, 3)),
    "weight norm, old": lambda: nn.utils.weight_norm(nn.Conv2d(2, 3, 3)),
    "spectral norm, old": lambda: nn.utils.spectral_norm(nn.Conv2d(2, 3, 3)),
    "pruned": lambda: nn.utils.prune.l1_unstructured(nn.Conv2d(2, 3, 3), "weight", 0.5),
    "pruned bias": lambda: nn.utils.prune.random_unstructured(nn.Conv2d(2, 3, 3), "bias", 1),
}


@pytest.mark.parametrize("ran", [False, True])
@pytest.mark.parametrize("name", COMPUTED)
def test_a_convolution_that_computes_its_weight_is_left(name, ran):
    module = randomized(nn.Sequential(COMPUTED[name](), nn.BatchNorm2d(3)))
    x = P(1, 2, 6, 6)
    with torch.inference_mode():
        module(x)
    if ran:  # then the module keeps what it computed, which deepcopy does not take
        module(x)
    folded = check_folded(module, x, [])
    with torch.no_grad():
        torch.testing.assert_close(folded(2 * x), module(2 * x))


def test_what_deepcopy_does_not_take_is_an_error_by_name():
    module = randomized(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)))
    module.lock = (x for x in ())
    with pytest.raises(QuantizationError, match=r"^Sequential cannot be copied \(cannot pickle 'generator' object\)$"):
        fold_batch_norm(module, P(1, 2, 6, 6))


def test_a_subclass_of_batch_norm_that_does_more_is_not_folded():
    class Doubling(nn.BatchNorm2d):
        def forward(self, x):
            return 2 * super().forward(x)

    check_folded(randomized(nn.Sequential(nn.Conv2d(2, 3, 1), Doubling(3))), P(1, 2, 4, 4), [])


def test_normalization_without_running_statistics_is_not_folded():
    norm = nn.BatchNorm2d(3, track_running_stats=False)
    check_folded(nn.Sequential(nn.Conv2d(2, 3, 1), norm).eval(), P(2, 2, 4, 4), [])


def test_instance_and_group_normalization_are_not_folded():
    module = nn.Sequential(nn.Conv2d(2, 4, 1), nn.InstanceNorm2d(4, track_running_stats=True), nn.GroupNorm(2, 4))
    check_folded(module.eval(), P(2, 2, 4, 4), [])
