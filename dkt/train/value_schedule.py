"""How a number of an objective, a temperature or a weight, changes from epoch to epoch: a row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from dkt.base import ranges
from dkt.base.errors import DktError


@dataclass
class ValueSchedule:
    """How a value changes with the epochs.

    Attributes:
        type: constant; linear: in equal steps from the value to ``end``, which it keeps; by_epoch: one of
            ``values`` for each epoch, the last one from there on.
        end: of linear: the last value.
        epochs: of linear: the epoch in which ``end`` is reached.
        values: of by_epoch.
    """

    type: Annotated[str, ranges.OneOf("constant", "linear", "by_epoch")] = "constant"
    end: Annotated[float | None, ranges.SCHEDULED] = None
    epochs: Annotated[int, ranges.EPOCHS] = 10
    values: list[Annotated[float, ranges.SCHEDULED]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if (self.end is None) == (self.type == "linear"):
            raise DktError("'end' is of type linear, which needs it")
        if bool(self.values) != (self.type == "by_epoch"):
            raise DktError("'values' are of type by_epoch, which needs them")

    def at(self, value: float, epoch: int) -> float:
        """The value in an epoch, from 1 on, of a number that the configuration gives as ``value``."""
        return SCHEDULES[self.type](self, value, epoch)

    def all(self, value: float) -> list[float]:
        """All values that there are, in order, the last one the one that stays."""
        last = max(self.epochs if self.type == "linear" else 1, len(self.values))
        return [self.at(value, epoch) for epoch in range(1, last + 1)]


def _constant(schedule: ValueSchedule, value: float, epoch: int) -> float:
    return value


def _linear(schedule: ValueSchedule, value: float, epoch: int) -> float:
    assert schedule.end is not None
    if epoch >= schedule.epochs:
        return schedule.end
    return value + (schedule.end - value) * (epoch - 1) / (schedule.epochs - 1)


def _by_epoch(schedule: ValueSchedule, value: float, epoch: int) -> float:
    return schedule.values[min(epoch, len(schedule.values)) - 1]


SCHEDULES: dict[str, Callable[[ValueSchedule, float, int], float]] = {
    "constant": _constant,
    "linear": _linear,
    "by_epoch": _by_epoch,
}
