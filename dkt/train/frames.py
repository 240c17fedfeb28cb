"""Training of a network on shuffled frames."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from dkt.dataset import SplicedFrames
from dkt.errors import DktError
from dkt.nnet.dnn import Dnn
from dkt.train.metrics import Metrics
from dkt.train.progress import Progress

logger = logging.getLogger(__name__)

Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_MIN_BATCH = 2  # batch normalisation has no variance on a single frame


@dataclass
class OptimizerConfig:
    """How weights are updated.

    Attributes:
        type: sgd, or adam.
        minibatch_size: frames a mini-batch.
        momentum: of sgd.
        l2_penalty: a frame, as in nnet1; for adam decoupled weight decay (AdamW).
        max_grad_norm: a larger gradient, a frame, is scaled down to this norm; 0 for never.
    """

    type: Literal["sgd", "adam"] = "sgd"
    minibatch_size: int = 256
    momentum: float = 0.0
    l2_penalty: float = 0.0
    max_grad_norm: float = 0.0

    def __post_init__(self) -> None:
        if self.minibatch_size < _MIN_BATCH:
            raise DktError(f"'optimizer.minibatch_size' is {self.minibatch_size}, expected 2 or more")
        if not 0.0 <= self.momentum < 1.0 or self.l2_penalty < 0.0 or self.max_grad_norm < 0.0:
            raise DktError("expected optimizer.momentum in [0, 1), l2_penalty and max_grad_norm not negative")


def make_optimizer(network: torch.nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimizer of the trainable weights; its learning rate is set epoch by epoch."""
    weights = [p for p in network.parameters() if p.requires_grad]
    if config.type == "adam":
        return torch.optim.AdamW(weights, lr=0.0, weight_decay=config.l2_penalty)
    # Gradients are summed over the mini-batch: so is the penalty.
    decay = config.l2_penalty * config.minibatch_size
    return torch.optim.SGD(weights, lr=0.0, momentum=config.momentum, weight_decay=decay)


class FrameTraining:
    """A network, its data and one way to improve it by an epoch.

    Args:
        network: what is trained.
        train: the training frames.
        held: named frames that losses and accuracies are measured on, in evaluation mode.
        objective: of logits ``(B, P)`` and labels ``(B,)``, summed over frames.
        config: the optimizer.
    """

    def __init__(
        self,
        network: Dnn,
        train: SplicedFrames,
        held: dict[str, SplicedFrames],
        objective: Objective,
        config: OptimizerConfig,
    ) -> None:
        self.network = network
        self.train = train
        self.held = held
        self.objective = objective
        self.config = config
        self.optimizer = make_optimizer(network, config)

    def train_epoch(self, learn_rate: float, seed: int) -> Metrics:
        """One pass over the shuffled training frames.

        Args:
            learn_rate: for gradients summed over the mini-batch, as in nnet1.
            seed: decides the order of frames and the dropout.

        Raises:
            DktError: the loss is not a number.
        """
        torch.manual_seed(seed)
        for group in self.optimizer.param_groups:
            group["lr"] = learn_rate
        self.network.train()
        metrics = Metrics()
        with Progress("training", self.train.num_frames, "frames") as progress:
            for spliced, labels in self.train.shuffled(seed):
                if len(labels) >= _MIN_BATCH:
                    self._step(spliced, labels, metrics)
                progress.advance(len(labels))
        if not metrics.loss_sum < float("inf"):
            raise DktError(
                "the training loss is not a number",
                hint="lower schedule.learn_rate or set optimizer.max_grad_norm",
            )
        return metrics

    def _step(self, spliced: torch.Tensor, labels: torch.Tensor, metrics: Metrics) -> None:
        logits = self.network(spliced)
        loss = self.objective(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.config.max_grad_norm:
            limit = self.config.max_grad_norm * len(labels)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        self.optimizer.step()
        metrics.add(loss.detach(), logits.detach(), labels)

    @torch.inference_mode()
    def evaluate(self, name: str) -> Metrics:
        """Loss and frame accuracy on the held frames ``name``, in evaluation mode."""
        self.network.eval()
        metrics = Metrics()
        for spliced, labels in self.held[name]:
            logits = self.network(spliced)
            metrics.add(self.objective(logits, labels), logits, labels)
        return metrics
