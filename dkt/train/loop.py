"""The training loop: epochs under a schedule, with a checkpoint after each."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import torch

from dkt.base import ranges
from dkt.base.directory_lock import require_lock
from dkt.base.errors import DktError
from dkt.base.memory import memory_for
from dkt.base.stopping import Stopped, uninterrupted
from dkt.train import checkpoint
from dkt.train.history import EpochRecord, require_tensorboard, save_history, write_tensorboard
from dkt.train.metrics import Metrics
from dkt.train.precision import Precision
from dkt.train.schedule import Schedule, ScheduleConfig, make_schedule

logger = logging.getLogger(__name__)

HISTORY = "history.csv"
_SMALLER = "make the network smaller"


class Trainable(Protocol):
    """What the loop needs of a network and its data; ``evaluate`` knows the names ``train`` and ``cv``.

    ``waited`` tells the seconds that have been waited for batches so far.
    """

    network: Any
    optimizer: torch.optim.Optimizer
    waited: float

    def state(self) -> dict[str, Any]:
        """A copy of all weights that the training goes on from."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to such a state."""

    def result(self, state: dict[str, Any]) -> dict[str, torch.Tensor]:
        """The weights of a state that are measured, and kept in the end."""

    def train_epoch(self, learn_rate: float, seed: int, epoch: int) -> Metrics:
        """Improve the network by one pass over the data; epochs are numbered from 1."""

    def evaluate(self, name: str) -> Metrics:
        """Measure the network, in evaluation mode."""


@dataclass
class LoopConfig:
    """How the loop runs.

    Attributes:
        seed: of initial weights, the order of frames and dropout.
        tensorboard: also write TensorBoard events.
        precision: float32, or bfloat16 for the factors of matrix products in training; faster where the
            processor has instructions for it, and less exact.
        average_epochs: over about how many of the last epochs weights are averaged, by an exponential moving
            average after every update: what is measured and kept are the averages. 0 for none.
    """

    seed: Annotated[int, ranges.SEED] = 777
    tensorboard: bool = False
    precision: Precision = "float32"
    average_epochs: Annotated[float, ranges.AVERAGE] = 0.0


