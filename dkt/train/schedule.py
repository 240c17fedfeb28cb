"""How the learning rate changes from epoch to epoch, and which epoch's weights are kept: a class each."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

from dkt.base import ranges
from dkt.base.errors import DktError


@dataclass
class ScheduleConfig:
    """How the learning rate changes from epoch to epoch.

    ``newbob`` has the names and defaults of Kaldi's ``steps/nnet/train_scheduler.sh``.

    Attributes:
        type: newbob: halved after every epoch once the cross-validation loss hardly improves; weights that
            make it larger are rejected, and training goes on from those before. plateau: halved whenever
            the loss has not improved for ``patience`` epochs. exponential: falls by one factor from epoch to
            epoch, whatever the loss, as in nnet3. Of all three the weights of the best epoch are kept.
        learn_rate: the initial rate, for gradients summed over the mini-batch as in nnet1.
        final_learn_rate: of exponential: the rate of the last epoch; of plateau: training ends when the rate
            would fall below it. null for a twentieth of the initial rate.
        max_iters: epochs at most; of exponential: the number of epochs.
        min_iters: epochs at least.
        keep_lr_iters: epochs before the rate may fall.
        patience: of plateau: epochs without an improvement after which the rate is halved.
        start_halving_impr: of newbob and plateau: a smaller relative improvement of the cross-validation loss
            is none.
        end_halving_impr: of newbob: relative improvement below which, once halving, training ends.
        halving_factor: what the rate is multiplied by.
    """

    type: Annotated[str, ranges.OneOf("newbob", "plateau", "exponential")] = "newbob"
    learn_rate: Annotated[float, ranges.LEARN_RATE] = 0.008
    final_learn_rate: Annotated[float | None, ranges.LEARN_RATE] = None
    max_iters: Annotated[int, ranges.EPOCHS] = 20
    min_iters: Annotated[int, ranges.EPOCHS_OR_NONE] = 0
    keep_lr_iters: Annotated[int, ranges.EPOCHS_OR_NONE] = 0
    patience: Annotated[int, ranges.EPOCHS] = 2
    start_halving_impr: Annotated[float, ranges.IMPROVEMENT] = 0.01
    end_halving_impr: Annotated[float, ranges.IMPROVEMENT] = 0.001
    halving_factor: Annotated[float, ranges.REDUCTION] = 0.5

    def __post_init__(self) -> None:
        if self.min_iters > self.max_iters:
            raise DktError(f"'min_iters' is {self.min_iters}, 'max_iters' {self.max_iters}: expected no more")
        if self.final_learn_rate is not None and self.type == "newbob":
            raise DktError(
                f"'final_learn_rate' is {self.final_learn_rate:g}, but newbob ends by 'end_halving_impr'",
                hint="leave it out, or choose type plateau or exponential",
            )
        if self.final_learn_rate is not None and self.final_learn_rate > self.learn_rate:
            raise DktError(
                f"'final_learn_rate' is {self.final_learn_rate:g}, "
                f"'learn_rate' {self.learn_rate:g}: expected no more"
            )

    @property
    def last_rate(self) -> float:
        """The smallest rate of plateau and exponential."""
        return self.learn_rate / 20.0 if self.final_learn_rate is None else self.final_learn_rate


@dataclass
class FineTuningConfig(ScheduleConfig):
    """How a network is trained that begins from weights of another training.

    Attributes:
        dropout: ``network.dropout`` of this training: labels that follow soft targets call for more of it
            than those did. null for what ``network`` says.
    """

    dropout: Annotated[float | None, ranges.NOT_ALL] = None


@dataclass
class Schedule:
    """The state of a schedule, between epochs.

    Attributes:
        config: the options.
        best_loss: the cross-validation loss of the weights that are kept.
        learn_rate: the rate of the next epoch.
        epoch: epochs done.
        halving: of newbob: whether the rate is being halved.
        stalled: of plateau: epochs since the last improvement.
        improved_loss: of plateau: the loss of that improvement, which the next is measured from.
        finished: whether training is over.
    """

    config: ScheduleConfig
    best_loss: float
    learn_rate: float = 0.0
    epoch: int = 0
    halving: bool = False
    stalled: int = 0
    improved_loss: float = math.nan
    finished: bool = False

    #: Whether training goes on from the weights that are kept where others are rejected.
    goes_back: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.learn_rate = self.learn_rate or self.config.learn_rate
        if math.isnan(self.improved_loss):
            self.improved_loss = self.best_loss

    def update(self, loss: float) -> bool:
        """Account for one epoch that ended with the cross-validation loss ``loss``.

        Returns:
            Whether its weights are to be kept, as the best so far.
        """
        self.epoch += 1
        previous = self.best_loss
        accepted = math.isfinite(loss) and (loss < previous or self._forced)
        if accepted:
            self.best_loss = loss
        self.finished = self.epoch >= self.config.max_iters
        self._adapt(self._improvement_on(previous))
        return accepted

    def _improvement_on(self, previous: float) -> float:
        """The relative improvement of the loss that is kept."""
        return (previous - self.best_loss) / abs(previous) if previous else 0.0

    @property
    def _forced(self) -> bool:
        """Whether the weights of this epoch are kept whatever their loss."""
        return False

    def _adapt(self, improvement: float) -> None:
        """Set the rate of the next epoch, after a relative improvement of the loss."""
        raise NotImplementedError

    def state(self) -> dict[str, float | int | bool]:
        """The state as plain values, without the options."""
        state = asdict(self)
        del state["config"]
        return state


class Newbob(Schedule):
    """Halve the rate when cross-validation stalls, reject what got worse.

    Source: Kaldi's ``steps/nnet/train_scheduler.sh``.
    """

    goes_back = True

    @property
    def _forced(self) -> bool:
        # As in Kaldi.
        return self.epoch <= max(self.config.min_iters, self.config.keep_lr_iters)

    def _adapt(self, improvement: float) -> None:
        if self.epoch <= self.config.keep_lr_iters:
            return
        if self.halving and improvement < self.config.end_halving_impr:
            if self.epoch > self.config.min_iters:
                self.finished = True
            return
        if improvement < self.config.start_halving_impr:
            self.halving = True
        if self.halving:
            self.learn_rate *= self.config.halving_factor


class Plateau(Schedule):
    """Halve the rate after some epochs without an improvement (PyTorch's ``ReduceLROnPlateau``)."""

    def _adapt(self, improvement: float) -> None:
        # Small steps that add up are an improvement too.
        if self._improvement_on(self.improved_loss) >= self.config.start_halving_impr:
            self.stalled, self.improved_loss = 0, self.best_loss
        else:
            self.stalled += 1
        if self.stalled < self.config.patience or self.epoch <= self.config.keep_lr_iters:
            return
        self.stalled = 0
        reduced = self.learn_rate * self.config.halving_factor
        # Rounding is no reason to stop early.
        if reduced < self.config.last_rate * (1.0 - 1e-9):
            self.finished = self.finished or self.epoch >= self.config.min_iters
        else:
            self.learn_rate = reduced


class Exponential(Schedule):
    """From the first rate to the last by one factor.

    Source: ``get_learning_rate`` in Kaldi's ``steps/libs/nnet3/train/common.py``.
    """

    def _adapt(self, improvement: float) -> None:
        config = self.config
        falling = config.max_iters - 1 - config.keep_lr_iters
        done = self.epoch - config.keep_lr_iters
        if done > 0 and falling > 0:
            share = min(done / falling, 1.0)
            self.learn_rate = config.learn_rate * (config.last_rate / config.learn_rate) ** share


_SCHEDULES: dict[str, type[Schedule]] = {"newbob": Newbob, "plateau": Plateau, "exponential": Exponential}


def make_schedule(config: ScheduleConfig, best_loss: float, **state: Any) -> Schedule:
    """The schedule of a configuration, at the start or in a ``Schedule.state``."""
    return _SCHEDULES[config.type](config, best_loss, **state)
