"""Optimisers of a network, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from workers.recipe import Recipe


class TensorFlowRMSprop(Optimizer):
    """RMSProp as TensorFlow computes it: the mean square starts at 1, epsilon stands inside the root.

    ms = decay ms + (1 - decay) g^2;  mom = momentum mom + lr g / sqrt(ms + epsilon);  w = w - mom,

    with g the gradient plus ``weight_decay`` w. torch's own adds epsilon outside the root, starts at 0, and multiplies
    the momentum by the learning rate. Source: ``ApplyRMSProp`` in TensorFlow's training_ops.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        decay: float = 0.9,
        epsilon: float = 1.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "decay": decay, "epsilon": epsilon}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # takes no closure
        for group in self.param_groups:
            for parameter in group["params"]:
                self._update(parameter, group)

    def _update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        assert parameter.grad is not None, "every parameter of a cell's network takes part in its loss"
        gradient = parameter.grad.add(parameter, alpha=group["weight_decay"])
        state = self.state[parameter]
        if not state:
            state["mean_square"] = torch.ones_like(parameter)
            state["momentum"] = torch.zeros_like(parameter)
        state["mean_square"].mul_(group["decay"]).addcmul_(gradient, gradient, value=1 - group["decay"])
        root = state["mean_square"].add(group["epsilon"]).sqrt_()
        state["momentum"].mul_(group["momentum"]).addcdiv_(gradient, root, value=group["lr"])
        parameter.sub_(state["momentum"])


def make_optimizer(network: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser of all trainables of a network."""
    parameters, rate, decay = network.parameters(), recipe.learning_rate, recipe.weight_decay
    match recipe.optimizer:
        case "rmsprop":
            return TensorFlowRMSprop(parameters, rate, recipe.momentum, decay)
        case "sgd":
            return SGD(parameters, rate, recipe.momentum, weight_decay=decay, nesterov=True)
        case "adamw":
            return AdamW(parameters, rate, (recipe.momentum, 0.999), weight_decay=decay)
