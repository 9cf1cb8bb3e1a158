"""Folding of whole networks, of random ones, and of tensors that something else uses too."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.nn.utils import prune  # noqa: F401 - torch.nn.utils.prune is there once it was imported
from torchvision.ops import FrozenBatchNorm2d

from quantbench.quant import QuantizationError
from quantbench.quant.layers import find_layers
from quantbench.quant.transforms.fold import fold_batch_norm
from tests.quant.helpers import Function, mappings_for
from tests.quant.transforms.test_fold import P, Wires, check_folded, randomized


@pytest.mark.parametrize(("name", "pairs"), [("resnet18", 20), ("mobilenet_v2", 52)])
def test_torchvision_networks_are_folded_whole(name, pairs):
    module = randomized(getattr(torchvision.models, name)())
    folded = check_folded(module, P(2, 3, 64, 64), pairs)
    assert not any(isinstance(child, nn.BatchNorm2d) for child in folded.modules())
    assert [layer.name for layer in find_layers(folded, P(1, 3, 64, 64))] == [
        layer.name for layer in find_layers(module, P(1, 3, 64, 64))
    ]


@pytest.mark.parametrize("name", ["efficientnet_lite0", "tf_efficientnet_lite0"])
def test_timm_normalization_with_activation_keeps_its_activation(name):
    module = randomized(timm.create_model(name))  # the convolutions of the second pad as TensorFlow does
    norms = sum(isinstance(child, nn.BatchNorm2d) for child in module.modules())
    folded = check_folded(module, P(1, 3, 64, 64), norms)
    assert norms == 49
    assert not any(isinstance(child, nn.BatchNorm2d) for child in folded.modules())


def test_a_detector_s_frozen_normalization_is_folded():
    module = torchvision.models.resnet18(norm_layer=FrozenBatchNorm2d)
    for child in module.modules():
        if isinstance(child, FrozenBatchNorm2d):
            child.weight.uniform_(0.5, 1.5)
            child.bias.normal_()
            child.running_mean.normal_()
            child.running_var.uniform_(0.5, 2)
    folded = check_folded(module.eval(), P(1, 3, 64, 64), 20)
    assert not any(isinstance(child, FrozenBatchNorm2d) for child in folded.modules())


def test_the_backbone_of_a_detector_is_folded():
    module = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=64
    ).eval()
    folded, pairs = fold_batch_norm(module, [torch.rand(3, 64, 64)])
    assert len(pairs) == sum("BatchNorm" in type(child).__name__ for child in module.modules()) > 40
    x = torch.rand(1, 3, 64, 64)
    for before, after in zip(module.backbone(x).values(), folded.backbone(x).values(), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_a_zero_gamma_gives_an_all_zero_channel_that_quantizes_without_nan():
    module = randomized(nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)))
    nn.init.zeros_(module[1].weight[1:2])
    x = P(1, 2, 4, 4)
    folded = check_folded(module, x, [("0", "1")])
    assert not folded[0].weight[1].any()
    torch.testing.assert_close(folded[0].bias[1], module[1].bias[1])
    mappings = mappings_for(folded, x)
    assert mappings["0.weight"].scale.isfinite().all()
    assert float(mappings["0.weight"].scale[1]) == 0


def test_control_flow_is_followed():
    module = randomized(Wires(lambda m, x: m.norm(m.other(x) if x.mean() > -1e9 else m.conv(x))))
    check_folded(module, P(1, 3, 4, 4), [("other", "norm")])


def test_half_precision_weights_keep_their_type():
    module = randomized(nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))).bfloat16()
    folded, pairs = fold_batch_norm(module, P(1, 2, 4, 4).bfloat16())
    assert pairs == [("0", "1")]
    assert folded[0].weight.dtype == folded[0].bias.dtype == torch.bfloat16


def test_a_function_between_two_modules_is_seen():
    twice = Function(lambda s, x: x * 2)
    check_folded(randomized(nn.Sequential(nn.Conv2d(2, 3, 1), twice, nn.BatchNorm2d(3))), P(1, 2, 4, 4), [])


class Owning(nn.Module):
    """Holds what a function takes as its weight and bias."""

    def __init__(self, bias=True) -> None:
        super().__init__()
        self.kernel, self.norm = nn.Parameter(P(3, 3, 1, 1)), nn.BatchNorm2d(3)
        self.register_parameter("shift", nn.Parameter(P(3)) if bias else None)

    def forward(self, x):
        return self.norm(F.conv2d(x, self.kernel, self.shift))


def test_a_function_with_parameters_of_its_own_is_folded_where_there_is_a_place_for_the_bias():
    check_folded(randomized(nn.Sequential(Owning())), P(1, 3, 4, 4), [("0.kernel", "0.norm")])
    check_folded(randomized(nn.Sequential(Owning(bias=False))), P(1, 3, 4, 4), [])


def test_a_convolution_that_adds_its_bias_itself_or_has_none_is_left():
    class Adding(nn.Conv2d):
        def forward(self, x):
            found = F.conv2d(x, self.weight)
            return found if self.bias is None else found + self.bias.view(-1, 1, 1)

    for bias in (True, False):
        module = nn.Sequential(Adding(3, 3, 1, bias=bias), nn.BatchNorm2d(3))
        folded = check_folded(randomized(module), P(1, 3, 4, 4), [])
        assert (folded[0].bias is None) is not bias


def test_tied_weights_are_each_folded_with_their_own_normalization():
    module = randomized(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))
    module[2].weight = module[0].weight
    check_folded(module, P(1, 3, 4, 4), [("0", "1"), ("2", "3")])
    module[2].weight = nn.Parameter(module[0].weight.data)  # another parameter in the same memory
    check_folded(module, P(1, 3, 4, 4), [("0", "1"), ("2", "3")])


def test_parameters_that_are_not_folded_stay_tied():
    module = Wires(lambda m, x: m.other(m.norm(torch.relu(m.conv(x)))))
    module.other.weight = module.conv.weight
    folded = check_folded(randomized(module), P(1, 3, 4, 4), [])
    assert folded.other.weight is folded.conv.weight


def test_a_normalization_with_a_hook_is_left():
    module = randomized(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))
    module[1].register_forward_hook(lambda _, __, output: output * 2)
    check_folded(module, P(1, 3, 4, 4), [])
    module = randomized(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))
    module[0].register_forward_hook(lambda _, __, output: output * 2)
    check_folded(module, P(1, 3, 4, 4), [])


def test_a_subclass_that_changes_nothing_is_folded():
    class Mine(nn.BatchNorm2d):
        pass

    check_folded(randomized(nn.Sequential(nn.Conv2d(2, 3, 1), Mine(3))), P(1, 2, 4, 4), [("0", "1")])


def test_what_another_input_shows_counts():
    module = randomized(Wires(lambda m, x: m.norm(m.conv(x)) if x.mean() < 9 else m.other(m.conv(x))))
    low, high = P(1, 3, 4, 4), P(1, 3, 4, 4) + 99
    assert fold_batch_norm(module, low)[1] == [("conv", "norm")]
    folded, pairs = fold_batch_norm(module, low, more=[(high,)])
    assert pairs == []
    assert torch.equal(folded(high), module(high))


def test_a_copy_that_answers_otherwise_is_an_error(monkeypatch):
    module = randomized(Wires(lambda m, x: m.norm(m.conv(x)) * m.norm.num_features))
    with pytest.raises(QuantizationError, match=r"^batch normalization cannot be folded: the folded copy does not run"):
        fold_batch_norm(module, P(1, 3, 4, 4))
    monkeypatch.setattr("quantbench.quant.transforms.fold._absorb", lambda *_: None)
    module = randomized(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))
    with pytest.raises(
        QuantizationError, match=r"^batch normalization cannot be folded: the folded copy answers other"
    ):
        fold_batch_norm(module, P(1, 3, 4, 4))


def test_a_network_that_magnifies_rounding_is_folded():
    def magnified(m, x):
        y = m.norm(m.conv(x))
        return torch.sin(3e5 * y)

    module, x = randomized(Wires(magnified)), P(1, 3, 8, 8)
    folded, pairs = fold_batch_norm(module, x)
    assert pairs == [("conv", "norm")]
    assert (folded(x) - module(x)).norm() > 1e-4 * module(x).norm()


class Random(nn.Module):
    """Some steps that `seed` draws: layers of several kinds, tied, used again, and normalizations after some."""

    def __init__(self, seed) -> None:
        super().__init__()
        self.draw = draw = np.random.default_rng(seed)
        kinds = (
            lambda: nn.Conv2d(4, 4, 3, padding=1, bias=bool(draw.integers(2))),
            lambda: nn.Conv2d(4, 4, 3, padding=1, groups=int(draw.choice([2, 4])), bias=bool(draw.integers(2))),
            lambda: nn.ConvTranspose2d(
                4, 4, 3, padding=1, groups=int(draw.choice([1, 2])), bias=bool(draw.integers(2))
            ),
            lambda: timm.layers.Conv2dSame(4, 4, 3),
            lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1)),
        )
        self.layers = nn.ModuleList(kinds[draw.integers(5)]() for _ in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(4))
        first, second = self.layers[:2]
        if draw.integers(2) and type(first) is type(second) is nn.Conv2d and first.weight.shape == second.weight.shape:
            second.weight = first.weight
        self.steps = [[i, i, *draw.choice(10, size=2)] for i in range(4)]
        if draw.integers(3) == 0:
            self.steps.append([*draw.integers(4, size=2), *draw.choice(8, size=2)])

    def forward(self, x):
        for layer, norm, wire, use in self.steps:
            y = self.layers[layer](x)
            x = x + (y if wire == 0 else self.norms[norm](torch.relu(y) if wire == 1 else y))
            if wire == 2:
                x = self.norms[norm](x)
            if use == 0:
                x = x + y
            weight = self.layers[layer].weight
            if use == 1 and weight.shape == (4, 4, 3, 3):
                x = x + F.conv2d(x, weight.transpose(0, 1) if norm else weight, padding=1)
            if use == 3 and weight.shape == (4, 4, 3, 3):
                x = x + F.conv2d(x, weight.mT, self.layers[0].bias, padding=1)
            if use == 2:
                x = x + self.norms[norm].running_mean.mean()
            x = x / x.std()
        return x


def test_folding_changes_no_random_network_in_float():
    count = 0
    for seed in range(150):
        torch.manual_seed(seed)
        module, x = randomized(Random(seed)), P(2, 4, 6, 6)
        folded, pairs = fold_batch_norm(module, x)
        count += len(pairs)
        other = P(1, 4, 5, 5)
        with torch.no_grad():
            torch.testing.assert_close(folded(other), module(other), rtol=1e-4, atol=1e-5)
    assert count > 100
