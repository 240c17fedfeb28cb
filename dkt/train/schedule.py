"""Kaldi's newbob schedule: halve the learning rate when cross-validation stalls, reject what got worse."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Annotated

from dkt.base import ranges
from dkt.base.errors import DktError


@dataclass
class NewbobConfig:
    """Options of Kaldi's ``steps/nnet/train_scheduler.sh``, with its names and defaults.

    Attributes:
        learn_rate: the initial rate, for gradients summed over the mini-batch as in nnet1.
        max_iters: epochs at most.
        min_iters: epochs at least.
        keep_lr_iters: epochs before the rate may be halved.
        start_halving_impr: relative improvement of the cross-validation loss below which halving begins.
        end_halving_impr: relative improvement below which, once halving, training ends.
        halving_factor: what the rate is multiplied by.
    """

    learn_rate: Annotated[float, ranges.LEARN_RATE] = 0.008
    max_iters: Annotated[int, ranges.EPOCHS] = 20
    min_iters: Annotated[int, ranges.EPOCHS_OR_NONE] = 0
    keep_lr_iters: Annotated[int, ranges.EPOCHS_OR_NONE] = 0
    start_halving_impr: Annotated[float, ranges.IMPROVEMENT] = 0.01
    end_halving_impr: Annotated[float, ranges.IMPROVEMENT] = 0.001
    halving_factor: Annotated[float, ranges.REDUCTION] = 0.5

    def __post_init__(self) -> None:
        if self.min_iters > self.max_iters:
            raise DktError(f"'min_iters' is {self.min_iters}, 'max_iters' {self.max_iters}: expected no more")


@dataclass
class Newbob:
    """The state of the schedule.

    Attributes:
        config: the options.
        best_loss: cross-validation loss of the accepted weights.
        learn_rate: the rate of the next epoch.
        epoch: epochs done.
        halving: whether the rate is being halved.
        finished: whether training is over.
    """

    config: NewbobConfig
    best_loss: float
    learn_rate: float = 0.0
    epoch: int = 0
    halving: bool = False
    finished: bool = False

    def __post_init__(self) -> None:
        self.learn_rate = self.learn_rate or self.config.learn_rate

    def update(self, loss: float) -> bool:
        """Account for one epoch that ended with the cross-validation loss ``loss``.

        Returns:
            Whether its weights are accepted; if not, go back to those before. As in Kaldi, the epochs that
            ``min_iters`` and ``keep_lr_iters`` ask for are accepted whatever their loss.
        """
        self.epoch += 1
        previous = self.best_loss
        forced = self.epoch <= max(self.config.min_iters, self.config.keep_lr_iters)
        accepted = math.isfinite(loss) and (loss < previous or forced)
        if accepted:
            self.best_loss = loss
        self.finished = self.epoch >= self.config.max_iters
        if self.epoch > self.config.keep_lr_iters:
            self._adapt((previous - self.best_loss) / abs(previous) if previous else 0.0)
        return accepted

    def _adapt(self, improvement: float) -> None:
        if self.halving and improvement < self.config.end_halving_impr:
            if self.epoch > self.config.min_iters:
                self.finished = True
            return
        if improvement < self.config.start_halving_impr:
            self.halving = True
        if self.halving:
            self.learn_rate *= self.config.halving_factor

    def state(self) -> dict[str, float | int | bool]:
        """The state as plain values, without the options."""
        state = asdict(self)
        del state["config"]
        return state
