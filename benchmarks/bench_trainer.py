"""Training steps of a cell's network against a plain ResNet of equal MACs and the public PyTorch port's structure.

    python benchmarks/bench_trainer.py [--preset cpu] [--dataset fashion-mnist] [--rounds 7] [--compile] [--profile]

A step is forward, backward and update on one batch of random images. Figures are CPU seconds of this thread (so that
other work on the machine counts less), medians over rounds in which all variants take turns; read the ratios. An image
counts once a repeat: three repeats together on 128 images are 384.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from nas.nasbench101.cell import Cell
from nas.nasbench101.network import Skeleton, cost
from surrogate.threads import one_thread
from workers.network import CellModule, Network
from workers.optimizers import make_optimizer
from workers.recipe import Setting, preset
from workers.trainer import FORMAT

CELL = Cell.from_json(
    {"adjacency": "0110100101000010000100000", "operations": "input,conv3x3-bn-relu,maxpool3x3,conv1x1-bn-relu,output"}
)
STEPS = 4
Step = Callable[[], object]


class Block(nn.Module):
    """Two 3x3 convolutions and a way around them: He et al., 2016."""

    def __init__(self, incoming: int, out: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(incoming, out, 3), _convolution(out, out, 3)[:2]
        self.around = nn.Identity() if incoming == out else _convolution(incoming, out, 1)[:2]

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.second(self.first(images)) + self.around(images))


def _convolution(incoming: int, out: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(incoming, out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def resnet(skeleton: Skeleton, width: int) -> nn.Sequential:
    """Stem, as many stacks as the skeleton has with one block each, pooling between them, classifier."""
    layers: list[nn.Module] = [_convolution(skeleton.image_channels, width, 3)]
    incoming = width
    for stack in range(skeleton.stacks):
        layers += [nn.MaxPool2d(2, ceil_mode=True)] if stack else []
        layers.append(Block(incoming, width * 2**stack))
        incoming = width * 2**stack
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(incoming, skeleton.classes))


def macs_of(network: nn.Module, skeleton: Skeleton) -> int:
    """Multiply-accumulates of one image, counted at the convolutions."""
    total = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += module.weight.numel() * output.shape[2] * output.shape[3]

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    network(torch.zeros(2, skeleton.image_channels, skeleton.image_size, skeleton.image_size))
    for hook in hooks:
        hook.remove()
    return total


def resnet_of(macs: int, skeleton: Skeleton) -> tuple[nn.Sequential, int]:
    """The plain network with the nearest number of MACs, and that number."""
    counted = [(macs_of(resnet(skeleton, width), skeleton), width) for width in range(1, 2 * skeleton.stem_channels)]
    nearest, width = min(counted, key=lambda found: abs(found[0] - macs))
    return resnet(skeleton, width), nearest


class PortCell(CellModule):
    """As the public PyTorch port goes about it: sums into zeros, width checks on tensors, pooling channels first.

    Source of the structure: nasbench_pytorch/model/model.py of romulus0914/NASBench-PyTorch.
    """

    def _sum(self, terms: list[Tensor], vertex: int, cell_input: Tensor) -> Tensor:
        if str(vertex) in self.projections:
            terms = [*terms, self.projections[str(vertex)](cell_input)]
        total = torch.zeros_like(terms[0])
        for term in terms:
            total += term
        return total

    def _cut(self, value: Tensor, width: int, wanted: int) -> Tensor:
        return value if value.shape[1] == torch.tensor(wanted) else value[:, :wanted]


def as_port(network: Network) -> Network:
    for cell in network.cells:
        cell.__class__ = PortCell
    return network


def stepper(
    network: nn.Module, setting: Setting, repeats: int = 1, half: bool = False, order: torch.memory_format = FORMAT
) -> Step:
    """One training step of a network on one batch."""
    skeleton, batch = setting.skeleton, setting.recipe.batch
    network.train().to(memory_format=order)  # type: ignore[call-overload]  # it is there
    side = skeleton.image_size
    images = torch.randn(batch, repeats * skeleton.image_channels, side, side).contiguous(memory_format=order)
    labels = torch.randint(0, skeleton.classes, (batch * repeats,))
    optimizer = make_optimizer(network, setting.recipe)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = network(images)
        optimizer.zero_grad()
        F.cross_entropy(logits.float().reshape(-1, skeleton.classes), labels).backward()
        optimizer.step()

    return step


def timed(step: Step) -> float:
    began = time.thread_time()
    for _ in range(STEPS):
        step()
    return (time.thread_time() - began) / STEPS


def variants(setting: Setting, compiled: bool) -> dict[str, tuple[int, Step]]:
    """Name -> images a step, step."""
    skeleton, batch = setting.skeleton, setting.recipe.batch

    def ours(repeats: int = 1) -> Network:
        return Network(CELL, skeleton, tuple(range(repeats)))

    plain, _ = resnet_of(cost(CELL, skeleton).macs, skeleton)
    made = {
        "this network": (batch, stepper(ours(), setting)),
        "three repeats together": (3 * batch, stepper(ours(3), setting, 3)),
        "plain ResNet of equal MACs": (batch, stepper(plain, setting)),
        "the public port's structure": (batch, stepper(as_port(ours()), setting, order=torch.contiguous_format)),
        "contiguous": (batch, stepper(ours(), setting, order=torch.contiguous_format)),
        "contiguous, three repeats": (3 * batch, stepper(ours(3), setting, 3, order=torch.contiguous_format)),
        "bfloat16 autocast": (batch, stepper(ours(), setting, half=True)),
    }
    if compiled:
        made["torch.compile"] = (batch, stepper(torch.compile(ours()), setting))  # type: ignore[arg-type]
        made["torch.compile, three repeats"] = (3 * batch, stepper(torch.compile(ours(3)), setting, 3))  # type: ignore[arg-type]
    return made


def profile(setting: Setting) -> None:
    """Where a step of three repeats spends its CPU time."""
    step = stepper(Network(CELL, setting.skeleton, (0, 1, 2)), setting, 3)
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        for _ in range(STEPS):
            step()
    events = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    for event in sorted(events, key=lambda event: -event.self_cpu_time_total)[:14]:
        share, calls = event.self_cpu_time_total / total, event.count // STEPS
        print(f"{share:6.1%}  {calls:4} calls a step  {event.key}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    setting = preset(options.preset, options.dataset)
    if options.batch:
        (setting,) = setting.grid({"batch": (options.batch,)})
    with one_thread():
        torch.manual_seed(0)
        wanted = cost(CELL, setting.skeleton).macs
        print(f"{wanted:,} MACs an image; the plain ResNet has {resnet_of(wanted, setting.skeleton)[1]:,}")
        made = variants(setting, options.compile)
        for _, step in made.values():
            step()
        rounds = [{name: timed(step) for name, (_, step) in made.items()} for _ in range(options.rounds)]
        for name, (images, _) in made.items():
            seconds = statistics.median(one[name] for one in rounds)
            base = made["this network"][0]
            ratio = statistics.median(images / one[name] / (base / one["this network"]) for one in rounds)
            print(f"{name:30} {images / seconds:9,.0f} images/s of CPU, {ratio:5.2f} of this network")
        if options.profile:
            profile(setting)


if __name__ == "__main__":
    main()
