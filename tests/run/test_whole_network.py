"""EfficientNet-Lite0 quantized by hand, in plain PyTorch from the paper's formulas, beside the simulated pass.

Nothing of quantbench.quant is used in what is called "mine": folding, ranges, rounding and TensorFlow's padding are
written out.
"""

import copy
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quantbench import networks, tasks
from quantbench.quant.calibrators import CALIBRATORS
from quantbench.quant.layers import find_layers
from quantbench.quant.observe import collect
from quantbench.quant.scheme import Scheme, decide
from quantbench.quant.simulate import simulate
from quantbench.quant.transforms.fold import fold_batch_norm

pytestmark = pytest.mark.slow

PERCENT = 99.99


@pytest.fixture(scope="module")
def network():
    return networks.load(
        {"name": "efficientnet_lite0", "family": "efficientnet_lite", "weights": "registry", "seed": 0}
    )


@pytest.fixture(scope="module")
def photos(network):
    """8 to calibrate with, 2 to run."""
    task = tasks.load({"name": "imagenet_photos", "calibration_samples": 8, "seed": 0})
    items = [network.preprocess(sample.read())[0][0] for sample in [*task.calibration, *task.evaluation[:2]]]
    return torch.stack(items[:8]), torch.stack(items[8:])


def pairs_of(module):
    """Each convolution with the normalization behind it, as timm's blocks have them."""
    yield module.conv_stem, module, "bn1"
    for block in (block for stage in module.blocks for block in stage):
        names = ("conv_pw", "conv_dw", "conv_pwl") if hasattr(block, "conv_pwl") else ("conv_dw", "conv_pw")
        for number, name in enumerate(names, 1):
            yield getattr(block, name), block, f"bn{number}"
    yield module.conv_head, module, "bn2"


@torch.no_grad()
def folded_by_hand(module):
    module = copy.deepcopy(module)
    for conv, parent, name in pairs_of(module):
        norm = getattr(parent, name)
        factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        assert conv.bias is None
        conv.weight = nn.Parameter((conv.weight.double() * factor[:, None, None, None]).float())
        conv.bias = nn.Parameter((norm.bias.double() - norm.running_mean.double() * factor).float())
        setattr(parent, name, norm.act)
    assert not any(isinstance(child, nn.BatchNorm2d) for child in module.modules())
    return module


def rounded(x, alpha):
    """Scale quantization to [-127, 127] and back."""
    scale = torch.where(alpha > 2**-24, torch.full_like(alpha, 127) / alpha, 0.0)  # 127 / alpha is 127 * (1 / alpha)
    q = torch.round(x * scale).clamp(-127, 127)
    return torch.where(scale > 0, q / torch.where(scale > 0, scale, 1.0), 0.0)


@torch.no_grad()
def weight_by_hand(weight, per_channel):
    alpha = weight.abs().flatten(1).amax(1) if per_channel else weight.abs().max()
    return rounded(weight, alpha.view(-1, *[1] * (weight.dim() - 1)) if per_channel else alpha)


@torch.no_grad()
def layer_by_hand(layer, x, weight):
    if isinstance(layer, nn.Linear):
        return x @ weight.T + layer.bias
    stride, size = layer.stride[0], layer.kernel_size[0]
    more = max((-(-x.shape[-1] // stride) - 1) * stride + size - x.shape[-1], 0)
    x = F.pad(x, (more // 2, more - more // 2, more // 2, more - more // 2))
    return F.conv2d(x, weight, layer.bias, stride, groups=layer.groups)


def layers_of(module):
    return {name: child for name, child in module.named_modules() if isinstance(child, nn.Conv2d | nn.Linear)}


def seen(module, x, keep):
    """What `keep(input, output)` makes of every layer's run on x."""
    found = {}

    def hook(name, _, inputs, output):
        found[name] = keep(inputs[0], output)

    handles = [child.register_forward_hook(partial(hook, name)) for name, child in layers_of(module).items()]
    with torch.inference_mode():
        module(x)
    for handle in handles:
        handle.remove()
    return found


def largest_and_percentile(x, _):
    """The largest |x|, and the smallest value that PERCENT of all do not exceed."""
    values = x.abs().flatten()
    last = values.topk(len(values) - int(np.ceil(len(values) * PERCENT / 100)) + 1).values
    return float(last[0]), float(last[-1])


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize(
    ("granularity", "calibrator"),
    [("per_channel", None), ("per_tensor", None), ("per_channel", "max"), ("per_channel", "percentile")],
)
def test_every_layer_of_the_simulated_pass_is_that_of_plain_pytorch(network, photos, granularity, calibrator, fold):
    calibration, images = photos
    mine = folded_by_hand(network.module) if fold else network.module
    theirs = fold_batch_norm(network.module, images)[0] if fold else network.module
    scheme = Scheme(activation_bits=8 if calibrator else None, weight_granularity=granularity)
    options = {"percentile": PERCENT} if calibrator == "percentile" else {}
    calibrate = partial(CALIBRATORS[calibrator or "max"], **options)
    found = decide(find_layers(theirs, *network.example), collect(theirs, [(calibration,)]), calibrate, scheme)
    with simulate(theirs, found.mappings):
        ran = seen(theirs, images, lambda x, output: (x.clone(), output.clone()))
    ranges = seen(mine, calibration, largest_and_percentile)
    layers = layers_of(mine)
    assert ran.keys() == layers.keys() == ranges.keys() and len(ran) == 50
    for name, (x, output) in ran.items():
        if calibrator:
            largest, percentile = ranges[name]
            alpha = found.ranges[f"{name}.input"].high
            if calibrator == "max":
                assert float(alpha) == pytest.approx(largest, rel=1e-6), name
            else:  # a value of a histogram is known up to the width of its bin
                assert percentile - largest / 4096 <= float(alpha) <= percentile * (1 + 2**-11), name
            x = rounded(x, alpha)
        expected = layer_by_hand(layers[name], x, weight_by_hand(layers[name].weight, granularity == "per_channel"))
        torch.testing.assert_close(
            output,
            expected,
            rtol=0,
            atol=2e-6 * float(expected.abs().max()),
            msg=lambda said, name=name: f"{name}: {said}",
        )


def test_a_whole_network_with_quantized_weights_answers_as_plain_pytorch_does(network, photos):
    _, images = photos
    mine, (theirs, _) = folded_by_hand(network.module), fold_batch_norm(network.module, images)
    found = decide(
        find_layers(theirs, *network.example),
        {},
        CALIBRATORS["max"],
        Scheme(activation_bits=None, weight_granularity="per_tensor"),
    )
    with torch.inference_mode(), simulate(theirs, found.mappings):
        answers = theirs(images)
    with torch.inference_mode():
        float_answers = mine(images)
        for layer in layers_of(mine).values():
            layer.weight.data = weight_by_hand(layer.weight, per_channel=False)
        expected = mine(images)
    torch.testing.assert_close(answers, expected, rtol=0, atol=1e-4)
    assert (float_answers - expected).abs().max() > 0.1
