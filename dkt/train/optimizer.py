"""How weights are updated: the optimizer, for gradients summed over frames, and the limit on their norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from dkt.base import ranges
from dkt.base.errors import DktError


@dataclass
class OptimizerConfig:
    """How weights are updated.

    Attributes:
        type: sgd, or adam.
        momentum: of sgd.
        l2_penalty: per frame, as in nnet1; for adam decoupled weight decay (AdamW).
        max_grad_norm: a larger gradient per frame is scaled down to this norm; 0 for never.
        grad_clip: each element of the gradient summed over the batch is kept within ± this, as nnet1's
            <GradClip>; 0 for no clipping.
    """

    type: Literal["sgd", "adam"] = "sgd"
    momentum: Annotated[float, ranges.NOT_ALL] = 0.0
    l2_penalty: Annotated[float, ranges.PENALTY] = 0.0
    max_grad_norm: Annotated[float, ranges.CLIP] = 0.0
    grad_clip: Annotated[float, ranges.CLIP] = 0.0

    def __post_init__(self) -> None:
        if self.type == "adam" and self.momentum:
            raise DktError(
                f"'momentum' is {self.momentum:g}, but adam has none to set",
                hint="leave it out, or choose sgd",
            )


def make_optimizer(
    network: torch.nn.Module, config: OptimizerConfig, frames_per_update: int
) -> torch.optim.Optimizer:
    """The optimizer of the trainable weights; its learning rate is set epoch by epoch."""
    weights = [p for p in network.parameters() if p.requires_grad]
    if config.type == "adam":
        return torch.optim.AdamW(weights, lr=0.0, weight_decay=config.l2_penalty)
    # Gradients are summed over the frames of an update: so is the penalty.
    decay = config.l2_penalty * frames_per_update
    return torch.optim.SGD(weights, lr=0.0, momentum=config.momentum, weight_decay=decay, foreach=True)


class Updates:
    """Updates of a network's weights.

    Args:
        network: what is trained.
        config: how.
        frames_per_update: about how many frames a loss is summed over.
    """

    def __init__(self, network: torch.nn.Module, config: OptimizerConfig, frames_per_update: int) -> None:
        self.optimizer = make_optimizer(network, config, frames_per_update)
        self.max_grad_norm = config.max_grad_norm
        self.grad_clip = config.grad_clip
        self._weights = [p for p in network.parameters() if p.requires_grad]

    def set_learn_rate(self, learn_rate: float) -> None:
        """Set the rate, for gradients summed over the frames of an update, as in nnet1."""
        for group in self.optimizer.param_groups:
            group["lr"] = learn_rate

    def apply(self, loss: torch.Tensor, num_frames: int) -> bool:
        """One update by the gradient of a loss that is summed over ``num_frames`` frames.

        Returns:
            Whether the gradient was scaled down.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.grad_clip:
            torch.nn.utils.clip_grad_value_(self._weights, self.grad_clip)
        clipped = False
        if self.max_grad_norm:
            limit = self.max_grad_norm * num_frames
            clipped = bool(torch.nn.utils.clip_grad_norm_(self._weights, limit) > limit)
        self.optimizer.step()
        return clipped