class TrainingLoop:
    """Trains to the end of the schedule; ends with the best accepted weights in the network.

    An interrupted training goes on from its last finished epoch and gives the weights it would have given.

    Args:
        task: the network and its data.
        schedule: the learning-rate schedule.
        config: seed and TensorBoard.
        directory: of the experiment; the learning curve and the checkpoint go there.
        trained: the initial weights are of a training before: they may be the best there are.
    """

    def __init__(
        self,
        task: Trainable,
        schedule: ScheduleConfig,
        config: LoopConfig,
        directory: Path,
        trained: bool = False,
    ) -> None:
        if config.tensorboard:
            require_tensorboard()
        self.task = task
        self.config = config
        self.directory = directory
        self.trained = trained
        self.records: list[EpochRecord] = []
        self.schedule = self._resume(schedule) or self._begin(schedule)

    @memory_for("the weights and the best of them so far", _SMALLER)
    def _begin(self, schedule: ScheduleConfig) -> Schedule:
        self._keep()
        cv = self.task.evaluate("cv")
        logger.info("before training: cv loss %.4f, frame accuracy %.2f %%", cv.loss, cv.accuracy)
        if self.trained:
            # Where the curve begins, and what holds if no epoch improves on it.
            self.records.append(_record_before(self.task.evaluate("train"), cv))
        return make_schedule(schedule, cv.loss)

    def _resume(self, schedule: ScheduleConfig) -> Schedule | None:
        found = checkpoint.load_checkpoint(self.directory)
        if found is None:
            return None
        path, content = found
        try:
            restored = self._restore(content, schedule)
            logger.info("going on after epoch %d, from %s", self.records[-1].epoch, path)
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise checkpoint.not_of_this_training(path, error) from None
        return restored

    def _restore(self, content: dict[str, Any], schedule: ScheduleConfig) -> Schedule:
        self._best = content["network"]
        # Those of earlier versions, and of a schedule that goes back to them, hold these weights alone.
        self._going = content.get("going", {"network": self._best})
        self.task.restore(self._going)
        checkpoint.restore_optimizer(self.task.optimizer, content["optimizer"])
        self.records = [EpochRecord(**checkpoint.check_numbers(record)) for record in content["records"]]
        return make_schedule(schedule, **checkpoint.check_numbers(content["newbob"]))

    def _keep(self) -> None:
        """Keep the weights: for the end of the training, and to go on from."""
        self._going = self.task.state()
        self._best = self.task.result(self._going)

    def _save(self) -> None:
        require_lock(self.directory)
        save_history(self.directory / HISTORY, self.records)
        content = {
            "network": self._best,
            "optimizer": self.task.optimizer.state_dict(),
            "newbob": self.schedule.state(),
            "records": [asdict(record) for record in self.records],
        }
        if self._going.keys() != {"network"} or self._going["network"] is not self._best:
            content["going"] = self._going
        checkpoint.save_checkpoint(self.directory, content)

    def run(self) -> list[EpochRecord]:
        """Train until the schedule ends.

        Returns:
            The learning curve.

        Raises:
            DktError: the loss is not a number, or no epoch made the cross-validation loss of fresh weights
                smaller.
        """
        try:
            while not self.schedule.finished:
                self._epoch()
        except Stopped as stop:
            done = self.schedule.epoch
            number = f"{done} epoch is" if done == 1 else f"{done} epochs are"
            place = self.directory / checkpoint.CHECKPOINT
            stop.kept = f"{number} kept in {place}, the same command goes on from there"
            if not done:
                stop.kept = "no epoch was finished, the same command begins again"
            raise
        if not any(record.accepted for record in self.records if record.epoch):
            if not self.trained:
                raise DktError(
                    "no epoch improved on the initial weights",
                    path=self.directory / HISTORY,
                    hint="lower schedule.learn_rate, and look at the alignments",
                )
            logger.warning("no epoch improved on the weights that the training began from: they are kept")
        self.task.network.load_state_dict(self._best)
        return self.records

    @memory_for("the weights, the best of them so far and the state of the optimizer", _SMALLER)
    def _epoch(self) -> None:
        started, waited = time.monotonic(), self.task.waited
        rate = self.schedule.learn_rate
        # A seed of its own for each epoch: a resumed training repeats the one that was interrupted.
        epoch = self.schedule.epoch + 1
        running = self.task.train_epoch(rate, self.config.seed + 1000 * epoch, epoch)
        train, cv = self.task.evaluate("train"), self.task.evaluate("cv")
        accepted = self.schedule.update(cv.loss)
        if accepted:
            self._keep()
        elif self.schedule.goes_back or not math.isfinite(cv.loss):
            # From weights that have diverged no training comes back.
            self.task.restore(self._going)
        else:
            self._going = self.task.state()
        seconds = time.monotonic() - started
        record = EpochRecord(
            epoch=self.schedule.epoch,
            learn_rate=rate,
            running_loss=running.loss,
            train_loss=train.loss,
            train_frame_acc=train.accuracy,
            cv_loss=cv.loss,
            cv_frame_acc=cv.accuracy,
            clipped=running.clipped,
            accepted=accepted,
            seconds=seconds,
            waiting=100.0 * (self.task.waited - waited) / max(seconds, 1e-9),
        )
        self.records.append(record)
        with uninterrupted():
            self._save()
        if self.config.tensorboard:
            write_tensorboard(self.directory / "tensorboard", record)
        _log(record, running.num_frames)


def _record_before(train: Metrics, cv: Metrics) -> EpochRecord:
    return EpochRecord(
        epoch=0,
        learn_rate=0.0,
        running_loss=train.loss,
        train_loss=train.loss,
        train_frame_acc=train.accuracy,
        cv_loss=cv.loss,
        cv_frame_acc=cv.accuracy,
        clipped=0.0,
        accepted=True,
        seconds=0.0,
    )


def _log(record: EpochRecord, num_frames: int) -> None:
    logger.info(
        "epoch %d: rate %.3g, train loss %.4f acc %.2f %%, cv loss %.4f acc %.2f %%, "
        "%.1f %% of gradients clipped, %s (%.1f s, %.0f frames/s, %.1f %% of it waiting for data)",
        record.epoch,
        record.learn_rate,
        record.train_loss,
        record.train_frame_acc,
        record.cv_loss,
        record.cv_frame_acc,
        record.clipped,
        "accepted" if record.accepted else "rejected",
        record.seconds,
        num_frames / max(record.seconds, 1e-9),
        record.waiting,
    )
