"""Exact parameters and multiply-accumulates of NAS-Bench-201's networks.

A network is a 3x3 convolution to 16 channels, then three stages of five cells with 16, 32 and 64 channels, a residual
block of stride 2 before the second and the third, and a linear classifier. Counted as published: weights, the affine
parameters of batch normalisations; multiply-accumulates of convolutions and of the classifier with its bias.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nas.nasbench201.cell import CONV1X1, CONV3X3

Dataset = Literal["cifar10", "cifar100", "ImageNet16-120"]
DATASETS: tuple[Dataset, ...] = get_args(Dataset)
CLASSES: dict[Dataset, int] = {"cifar10": 10, "cifar100": 100, "ImageNet16-120": 120}
IMAGE_SIZE: dict[Dataset, int] = {"cifar10": 32, "cifar100": 32, "ImageNet16-120": 16}
WIDTHS = (16, 32, 64)
CELLS_A_STAGE = 5


def costs(operations: NDArray[np.int64], dataset: Dataset) -> NDArray[np.int64]:
    """Returns parameters and multiply-accumulates of cells given by their operations, int64 (cells, 2)."""
    conv1x1, conv3x3 = (operations == CONV1X1).sum(1), (operations == CONV3X3).sum(1)
    size, last = IMAGE_SIZE[dataset], WIDTHS[-1]
    stem, classifier = 9 * 3 * WIDTHS[0], (last + 1) * CLASSES[dataset]
    parameters = stem + 2 * WIDTHS[0] + 2 * last + classifier
    macs = stem * size**2 + classifier
    for stage, width in enumerate(WIDTHS):
        weights = CELLS_A_STAGE * (9 * conv3x3 + conv1x1) * width**2
        if stage:
            weights = weights + _residual_block(width)
        normalisations = CELLS_A_STAGE * (conv3x3 + conv1x1) + (2 if stage else 0)
        parameters = parameters + weights + 2 * width * normalisations
        macs = macs + weights * (size >> stage) ** 2
    return np.stack([parameters, macs], 1)


def _residual_block(width: int) -> int:
    """Returns the weights of two 3x3 convolutions, the first one doubling the width, and of the 1x1 shortcut."""
    return 9 * (width // 2) * width + 9 * width**2 + (width // 2) * width
