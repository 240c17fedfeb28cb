"""The training criterion of a student: one of the objectives, chosen by its mode."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.targets.scratch import FrameTargets
from dkt.targets.soft_targets import SoftTargets, TargetHeader
from dkt.train import objectives

#: ``pretrain`` is a soft training followed by a hard one; each of the others is one objective.
Mode = Literal["hard", "soft", "pretrain", "mix", "logits", "conditional", "smooth"]

_TAUGHT = ("soft", "pretrain", "mix", "logits", "conditional")
_LABELLED = ("hard", "pretrain", "mix", "conditional", "smooth")


@dataclass
class ObjectiveConfig:
    """What a student learns.

    Attributes:
        mode: hard: labels; soft: the teacher; pretrain: soft, then hard; mix: both at once; logits: the
            teacher's logits; conditional: the teacher where it is right, else labels; smooth: labels,
            smoothed.
        temperature: T of soft, pretrain, mix and conditional.
        soft_weight: lambda of mix: how much of it is the teacher's.
        smoothing: of smooth: the share that is spread over all pdfs.
    """

    mode: Mode = "hard"
    temperature: Annotated[float, ranges.TEMPERATURE] = 1.0
    soft_weight: Annotated[float, ranges.SHARE] = 0.5
    smoothing: Annotated[float, ranges.NOT_ALL] = 0.1

    @property
    def needs_teacher(self) -> bool:
        """Whether there must be soft targets."""
        return self.mode in _TAUGHT

    @property
    def needs_labels(self) -> bool:
        """Whether there must be alignments."""
        return self.mode in _LABELLED

    def check_header(self, header: TargetHeader, path: str) -> None:
        """Raise DktError unless targets serve the mode: all pdfs for logits, a tail at T for the others."""
        if self.mode == "logits" and not header.dense:
            raise DktError(
                "logit matching needs the logits of all pdfs, the soft targets keep only the largest",
                path=path,
                hint="make them with --top-k all, or give the teacher by --teacher",
            )
        if self.mode != "logits" and not header.dense and self.temperature not in header.temperatures:
            known = " ".join(f"{temperature:g}" for temperature in header.temperatures)
            raise DktError(
                f"the soft targets have no tail at temperature {self.temperature:g}, but at {known}",
                path=path,
                hint="make them again with this temperature in --temperatures, or with --top-k all",
            )


def check_dense(config: ObjectiveConfig, targets: FrameTargets | None, path: str) -> None:
    """Raise DktError if logits are to be matched and some are not known: Posteriors do not list all pdfs."""
    if config.mode == "logits" and targets is not None and not targets.dense:
        raise DktError(
            "logit matching needs all pdfs of every frame, these posteriors list some",
            path=path,
            hint="give matrices of nnet-forward, or the teacher by --teacher",
        )


class Loss(NamedTuple):
    """Sums over frames: what is minimised, and the part of it that no student can remove."""

    objective: torch.Tensor
    entropy: torch.Tensor

    @property
    def reported(self) -> torch.Tensor:
        """Objective minus target entropy, as Kaldi reports AvgLoss: zero is the best in every mode."""
        return (self.objective - self.entropy).detach()


#: Of logits ``(B, P)``, labels ``(B,)`` and, where there is a teacher, its targets for the B frames.
Criterion = Callable[[torch.Tensor, torch.Tensor, SoftTargets | None], Loss]


def make_criterion(config: ObjectiveConfig) -> Criterion:
    """The criterion of a mode; ``pretrain`` has two, those of soft and hard."""
    criteria: dict[str, Callable[..., Loss]] = {
        "hard": _hard,
        "soft": _soft,
        "mix": _mix,
        "logits": _logits,
        "conditional": _conditional,
        "smooth": _smooth,
    }
    chosen = criteria[config.mode]

    def criterion(logits: torch.Tensor, labels: torch.Tensor, targets: SoftTargets | None) -> Loss:
        return chosen(config, logits, labels, targets)

    return criterion


def _hard(config: ObjectiveConfig, logits: torch.Tensor, labels: torch.Tensor, targets: None) -> Loss:
    return Loss(objectives.hard(logits, labels), logits.new_zeros(()))


def _soft(config: ObjectiveConfig, logits: torch.Tensor, labels: torch.Tensor, targets: SoftTargets) -> Loss:
    temperature, tail = config.temperature, targets.tail(config.temperature)
    return Loss(
        objectives.soft(logits, targets.pdfs, targets.log_post, tail, temperature),
        objectives.soft_entropy(targets.log_post, tail, temperature),
    )


def _mix(config: ObjectiveConfig, logits: torch.Tensor, labels: torch.Tensor, targets: SoftTargets) -> Loss:
    weight, temperature = config.soft_weight, config.temperature
    taught = _soft(config, logits, labels, targets)
    objective = objectives.interpolated(
        objectives.hard(logits, labels), taught.objective, weight, temperature
    )
    return Loss(objective, weight * temperature**2 * taught.entropy)


def _logits(
    config: ObjectiveConfig, logits: torch.Tensor, labels: torch.Tensor, targets: SoftTargets
) -> Loss:
    return Loss(objectives.logit_matching(logits, targets.log_post), logits.new_zeros(()))


def _conditional(
    config: ObjectiveConfig, logits: torch.Tensor, labels: torch.Tensor, targets: SoftTargets
) -> Loss:
    temperature, tail = config.temperature, targets.tail(config.temperature)
    right = targets.best() == labels
    entropy = objectives.soft_entropy(targets.log_post[right], tail[right], temperature)
    objective = objectives.conditional(logits, labels, targets.pdfs, targets.log_post, tail, temperature)
    return Loss(objective, temperature**2 * entropy)


def _smooth(config: ObjectiveConfig, logits: torch.Tensor, labels: torch.Tensor, targets: None) -> Loss:
    objective = objectives.smooth(logits, labels, config.smoothing)
    entropy = len(labels) * _smoothed_entropy(logits.shape[1], config.smoothing)
    return Loss(objective, logits.new_tensor(entropy))


def _smoothed_entropy(num_pdfs: int, smoothing: float) -> float:
    """Of one frame's smoothed label over P pdfs."""
    others = smoothing / num_pdfs
    label = 1.0 - smoothing + others
    return -label * math.log(label) - (num_pdfs - 1) * (others * math.log(others) if others else 0.0)
