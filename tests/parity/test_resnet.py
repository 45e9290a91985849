"""ResNets against the same architecture in PyTorch, with torchvision's names: logits and all gradients."""

import numpy as np
import pytest
import torch

import dlcore as dl
from dlcore.models import ResNet, ResNetConfig
from tests.parity.test_nn import check


class Block(torch.nn.Module):
    def __init__(self, sizes, channels, width, made, stride):
        super().__init__()
        self.n = len(sizes)
        outs = [width] * (self.n - 1) + [made]
        strided = sizes.index(3)  # the first 3 x 3
        for i, (k, out) in enumerate(zip(sizes, outs, strict=True)):
            step = stride if i == strided else 1
            setattr(self, f"conv{i + 1}", torch.nn.Conv2d(channels, out, k, step, k // 2, bias=False))
            setattr(self, f"bn{i + 1}", torch.nn.BatchNorm2d(out))
            channels = out
        self.downsample = None

    def forward(self, x):
        y = x
        for i in range(1, self.n + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < self.n else y
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class TorchResNet(torch.nn.Module):
    def __init__(self, sizes, expansion):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(64)
        channels = 64
        for i in range(4):
            width, stride = 64 << i, 2 if i else 1
            block = Block(sizes, channels, width, width * expansion, stride)
            if stride > 1 or channels != width * expansion:
                down = torch.nn.Conv2d(channels, width * expansion, 1, stride, bias=False)
                block.downsample = torch.nn.Sequential(down, torch.nn.BatchNorm2d(width * expansion))
            channels = width * expansion
            setattr(self, f"layer{i + 1}", torch.nn.Sequential(block))
        self.fc = torch.nn.Linear(channels, 10)

    def forward(self, x):
        x = torch.nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for i in range(4):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize(
    "block, sizes, expansion, training", [("basic", (3, 3), 1, False), ("bottleneck", (1, 3, 1), 4, True)]
)
def test_resnet(block, sizes, expansion, training):
    dl.manual_seed(0)
    ours = ResNet(ResNetConfig(block, (1, 1, 1, 1), num_classes=10)).train(training)
    theirs = TorchResNet(sizes, expansion).train(training)
    convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in theirs.modules())
    x = np.random.default_rng(0).standard_normal((6, 3, 40, 40)).astype(np.float32)  # 24 numbers for the last norms
    check(ours, theirs, x, products=convolutions)
