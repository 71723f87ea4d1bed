"""Evaluates a proposal by training it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

from nas.errors import EvaluationError
from nas.nasbench101.network import cost
from nas.table.table import METRICS
from nas.trial import Proposal, Result
from workers.datasets import load
from workers.live import LiveTraining
from workers.recipe import Recipe
from workers.train_source import TrainSpec
from workers.trainer import Epoch, Outcome, check_device, train


class TrainEvaluator:
    """An `Evaluator` that trains. Raises `ArchsweepError` if the device or the images are missing.

    on_epoch: called after every epoch.
    """

    def __init__(self, spec: TrainSpec, on_epoch: Callable[[Epoch], None] = lambda _: None) -> None:
        self.spec, self._on_epoch = spec, on_epoch
        check_device(spec.device)
        self._data = load(spec.settings[0].data, spec.folder)
        self._data.train.statistics  # noqa: B018  # now, as it takes memory that no training is to be charged for

    def __call__(self, proposal: Proposal, seed: int) -> Result:
        """The training with the best validation accuracy of all settings, at the cost of all.

        Each is for the setting's epochs, or until the proposal's; what rungs before cost is not counted again.
        Checkpoints stay: who asked ends the `LiveTraining`s once the result is on record.
        Raises `EvaluationError` if all diverge.
        """
        seed, lives = self.spec.training(proposal, seed)
        results, reasons = [], []
        for number in range(len(self.spec.settings)):
            try:
                results.append(self._trained(proposal, seed, number, lives[number] if lives else None))
            except EvaluationError as error:
                reasons.append(str(error))
        if not results:
            raise EvaluationError(reasons[0])
        best = max(results, key=lambda result: result.validation_accuracy or 0.0)
        return replace(best, training_seconds=sum(result.training_seconds or 0.0 for result in results))

    def _trained(self, proposal: Proposal, seed: int, number: int, live: LiveTraining | None) -> Result:
        """The result of one setting, from its checkpoint on if there is one."""
        setting = self.spec.settings[number]
        until = proposal.epochs or setting.recipe.epochs
        if until > setting.recipe.epochs:
            raise EvaluationError(f"a training has {setting.recipe.epochs} epochs; got {until}")

        def heard(epoch: Epoch) -> None:
            if live is not None:
                live.report(epoch.to_json())
            self._on_epoch(epoch)

        def stopped() -> bool:
            return live is not None and live.stopped

        if live is not None:
            live.begin()
        checkpoint = None if live is None else live.checkpoint
        outcome = train(
            proposal.cell, setting, self._data, (seed,), heard, checkpoint, self.spec.device, until, stopped
        )
        parameters = cost(proposal.cell, setting.skeleton).parameters
        return self._result(outcome, parameters, self._said(number, outcome, until))

    def _result(self, outcome: Outcome, parameters: int, source: str) -> Result:
        final = dict(zip(METRICS, outcome.metrics[0].tolist(), strict=True))
        return Result(
            objective=final[f"final_{self.spec.column}_accuracy"],
            training_seconds=final["final_training_time"],
            train_accuracy=final["final_train_accuracy"],
            validation_accuracy=final["final_validation_accuracy"],
            test_accuracy=final["final_test_accuracy"],
            parameters=parameters,
            source=source,
        )

    def _said(self, number: int, outcome: Outcome, epochs: int) -> str:
        """How the cell was trained, as far as that is not the same for all."""
        recipes = [setting.recipe for setting in self.spec.settings]
        names = [f.name for f in fields(Recipe) if len({getattr(recipe, f.name) for recipe in recipes}) > 1]
        choices = [f" {name}={getattr(recipes[number], name)}" for name in names]
        stopped = f" stopped after epoch {outcome.epochs}" if outcome.epochs < epochs else ""
        return "".join(("train", *choices, stopped))
