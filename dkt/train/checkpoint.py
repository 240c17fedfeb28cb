"""Checkpoints of a training: the state after its last epoch, and the one before in case that is damaged."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from dkt.base.errors import DamagedError, DktError
from dkt.base.files import cannot_write, is_there
from dkt.nnet.torchfile import load_torch, save_torch

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"
_PLAIN = (bool, int, float)


def has_checkpoint(directory: Path) -> bool:
    """Whether a training was begun in a directory, and is not through."""
    return any(is_there(directory / name) for name in (CHECKPOINT, PREVIOUS))


def save_checkpoint(directory: Path, content: dict[str, Any]) -> None:
    """Write the state after an epoch; that of the epoch before is kept.

    Raises:
        DktError: it cannot be written.
    """
    path = directory / CHECKPOINT
    try:
        if path.is_file():
            path.replace(directory / PREVIOUS)
    except OSError as error:
        raise cannot_write(directory / PREVIOUS, error) from None
    save_torch(path, content)


def load_checkpoint(directory: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest state that is not damaged, and its file; None if there is none.

    A damaged one is warned of, and removed where an older one serves.

    Raises:
        DktError: one cannot be read.
    """
    damaged: list[Path] = []
    for path in (directory / CHECKPOINT, directory / PREVIOUS):
        if not is_there(path):
            continue
        try:
            content = load_torch(path)
        except DamagedError as error:
            logger.warning("%s: the training goes on from what was there before", error)
            damaged.append(path)
            continue
        for worse in damaged:
            worse.unlink(missing_ok=True)
        return path, content
    if damaged:
        logger.warning("%s: no checkpoint is left: the training begins again", directory)
    return None


def remove_checkpoints(directory: Path) -> None:
    """Remove all of them: the training is through."""
    for name in (CHECKPOINT, PREVIOUS):
        (directory / name).unlink(missing_ok=True)


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer the state that a checkpoint holds.

    Raises:
        ValueError: it is that of another optimizer, or of other weights.
    """
    kinds = [{name: type(value) for name, value in group.items()} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    if kinds != [{name: type(value) for name, value in group.items()} for group in optimizer.param_groups]:
        raise ValueError("the state is of another optimizer")
    for weights, values in optimizer.state.items():
        for value in values.values():
            if isinstance(value, torch.Tensor) and value.ndim and value.shape != weights.shape:
                raise ValueError("the optimizer's state is of other weights")


def check_numbers(values: dict[str, Any]) -> dict[str, Any]:
    """The same values.

    Raises:
        ValueError: one of them is not a plain number.
    """
    for name, value in values.items():
        if type(value) not in _PLAIN:
            raise ValueError(f"'{name}' is not a number")
    return values


def not_of_this_training(path: Path, reason: Exception) -> DktError:
    """The error to raise for a checkpoint that is whole and does not fit."""
    text = (str(reason).splitlines() or [""])[0][:200]
    return DktError(
        f"is not a checkpoint of this training ({type(reason).__name__}: {text})",
        path=path,
        hint="remove it to begin again",
    )
