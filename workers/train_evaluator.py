"""Evaluates a proposal by training it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from nas.network import cost
from nas.table import METRICS
from nas.trial import Proposal, Result
from workers.datasets import load
from workers.train_source import TrainSpec
from workers.trainer import Epoch, identity, train


class TrainEvaluator:
    """An `Evaluator` that trains. Raises `DataError` if the images are missing or damaged.

    on_epoch: see `workers.trainer.train`.
    """

    def __init__(self, spec: TrainSpec, on_epoch: Callable[[Epoch], bool | None] | None = None) -> None:
        self.spec, self._on_epoch = spec, on_epoch
        self._data = load(spec.setting.data, spec.folder)

    def __call__(self, proposal: Proposal, seed: int) -> Result:
        """Trains the proposal's cell for its epochs, or for the setting's. Raises `EvaluationError` if it diverges."""
        spec, cell = self.spec, proposal.cell
        setting = spec.setting.trained_for(proposal.epochs)
        path = None
        if spec.checkpoints is not None:
            spec.checkpoints.mkdir(parents=True, exist_ok=True)
            name = hashlib.blake2b(identity(cell, setting, (seed,)).encode(), digest_size=16).hexdigest()
            path = spec.checkpoints / f"{name}.safetensors"
        metrics = train(cell, setting, self._data, (seed,), self._on_epoch, path, spec.device).metrics[0]
        if path is not None:
            path.unlink(missing_ok=True)
        final = dict(zip(METRICS, metrics.tolist(), strict=True))
        return Result(
            objective=final[f"final_{spec.column}_accuracy"],
            training_seconds=final["final_training_time"],
            train_accuracy=final["final_train_accuracy"],
            validation_accuracy=final["final_validation_accuracy"],
            test_accuracy=final["final_test_accuracy"],
            parameters=cost(cell, setting.skeleton).parameters,
            source="train",
        )
