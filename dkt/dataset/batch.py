"""A batch of a training, whatever network it is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from dkt.targets.soft_targets import SoftTargets


@dataclass
class Batch:
    """B frames with their labels, and what a network needs to give logits of them.

    Attributes:
        inputs: what the network's ``runner`` takes: spliced frames ``(B, D)``, or ``Sequences``.
        labels: pdf-ids, int64 of shape ``(B,)``.
        targets: the posteriors of a teacher for the same frames; None where there is no teacher.
        frames: the number of each frame among those of ``Utterances``; int64, shape ``(B,)``, in memory.
    """

    inputs: Any
    labels: torch.Tensor
    targets: SoftTargets | None
    frames: torch.Tensor


class Batches(Protocol):
    """What gives batches of utterances.

    Attributes:
        num_states: sequences whose state is carried from batch to batch; 0 where none is.
        smaller: the keys of a configuration that make batches smaller.
    """

    smaller: str

    @property
    def num_states(self) -> int: ...

    @property
    def num_frames(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]:
        """All frames in order."""

    def shuffled(self, seed: int) -> Iterator[Batch]:
        """All frames in an order that ``seed`` decides."""

    def network_inputs(self) -> Iterator[torch.Tensor]:
        """All that the network takes, ``(..., input_dim)``, in order and without padding."""

    def describe(self) -> str:
        """How many frames there are, for the log."""
