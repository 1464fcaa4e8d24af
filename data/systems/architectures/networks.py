"""Building blocks of small convolutional networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Convolution of the same padding, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=dilation * (kernel // 2),
            groups=groups,
            dilation=dilation,
            bias=False,
        ),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def projection(inputs: int, outputs: int) -> nn.Sequential:
    """A 1 x 1 convolution and batch norm, without a non-linearity."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def separable(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Depthwise convolution, then a pointwise one with batch norm and ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(
            inputs, inputs, kernel, stride, padding, dilation=dilation, groups=inputs, bias=False
        ),
        convolution(inputs, outputs, 1),
    )


def inverted_bottleneck(
    inputs: int, outputs: int, kernel: int, *, stride: int, expansion: int
) -> nn.Sequential:
    """Widen, convolve depthwise, narrow again (Sandler et al., 2018)."""
    wide = inputs * expansion
    return nn.Sequential(
        convolution(inputs, wide, 1),
        convolution(wide, wide, kernel, stride=stride, groups=wide),
        projection(wide, outputs),
    )


class SqueezeExcite(nn.Module):
    """Channels weighed by gates that see the whole image (Hu et al., 2018).

    Args:
        width: Channels.
        ratio: Width of the gates' hidden layer as a share of `width`.
    """

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        hidden = max(1, round(width * ratio))
        self.narrow = nn.Linear(width, hidden)
        self.widen = nn.Linear(hidden, width)

    def forward(self, inputs: Tensor) -> Tensor:
        """Gate the channels; shape (N, width, height, width of the image)."""
        hidden = F.relu(self.narrow(inputs.mean((2, 3))))
        return inputs * torch.sigmoid(self.widen(hidden))[:, :, None, None]


class Resample(nn.Module):
    """Carries features of one size and width to another, projecting to the target's width first.

    Smaller targets pool by the maximum, larger ones repeat the nearest pixel.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        size: Height and width that go out.
    """

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.project = nn.Identity() if inputs == outputs else projection(inputs, outputs)
        self.size = size

    def forward(self, inputs: Tensor) -> Tensor:
        """Resample; shape (N, outputs, size, size)."""
        projected: Tensor = self.project(inputs)
        if projected.shape[-1] > self.size:
            return F.adaptive_max_pool2d(projected, self.size)
        if projected.shape[-1] < self.size:
            return F.interpolate(projected, size=self.size, mode="nearest")
        return projected


def classifier(width: int) -> nn.Sequential:
    """Average over the image, then ten logits."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
