"""Small classifiers for 28 x 28 single-channel photos, one for each family of the paper's classifiers.

Each builder returns an untrained module that maps float32 [N, 1, 28, 28] to logits [N, 10].
The blocks are torchvision's; only the stems and strides are made for small photos.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import EfficientNet, MobileNetV2
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import Conv2dNormActivation

from quantbench.errors import UserError
from quantbench.networks.checkpoint import restore
from quantbench.networks.network import Network, one_item
from quantbench.networks.random_weights import seeded
from quantbench.networks.shipped import shipped

CLASSES = 10


class ResNet20(nn.Module):
    """ResNet-20 (He et al. 2015, section 4.2), 1x1 convolutions on the shortcuts that change shape."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(width, width, stride=1)
        self.layer2 = _stage(width, 2 * width, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Photos [N, 1, 28, 28] to logits [N, 10]."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    first = BasicBlock(inputs, outputs, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs) for _ in range(2)))


def resnet20() -> nn.Module:
    """ResNet-20, 0.27 M parameters."""
    return ResNet20()


def mobilenet_v1() -> nn.Module:
    """MobileNet v1 (Howard et al. 2017, table 1) at half width on 28 x 28: 27 convolutions, 0.8 M parameters."""
    plan = [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 1), *[(256, 1)] * 5, (512, 2), (512, 1)]
    layers: list[nn.Module] = [Conv2dNormActivation(1, 16)]
    inputs = 16
    for outputs, stride in plan:
        layers.append(Conv2dNormActivation(inputs, inputs, stride=stride, groups=inputs))
        layers.append(Conv2dNormActivation(inputs, outputs, kernel_size=1))
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, CLASSES))


def resnext() -> nn.Module:
    """ResNeXt (Xie et al. 2017): bottlenecks whose 3 x 3 convolution has 8 groups, two in each of three stages."""

    def stage(inputs: int, planes: int, stride: int) -> nn.Sequential:
        outputs = planes * Bottleneck.expansion
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        first = Bottleneck(inputs, planes, stride, shortcut, groups=8, base_width=32)
        return nn.Sequential(first, Bottleneck(outputs, planes, groups=8, base_width=32))

    stages = [stage(16, 16, 2), stage(64, 32, 1), stage(128, 64, 2)]
    return nn.Sequential(
        Conv2dNormActivation(1, 16), *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, CLASSES)
    )


class InceptionBlock(nn.Module):
    """Four branches joined (Szegedy et al. 2015, figures 5 and 6): 1x1, 1x1-3x3, 1x1-1x5-5x1-3x3, pool-1x1."""

    def __init__(self, inputs: int, branch: int) -> None:
        super().__init__()
        conv = Conv2dNormActivation
        self.point = conv(inputs, branch, kernel_size=1)
        self.short = nn.Sequential(conv(inputs, branch // 2, kernel_size=1), conv(branch // 2, branch))
        self.long = nn.Sequential(
            conv(inputs, branch // 2, kernel_size=1),
            conv(branch // 2, branch // 2, kernel_size=(1, 5), padding=(0, 2)),
            conv(branch // 2, branch // 2, kernel_size=(5, 1), padding=(2, 0)),
            conv(branch // 2, branch),
        )
        self.pool = nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(inputs, branch, kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, inputs, H, W] to [N, 4 * branch, H, W]."""
        return torch.cat([self.point(x), self.short(x), self.long(x), self.pool(x)], 1)


def inception() -> nn.Module:
    """Inception v3 in small: two blocks at 14 x 14 and two at 7 x 7."""
    stem = [Conv2dNormActivation(1, 16), Conv2dNormActivation(16, 32), nn.MaxPool2d(2)]
    blocks = [
        InceptionBlock(32, 16),
        InceptionBlock(64, 24),
        nn.MaxPool2d(2),
        InceptionBlock(96, 32),
        InceptionBlock(128, 48),
    ]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(192, CLASSES))


def efficientnet() -> nn.Module:
    """Torchvision's EfficientNet with b0's blocks (squeeze-and-excitation, swish), fewer and narrower."""
    settings = [
        MBConvConfig(1, 3, 1, 16, 8, 1),
        MBConvConfig(6, 3, 2, 8, 16, 2),
        MBConvConfig(6, 5, 1, 16, 24, 2),
        MBConvConfig(6, 3, 2, 24, 40, 2),
        MBConvConfig(6, 5, 1, 40, 56, 2),
        MBConvConfig(6, 3, 1, 56, 96, 1),
    ]
    network = EfficientNet(settings, dropout=0.1, num_classes=CLASSES, last_channel=384)
    network.features[0][0] = nn.Conv2d(1, 16, 3, padding=1, bias=False)
    return network  # type: ignore[no-any-return]


def mobilenet_v2() -> nn.Module:
    """Torchvision's MobileNet v2 at half width, 0.7 M parameters, two strides removed (28 -> 14 -> 7 -> 4)."""
    settings = [
        [1, 16, 1, 1],
        [6, 24, 2, 2],
        [6, 32, 3, 1],
        [6, 64, 4, 2],
        [6, 96, 3, 1],
        [6, 160, 3, 2],
        [6, 320, 1, 1],
    ]
    network = MobileNetV2(num_classes=CLASSES, width_mult=0.5, inverted_residual_setting=settings, dropout=0.1)
    stem = network.features[0][0]
    network.features[0][0] = nn.Conv2d(1, stem.out_channels, 3, padding=1, bias=False)
    return network  # type: ignore[no-any-return]


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet20_fashion": resnet20,
    "mobilenet_v1_fashion": mobilenet_v1,
    "resnext_fashion": resnext,
    "inception_fashion": inception,
    "efficientnet_fashion": efficientnet,
    "mobilenet_v2_fashion": mobilenet_v2,
}


def load(*, name: str, weights: str = "shipped", seed: int = 0, arch: str | None = None) -> Network:
    """One of the BUILDERS (`arch`, by default `name`) with `shipped` or `random` weights or those of a file.

    Raises UserError if there is no such network or the weights cannot be used.
    """
    arch = arch or name
    if arch not in BUILDERS:
        raise UserError(f"no network {arch!r} in the family fashion: there are {', '.join(BUILDERS)}")
    module = seeded(BUILDERS[arch], seed)
    identity = restore(module, weights, seed=seed, known_as="shipped", checkpoint=lambda: shipped(arch))
    return Network(
        name=name,
        module=module,
        preprocess=one_item(preprocess),
        example=(torch.zeros(1, 1, 28, 28),),
        weights=identity,
        preprocessing="(x / 255 - 0.2860) / 0.3530",
        outputs=CLASSES,
    )


def preprocess(photo: Any) -> Tensor:
    """A photo, uint8 [28, 28, 1], as float32 [1, 28, 28], scaled as in training."""
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
    return (pixels.float() / 255.0 - 0.2860) / 0.3530
