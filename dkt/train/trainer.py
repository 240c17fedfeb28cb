"""A network, its batches and one way to improve it by an epoch: the same for every network and objective."""

from __future__ import annotations

import contextlib
import copy
import logging
from typing import Any

import torch

from dkt.base.memory import memory_for
from dkt.base.progress import Progress
from dkt.dataset.batch import Batch, Batches
from dkt.dataset.prefetch import Prefetcher
from dkt.nnet import threads
from dkt.nnet.network import Network, Runner
from dkt.train.averaging import WeightAverage
from dkt.train.criterion import Criterion, Frames, Loss, make_criterion
from dkt.train.hint import Guided
from dkt.train.masking import Masking
from dkt.train.metrics import Metrics
from dkt.train.modes import ObjectiveConfig
from dkt.train.optimizer import OptimizerConfig, Updates
from dkt.train.precision import Precision, mixed_precision

logger = logging.getLogger(__name__)


class Trainer:
    """Trains a network epoch by epoch.

    Args:
        network: what is trained.
        batches: the training data.
        held: named data that losses and accuracies are measured on, in evaluation mode.
        objective: what is minimised.
        optimizer: how weights are updated.
        frames_per_update: about how many frames an update sees.
        device: where to train.
        precision: of the factors of matrix products in training.
        average_epochs: over about how many epochs weights are averaged; 0 for the last ones alone.
        masking: hides parts of the features in training; None for none.

    Attributes:
        waited: seconds that trainings and evaluations have waited for batches so far.
    """

    def __init__(
        self,
        network: Network,
        batches: Batches,
        held: dict[str, Batches],
        objective: ObjectiveConfig,
        optimizer: OptimizerConfig,
        frames_per_update: int,
        device: torch.device,
        precision: Precision = "float32",
        average_epochs: float = 0.0,
        masking: Masking | None = None,
    ) -> None:
        self.network = network
        self.batches = batches
        self.held = held
        self.objective = objective
        self.mixed = mixed_precision(precision, device)
        self.updates = Updates(network, optimizer, frames_per_update)
        self.optimizer = self.updates.optimizer
        self.masking = masking
        self.average: WeightAverage | None = None
        if average_epochs:
            updates = average_epochs * batches.num_frames / frames_per_update
            self.average = WeightAverage(network, updates)
        self.waited = 0.0

    def state(self) -> dict[str, Any]:
        """A copy of all weights that the training goes on from: the network's, and their averages."""
        state: dict[str, Any] = {"network": copy.deepcopy(self.network.state_dict())}
        if self.average is not None:
            state["average"] = self.average.state()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to such a state.

        Raises:
            LookupError, TypeError, ValueError, RuntimeError, AttributeError: it is of another training.
        """
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.restore(state["average"])

    def result(self, state: dict[str, Any]) -> dict[str, torch.Tensor]:
        """The weights of a state that are measured, and kept in the end: the averages where there are any."""
        if self.average is None:
            return state["network"]
        return {**state["network"], **state["average"]["weights"]}

    def train_epoch(self, learn_rate: float, seed: int, epoch: int = 1) -> Metrics:
        """One pass over the shuffled training data.

        Args:
            learn_rate: for gradients summed over the frames of a batch, as in nnet1.
            seed: decides the order of the data and the dropout.
            epoch: from 1 on, for an objective that changes with it.

        Raises:
            DktError: the loss is not a number.
        """
        torch.manual_seed(seed)
        self.updates.set_learn_rate(learn_rate)
        self.network.train()
        run = self.network.runner(self.batches.num_states)
        criterion = make_criterion(self.objective, epoch)
        changed = self.objective.describe_epoch(epoch)
        if changed:
            logger.info("epoch %d: %s", epoch, changed)
        metrics = Metrics()
        progress = Progress("training", self.batches.num_frames, "frames")
        smaller = f"lower {self.batches.smaller}, or {self.network.sizes}"
        with (
            memory_for("the batches of the training", smaller),
            Prefetcher(self.batches.shuffled(seed)) as batches,
            progress,
        ):
            for batch in batches:
                if len(batch.labels) >= self.network.least_frames:
                    with threads.step(len(batch.labels)):
                        self._step(run, criterion, batch, metrics)
                progress.advance(len(batch.labels))
        self.waited += batches.waited
        metrics.check()
        return metrics

    def _step(self, run: Runner, criterion: Criterion, batch: Batch, metrics: Metrics) -> None:
        shown = batch if self.masking is None else self.masking(batch)
        loss, logits = self.loss(run, criterion, shown, training=True)
        clipped = self.updates.apply(loss.objective, len(batch.labels))
        if self.average is not None:
            self.average.update()
        metrics.add(loss.reported, logits.detach(), batch.labels)
        metrics.count_update(clipped)

    def loss(
        self, run: Runner, criterion: Criterion, batch: Batch, training: bool = False
    ) -> tuple[Loss, torch.Tensor]:
        """The loss of a batch, and the logits ``(B, P)`` of its frames."""
        guided = None
        with self.mixed() if training else contextlib.nullcontext():
            logits = run(batch.inputs)
            if isinstance(self.network, Guided):
                guided = self.network.guided(batch.inputs).float()
        logits = logits.float()
        return criterion(Frames(logits, batch.labels, batch.targets, guided)), logits

    def evaluate(self, name: str) -> Metrics:
        """Loss and frame accuracy on the data ``name``, in evaluation mode, at the end of all schedules."""
        self.network.eval()
        criterion = make_criterion(self.objective)
        metrics = Metrics()
        smaller = f"lower {self.batches.smaller}, or {self.network.sizes}"

        def measure(batch: Batch) -> Metrics:
            return self._measure(criterion, batch)

        averaged = contextlib.nullcontext() if self.average is None else self.average.in_place()
        with averaged, memory_for("the evaluation", smaller), Prefetcher(self.held[name]) as batches:
            for measured in threads.map_in_order(measure, batches):
                metrics.add_all(measured)
        self.waited += batches.waited
        return metrics

    @torch.inference_mode()
    def _measure(self, criterion: Criterion, batch: Batch) -> Metrics:
        loss, logits = self.loss(self.network.runner(0), criterion, batch)
        metrics = Metrics()
        metrics.add(loss.reported, logits, batch.labels)
        return metrics
