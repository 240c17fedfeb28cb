"""What a network can learn: a row for each objective, from which options, checks and help are made.

Nothing here needs PyTorch: a command tells what is wrong with its options before it is loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.base.spelling import near
from dkt.train.value_schedule import ValueSchedule

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Objective:
    """An objective.

    Attributes:
        text: what is learnt, for people.
        loss: the function of it, or where it is, ``module:function``; see ``dkt.train.criterion``.
        teacher: whether there must be soft targets.
        labels: whether there must be alignments.
        options: the keys of ``ObjectiveConfig`` that it reads.
        logits: whether it needs the teacher's posteriors of all pdfs.
        hint: whether it needs a hidden layer of the teacher.
    """

    text: str
    loss: str | Callable[..., Any]
    teacher: bool = False
    labels: bool = False
    options: tuple[str, ...] = ()
    logits: bool = False
    hint: bool = False


_CONTROL = ("shuffle_targets",)
_SOFT = ("temperature", "temperature_schedule", *_CONTROL)
_MIXED = ("soft_weight", "soft_weight_schedule")
_HINT = ("hint_layer", "guided_layer", *_CONTROL)

#: The objectives. ``pretrain`` is not one but two of them, one after the other.
OBJECTIVES: dict[str, Objective] = {
    "hard": Objective("the labels", "dkt.train.criterion:hard_loss", labels=True),
    "soft": Objective(
        "the teacher's posteriors", "dkt.train.criterion:soft_loss", teacher=True, options=_SOFT
    ),
    "interpolate": Objective(
        "teacher and labels at once",
        "dkt.train.criterion:interpolate_loss",
        teacher=True,
        labels=True,
        options=(*_SOFT, *_MIXED),
    ),
    "logits": Objective(
        "the teacher's logits, by least squares",
        "dkt.train.criterion:logits_loss",
        teacher=True,
        options=_CONTROL,
        logits=True,
    ),
    "conditional": Objective(
        "the teacher where its best pdf is the label, else the label",
        "dkt.train.criterion:conditional_loss",
        teacher=True,
        labels=True,
        options=_SOFT,
    ),
    "teacher_labels": Objective(
        "the teacher's best pdf, as if it were the label",
        "dkt.train.criterion:teacher_labels_loss",
        teacher=True,
        options=_CONTROL,
    ),
    "smooth": Objective(
        "smoothed labels", "dkt.train.criterion:smooth_loss", labels=True, options=("smoothing",)
    ),
    "hint": Objective(
        "a hidden layer of the teacher, through a linear map",
        "dkt.train.criterion:hint_loss",
        teacher=True,
        options=_HINT,
        hint=True,
    ),
}
PRETRAIN = "pretrain"
#: Earlier names.
_RENAMED = {"mix": "interpolate"}


def mode_names() -> list[str]:
    """What ``objective.mode`` may be."""
    names = list(OBJECTIVES)
    names.insert(names.index("soft") + 1, PRETRAIN)
    return names


def current_name(mode: str) -> str:
    """The name of today of a mode that may be called by an earlier one."""
    return _RENAMED.get(mode, mode)


@dataclass(frozen=True)
class ModeName:
    """The name of a mode, an earlier one too.

    Attributes:
        phase: whether it must be a training by itself: any but pretrain.
        output: whether it must train the output layer, as a hint does not.
    """

    phase: bool = False
    output: bool = False

    def check(self, value: object, name: str) -> None:
        """Raise DktError, which lists the known modes, if there is none of this name."""
        known = list(OBJECTIVES) if self.phase else mode_names()
        if self.output:
            known = [name for name in known if not getattr(OBJECTIVES.get(name), "hint", False)]
        mode = current_name(str(value))
        if mode in known:
            row = OBJECTIVES.get(mode)
            if mode != PRETRAIN and not isinstance(row, Objective):
                raise DktError(f"objective '{mode}' is {row!r}, expected an Objective")
            return
        meant = near(str(value), known)
        hint = f"did you mean {meant}?" if meant else None
        raise DktError(f"'{name}' is {ranges.shown(value)}, known are {', '.join(known)}", hint=hint)


@dataclass
class ObjectiveConfig:
    """What a network learns.

    Attributes:
        mode: one of ``OBJECTIVES``; or pretrain: ``first``, then ``then``.
        temperature: T of soft, pretrain, interpolate and conditional.
        soft_weight: lambda of interpolate: how much of it is the teacher's.
        smoothing: of smooth: the share that is spread over all pdfs.
        shuffle_targets: a control: each frame gets the teacher's posteriors of another frame, drawn among
            those of the same label. What is learnt from them of single frames is lost, what is learnt of
            pdfs stays.
        temperature_schedule, soft_weight_schedule: how they change with the epochs; losses of
            cross-validation are measured at the last of their values.
        first, then: the modes of the two trainings of pretrain; ``then`` begins from what ``first`` has
            learnt, with the schedule ``fine_tuning``.
        hint_layer: of hint: the hidden layer of the teacher, from 1 on; null for the middle one.
        guided_layer: of hint: the hidden layer of the student that shall match it; null for the middle one.
    """

    mode: Annotated[str, ModeName()] = "hard"
    temperature: Annotated[float, ranges.TEMPERATURE] = 1.0
    soft_weight: Annotated[float, ranges.SHARE] = 0.5
    smoothing: Annotated[float, ranges.NOT_ALL] = 0.1
    shuffle_targets: bool = False
    temperature_schedule: ValueSchedule = field(default_factory=ValueSchedule)
    soft_weight_schedule: ValueSchedule = field(default_factory=ValueSchedule)
    first: Annotated[str, ModeName(phase=True)] = "soft"
    then: Annotated[str, ModeName(phase=True, output=True)] = "hard"
    hint_layer: Annotated[int | None, ranges.LAYERS] = None
    guided_layer: Annotated[int | None, ranges.LAYERS] = None

    def __post_init__(self) -> None:
        for name in ("mode", "first", "then"):
            setattr(self, name, current_name(getattr(self, name)))
        if self.shuffle_targets and not self.needs_teacher:
            raise DktError(
                f"'shuffle_targets' is true, but mode {self.mode} has no teacher", hint="leave it out"
            )
        for temperature in self.temperatures:
            ranges.TEMPERATURE.check(temperature, "temperature_schedule")
        for weight in self.soft_weight_schedule.all(self.soft_weight):
            ranges.SHARE.check(weight, "soft_weight_schedule")

    @property
    def phases(self) -> list[str]:
        """The modes of the trainings, one after the other."""
        return [self.first, self.then] if self.mode == PRETRAIN else [self.mode]

    @property
    def options(self) -> set[str]:
        """The keys that have an effect."""
        own = {"first", "then"} if self.mode == PRETRAIN else set()
        return own.union(*(OBJECTIVES[mode].options for mode in self.phases))

    @property
    def needs_teacher(self) -> bool:
        """Whether there must be soft targets."""
        return any(OBJECTIVES[mode].teacher for mode in self.phases)

    @property
    def needs_labels(self) -> bool:
        """Whether there must be alignments."""
        return any(OBJECTIVES[mode].labels for mode in self.phases) or self.shuffle_targets

    @property
    def needs_logits(self) -> bool:
        """Whether soft targets must be of all pdfs."""
        return any(OBJECTIVES[mode].logits for mode in self.phases)

    @property
    def needs_hint(self) -> bool:
        """Whether the teacher itself must be there, for its hidden layers."""
        return any(OBJECTIVES[mode].hint for mode in self.phases)

    @property
    def temperatures(self) -> tuple[float, ...]:
        """All temperatures that there are in the course of the training, each once."""
        return tuple(dict.fromkeys(self.temperature_schedule.all(self.temperature)))

    def in_phase(self, mode: str) -> ObjectiveConfig:
        """The same of one training of several."""
        shuffled = self.shuffle_targets and OBJECTIVES[mode].teacher
        return replace(self, mode=mode, shuffle_targets=shuffled)

    def in_epoch(self, epoch: int | None) -> ObjectiveConfig:
        """The same with the values of one epoch, from 1 on, and no schedules; None for those at the end."""
        number = ranges.EPOCHS.high if epoch is None else epoch
        return replace(
            self,
            temperature=self.temperature_schedule.at(self.temperature, int(number)),
            soft_weight=self.soft_weight_schedule.at(self.soft_weight, int(number)),
            temperature_schedule=ValueSchedule(),
            soft_weight_schedule=ValueSchedule(),
        )

    def warn_of_schedules(self, max_iters: int) -> None:
        """Warn of schedules that one training does not come to the end of.

        Args:
            max_iters: its epochs, at most.
        """
        for name in ("temperature", "soft_weight"):
            schedule, key = getattr(self, f"{name}_schedule"), f"objective.{name}_schedule"
            last = len(schedule.all(getattr(self, name)))
            if f"{name}_schedule" in OBJECTIVES[self.mode].options and last > max_iters:
                logger.warning("%s ends in epoch %d, the training in epoch %d", key, last, max_iters)

    def describe_epoch(self, epoch: int) -> str:
        """What of it changes from epoch to epoch, as it is in one of them; empty if nothing does."""
        values = self.in_epoch(epoch)
        changing = [
            f"{name.replace('soft_weight', 'lambda')} {getattr(values, name):.4g}"
            for name in ("temperature", "soft_weight")
            if getattr(self, f"{name}_schedule").type != "constant"
            and f"{name}_schedule" in OBJECTIVES[self.mode].options
        ]
        return ", ".join(changing)

    def check_targets(self, dense: bool, temperatures: tuple[float, ...], path: str) -> None:
        """Make sure that soft targets serve: all pdfs for logits, a tail at each temperature for the others.

        Args:
            dense: whether they hold all pdfs.
            temperatures: at which the tail is known.
            path: where they are.

        Raises:
            DktError: they do not.
        """
        from dkt.targets.header import position, temperatures_text

        if dense:
            return
        if self.needs_logits:
            raise DktError(
                "logit matching needs the logits of all pdfs, the soft targets keep only the largest",
                path=path,
                hint="make them with --top-k all, or give the teacher by --teacher",
            )
        missing = [t for t in self.temperatures if position(t, temperatures) is None]
        if missing and "temperature" in self.options:
            wanted, known = temperatures_text(missing), temperatures_text(temperatures)
            raise DktError(
                f"the soft targets have no tail at temperature {wanted}, but at {known}",
                path=path,
                hint="make them again with this temperature in --temperatures, or with --top-k all",
            )
