"""Small classifiers for 28 x 28 single-channel photos, one for each family of the paper's classifiers.

Each builder returns an untrained module that maps float32 [N, 1, 28, 28] to logits [N, 10].
The blocks are torchvision's; only the stems and strides are made for small photos.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models import MobileNetV2
from torchvision.models.resnet import BasicBlock

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


def mobilenet_v2() -> nn.Module:
    """torchvision's MobileNet v2 at half width, the stem and one later stride removed (28 -> 14 -> 7 -> 4), 0.7 M parameters."""
    settings = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 1], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]
    network = MobileNetV2(num_classes=CLASSES, width_mult=0.5, inverted_residual_setting=settings, dropout=0.1)
    stem = network.features[0][0]
    network.features[0][0] = nn.Conv2d(1, stem.out_channels, 3, padding=1, bias=False)
    return network


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet20_fashion": resnet20,
    "mobilenet_v2_fashion": mobilenet_v2,
}
