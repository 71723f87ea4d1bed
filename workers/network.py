"""The network of any cell in torch, layer by layer as published: stem, stacks of cells, global pool, classifier.

One network can hold several *repeats*: independent networks of the same cell, computed together as grouped
convolutions. Their channels stand side by side, those of repeat 0 first, so an activation is (batch, repeats *
channels, height, width). With one repeat it is the plain network. Small networks spend most of a step on overhead that
does not depend on the number of channels, so on a CPU three repeats take little longer than one.

Source: ``model_builder.py`` and ``base_ops.py`` of google-research/nasbench.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # torch's own name for it
from torch.nn.utils.fusion import fuse_conv_bn_weights

from nas.nasbench101.cell import Cell
from nas.nasbench101.graph import OPERATIONS
from nas.nasbench101.network import NASBENCH101, Skeleton, vertex_channels

TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a standard normal cut at two: TensorFlow divides by it, so that the variance comes out."""


class Network(nn.Module):
    """The networks of one cell, one a seed.

    seeds: of the initial weights, one a repeat. Repeat r starts exactly as ``Network(cell, skeleton, (seeds[r],))``.
    momentum: share of the old value in batch normalisation's moving averages, as TensorFlow counts it.
    """

    def __init__(
        self, cell: Cell, skeleton: Skeleton = NASBENCH101, seeds: Sequence[int] = (0,), momentum: float = 0.997
    ) -> None:
        super().__init__()
        self.repeats, self.classes = len(seeds), skeleton.classes
        build = _Builder(len(seeds), momentum)
        self.stem = build.convolution(skeleton.image_channels, skeleton.stem_channels, 3)
        pruned = cell.pruned
        cells = [CellModule(pruned, incoming, width, build) for incoming, width, _ in skeleton.cells()]
        self.cells = nn.ModuleList(cells)
        self._per_stack = skeleton.cells_per_stack
        self.classifier = nn.Conv1d(
            len(seeds) * cells[-1].channels, len(seeds) * skeleton.classes, 1, groups=len(seeds)
        )
        _initialise(self, seeds)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (batch, repeats, classes), of images (batch, repeats * image channels, height, width)."""
        hidden = self.stem(images)
        for number, cell in enumerate(self.cells):
            if number and number % self._per_stack == 0:
                hidden = F.max_pool2d(hidden, 2, ceil_mode=True)
            hidden = cell(hidden)
        logits: Tensor = self.classifier(hidden.mean((2, 3)).unsqueeze(2))
        return logits.view(-1, self.repeats, self.classes)

    @property
    def parameter_count(self) -> int:
        """Trainable parameters of one repeat; equal to `nas.nasbench101.network.cost`."""
        return sum(parameter.numel() for parameter in self.parameters()) // self.repeats


class CellModule(nn.Module):
    """One cell: projections of its input, operations, the sums into vertices, the concatenation into its output."""

    def __init__(self, cell: Cell, incoming: int, channels: int, build: _Builder) -> None:
        super().__init__()
        self.channels, self._repeats = channels, build.repeats
        matrix = cell.matrix.astype(bool)
        self._last = last = len(matrix) - 1
        self._sources = [[v for v in range(1, last) if matrix[v, target]] for target in range(last + 1)]
        between = [(v - 1, target - 1) for target in range(1, last) for v in self._sources[target]]
        widths = vertex_channels([bool(fed) for fed in matrix[1:last, last]], between, channels)
        self._widths = [incoming, *widths, channels]
        self.projections = nn.ModuleDict(
            {str(v): build.convolution(incoming, self._widths[v], 1) for v in range(1, last + 1) if matrix[0, v]}
        )
        self.operations = nn.ModuleList(
            build.operation(OPERATIONS[label], width) for label, width in zip(cell.labels, widths, strict=True)
        )

    def forward(self, cell_input: Tensor) -> Tensor:
        """From (batch, repeats * incoming, height, width) to (batch, repeats * channels, height, width)."""
        values = [cell_input]
        for vertex, operation in enumerate(self.operations, 1):
            terms = [self._cut(values[v], self._widths[v], self._widths[vertex]) for v in self._sources[vertex]]
            values.append(operation(self._sum(terms, vertex, cell_input)))
        into_output = [values[v] for v in self._sources[self._last]]
        return self._sum([self._side_by_side(into_output)] if into_output else [], self._last, cell_input)

    def _sum(self, terms: list[Tensor], vertex: int, cell_input: Tensor) -> Tensor:
        """The terms and, where there is an edge from the input, its projection, added up."""
        if str(vertex) in self.projections:
            terms = [*terms, self.projections[str(vertex)](cell_input)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def _cut(self, value: Tensor, width: int, wanted: int) -> Tensor:
        """Drops the last channel of a repeat's ``width`` where a vertex wants one fewer."""
        if width == wanted:
            return value
        return _joined(self._apart(value)[..., :wanted])

    def _side_by_side(self, values: list[Tensor]) -> Tensor:
        """Concatenates channels, within each repeat."""
        if len(values) == 1:
            return values[0]
        if self._repeats == 1:
            return torch.cat(values, 1)
        return _joined(torch.cat([self._apart(value) for value in values], 4))

    def _apart(self, value: Tensor) -> Tensor:
        """(batch, repeats * channels, height, width) as (batch, height, width, repeats, channels)."""
        batch, channels, height, width = value.shape
        return value.permute(0, 2, 3, 1).view(batch, height, width, self._repeats, channels // self._repeats)


def _joined(value: Tensor) -> Tensor:
    """The inverse of `CellModule._apart`."""
    return value.flatten(3).permute(0, 3, 1, 2)


class _Builder:
    """Makes layers for so many repeats."""

    def __init__(self, repeats: int, momentum: float) -> None:
        self.repeats, self._momentum = repeats, momentum

    def convolution(self, incoming: int, out: int, kernel: int) -> Convolution:
        return Convolution(self.repeats * incoming, self.repeats * out, kernel, self.repeats, 1 - self._momentum)

    def operation(self, name: str, channels: int) -> nn.Module:
        match name:
            case "conv3x3-bn-relu":
                return self.convolution(channels, channels, 3)
            case "conv1x1-bn-relu":
                return self.convolution(channels, channels, 1)
            case _:
                return MaxPool()


class Convolution(nn.Module):
    """Convolution of the same size, batch normalisation, ReLU. Once trained the first two are computed as one."""

    def __init__(self, incoming: int, out: int, kernel: int, groups: int, momentum: float) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(incoming, out, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.normalisation = nn.BatchNorm2d(out, eps=1e-5, momentum=momentum)

    def forward(self, images: Tensor) -> Tensor:
        convolution, norm = self.convolution, self.normalisation
        if self.training:
            return F.relu_(norm(convolution(images)))
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            convolution.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        return F.relu_(F.conv2d(images, weight, bias, padding=convolution.padding, groups=convolution.groups))


class MaxPool(nn.Module):
    """3x3 max-pooling of the same size."""

    def forward(self, images: Tensor) -> Tensor:
        return F.max_pool2d(images, 3, stride=1, padding=1)


@torch.no_grad()
def _initialise(network: Network, seeds: Sequence[int]) -> None:
    """TensorFlow's defaults: variance scaling by fan-in for convolutions, Glorot's uniform for the classifier.

    Batch normalisation starts at scale 1 and offset 0, as torch's does.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv1d):
            for weight, generator in zip(module.weight.chunk(len(seeds)), generators, strict=True):
                fan_in = weight[0].numel()
                if isinstance(module, nn.Conv1d):
                    limit = math.sqrt(6 / (fan_in + len(weight)))
                    nn.init.uniform_(weight, -limit, limit, generator=generator)
                else:
                    std = math.sqrt(1 / fan_in) / TRUNCATED_STD
                    nn.init.trunc_normal_(weight, 0, std, -2 * std, 2 * std, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
