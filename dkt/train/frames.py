"""Training of a network on shuffled frames."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch

from dkt.base import ranges
from dkt.base.memory import memory_for
from dkt.base.progress import Progress
from dkt.dataset.frames import SplicedFrames
from dkt.dataset.prefetch import Prefetcher
from dkt.nnet import threads
from dkt.nnet.dnn import Dnn
from dkt.train.metrics import Metrics
from dkt.train.optimizer import OptimizerConfig, Updates
from dkt.train.precision import Precision, mixed_precision

logger = logging.getLogger(__name__)

Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_LOWER = "lower optimizer.minibatch_size, features.splice or network.hidden_dim"
_MIN_BATCH = 2  # batch normalisation has no variance on a single frame


@dataclass
class FrameOptimizerConfig(OptimizerConfig):
    """How weights are updated by mini-batches of shuffled frames.

    Attributes:
        minibatch_size: frames a mini-batch.
    """

    minibatch_size: Annotated[int, ranges.MINIBATCH] = 256


class FrameTraining:
    """A network, its data and one way to improve it by an epoch.

    Args:
        network: what is trained.
        train: the training frames.
        held: named frames that losses and accuracies are measured on, in evaluation mode.
        objective: of logits ``(B, P)`` and labels ``(B,)``, summed over frames.
        config: the optimizer.
        precision: of the factors of matrix products in training.

    Attributes:
        waited: seconds that trainings and evaluations have waited for batches so far.
    """

    def __init__(
        self,
        network: Dnn,
        train: SplicedFrames,
        held: dict[str, SplicedFrames],
        objective: Objective,
        config: FrameOptimizerConfig,
        precision: Precision = "float32",
    ) -> None:
        self.network = network
        self.mixed = mixed_precision(precision, network.shift.device)
        self.train = train
        self.held = held
        self.objective = objective
        self.updates = Updates(network, config, config.minibatch_size)
        self.optimizer = self.updates.optimizer
        self.waited = 0.0

    @memory_for("the mini-batches of the training", _LOWER)
    def train_epoch(self, learn_rate: float, seed: int) -> Metrics:
        """One pass over the shuffled training frames.

        Args:
            learn_rate: for gradients summed over the mini-batch, as in nnet1.
            seed: decides the order of frames and the dropout.

        Raises:
            DktError: the loss is not a number.
        """
        torch.manual_seed(seed)
        self.updates.set_learn_rate(learn_rate)
        self.network.train()
        metrics = Metrics()
        progress = Progress("training", self.train.num_frames, "frames")
        with Prefetcher(self.train.shuffled(seed)) as batches, progress:
            for spliced, labels in batches:
                if len(labels) >= _MIN_BATCH:
                    with threads.step(len(labels)):
                        self._step(spliced, labels, metrics)
                progress.advance(len(labels))
        self.waited += batches.waited
        metrics.check()
        return metrics

    def _step(self, spliced: torch.Tensor, labels: torch.Tensor, metrics: Metrics) -> None:
        with self.mixed():
            logits = self.network(spliced)
        logits = logits.float()
        loss = self.objective(logits, labels)
        clipped = self.updates.apply(loss, len(labels))
        metrics.add(loss.detach(), logits.detach(), labels)
        metrics.count_update(clipped)

    @memory_for("the evaluation", "lower features.splice or network.hidden_dim")
    def evaluate(self, name: str) -> Metrics:
        """Loss and frame accuracy on the held frames ``name``, in evaluation mode."""
        self.network.eval()
        metrics = Metrics()
        with Prefetcher(self.held[name]) as batches:
            for measured in threads.map_in_order(self._measure, batches):
                metrics.add_all(measured)
        self.waited += batches.waited
        return metrics

    @torch.inference_mode()
    def _measure(self, batch: tuple[torch.Tensor, torch.Tensor]) -> Metrics:
        spliced, labels = batch
        logits, metrics = self.network(spliced), Metrics()
        metrics.add(self.objective(logits, labels), logits, labels)
        return metrics
