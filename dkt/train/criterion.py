"""What a training minimises: the objectives of ``dkt.train.modes``, as functions of the frames of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from dkt.base.errors import DktError
from dkt.base.references import referenced
from dkt.targets.soft_targets import SoftTargets
from dkt.train import objectives
from dkt.train.modes import OBJECTIVES, ObjectiveConfig


@dataclass
class Frames:
    """B frames as an objective sees them.

    Attributes:
        logits: of the network, shape ``(B, P)``.
        labels: pdf-ids, int64 of shape ``(B,)``.
        targets: the teacher's posteriors, and its hidden layer of a hint; None where there is no teacher.
        guided: the hidden layer of the network that a hint guides, through its linear map, shape ``(B, H)``;
            None where there is no hint.
    """

    logits: torch.Tensor
    labels: torch.Tensor
    targets: SoftTargets | None = None
    guided: torch.Tensor | None = None

    @property
    def taught(self) -> SoftTargets:
        """The targets of objectives that have a teacher.

        Raises:
            DktError: the row of the objective does not say that it has one.
        """
        if self.targets is None:
            raise DktError("the objective asks for a teacher", hint="its row is to say so: teacher=True")
        return self.targets


class Loss(NamedTuple):
    """Sums over frames: what is minimised, and the part of it that no student can remove."""

    objective: torch.Tensor
    entropy: torch.Tensor

    @property
    def reported(self) -> torch.Tensor:
        """Objective minus target entropy, as Kaldi reports AvgLoss: zero is the best in every mode."""
        return (self.objective - self.entropy).detach()


Criterion = Callable[[Frames], Loss]


def make_criterion(config: ObjectiveConfig, epoch: int | None = None) -> Criterion:
    """The criterion of a mode, of one training: pretrain has two.

    Args:
        config: the mode and its options.
        epoch: from 1 on, for values that change from epoch to epoch; None for the last of them.
    """
    function: Callable[[ObjectiveConfig, Frames], Loss] = referenced(
        OBJECTIVES[config.mode].loss, f"the loss of '{config.mode}'"
    )
    values = config.in_epoch(epoch)

    def criterion(frames: Frames) -> Loss:
        loss = function(values, frames)
        if not isinstance(loss, Loss):
            raise DktError(
                f"the objective '{config.mode}' gives a {type(loss).__name__}, expected a Loss",
                hint="return dkt.train.criterion.Loss(objective, entropy), both summed over frames",
            )
        return loss

    return criterion


def hard_loss(config: ObjectiveConfig, frames: Frames) -> Loss:
    """Cross-entropy with the labels."""
    return Loss(objectives.hard(frames.logits, frames.labels), frames.logits.new_zeros(()))


def soft_loss(config: ObjectiveConfig, frames: Frames) -> Loss:
    """Cross-entropy with the teacher, both at the temperature."""
    targets, temperature = frames.taught, config.temperature
    tail = targets.tail(temperature)
    return Loss(
        objectives.soft(frames.logits, targets.pdfs, targets.log_post, tail, temperature),
        objectives.soft_entropy(targets.log_post, tail, temperature),
    )


def interpolate_loss(config: ObjectiveConfig, frames: Frames) -> Loss:
    """Both at once, ``soft`` with the weight lambda T²."""
    weight, temperature = config.soft_weight, config.temperature
    taught = soft_loss(config, frames)
    labelled = objectives.hard(frames.logits, frames.labels)
    objective = objectives.interpolated(labelled, taught.objective, weight, temperature)
    return Loss(objective, weight * temperature**2 * taught.entropy)


def logits_loss(config: ObjectiveConfig, frames: Frames) -> Loss:
    """Least squares between centred logits."""
    loss = objectives.logit_matching(frames.logits, frames.taught.log_post)
    return Loss(loss, frames.logits.new_zeros(()))


def conditional_loss(config: ObjectiveConfig, frames: Frames) -> Loss:
    """The teacher where its best pdf is the label, else the label."""
    targets, temperature = frames.taught, config.temperature
    tail = targets.tail(temperature)
    right = targets.best() == frames.labels
    entropy = objectives.soft_entropy(targets.log_post[right], tail[right], temperature)
    objective = objectives.conditional(
        frames.logits, frames.labels, targets.pdfs, targets.log_post, tail, temperature
    )
    return Loss(objective, temperature**2 * entropy)


def teacher_labels_loss(config: ObjectiveConfig, frames: Frames) -> Loss:
    """Cross-entropy with the teacher's best pdf."""
    return Loss(objectives.hard(frames.logits, frames.taught.best()), frames.logits.new_zeros(()))


def smooth_loss(config: ObjectiveConfig, frames: Frames) -> Loss:
    """Cross-entropy with smoothed labels."""
    objective = objectives.smooth(frames.logits, frames.labels, config.smoothing)
    entropy = len(frames.labels) * _smoothed_entropy(frames.logits.shape[1], config.smoothing)
    return Loss(objective, frames.logits.new_tensor(entropy))


def hint_loss(config: ObjectiveConfig, frames: Frames) -> Loss:
    """Least squares between a hidden layer, through a linear map, and one of the teacher."""
    assert frames.guided is not None and frames.taught.hint is not None
    return Loss(objectives.hint(frames.guided, frames.taught.hint), frames.logits.new_zeros(()))


def _smoothed_entropy(num_pdfs: int, smoothing: float) -> float:
    """Of one frame's smoothed label over P pdfs."""
    others = smoothing / num_pdfs
    label = 1.0 - smoothing + others
    return -label * math.log(label) - (num_pdfs - 1) * (others * math.log(others) if others else 0.0)
