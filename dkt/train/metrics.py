"""Loss and frame accuracy, summed over frames, and the updates that were clipped."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dkt.base.errors import DktError


@dataclass
class Metrics:
    """Sums over frames; ``loss`` and ``accuracy`` are their means."""

    loss_sum: float = 0.0
    num_correct: int = 0
    num_frames: int = 0
    num_updates: int = 0
    num_clipped: int = 0

    def add(self, loss_sum: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add one batch: the summed loss, logits ``(B, P)`` and labels ``(B,)``."""
        self.loss_sum += float(loss_sum)
        self.num_correct += int((logits.argmax(dim=1) == labels).sum())
        self.num_frames += len(labels)

    def add_all(self, other: Metrics) -> None:
        """Add what another one has summed, updates left out."""
        self.loss_sum += other.loss_sum
        self.num_correct += other.num_correct
        self.num_frames += other.num_frames

    def count_update(self, clipped: bool) -> None:
        """Count an update of the weights, and whether its gradient was scaled down."""
        self.num_updates += 1
        self.num_clipped += clipped

    def check(self) -> None:
        """Raise DktError if the loss is not a number."""
        if not self.loss_sum < float("inf"):
            raise DktError(
                "the training loss is not a number",
                hint="lower schedule.learn_rate or set optimizer.max_grad_norm",
            )

    @property
    def loss(self) -> float:
        """Mean loss per frame, in nats (Kaldi's AvgLoss)."""
        return self.loss_sum / max(self.num_frames, 1)

    @property
    def accuracy(self) -> float:
        """Frame accuracy in percent (Kaldi's FRAME_ACCURACY)."""
        return 100.0 * self.num_correct / max(self.num_frames, 1)

    @property
    def clipped(self) -> float:
        """Updates whose gradient was scaled down, in percent."""
        return 100.0 * self.num_clipped / max(self.num_updates, 1)
