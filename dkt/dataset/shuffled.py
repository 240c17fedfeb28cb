"""Soft targets of other frames of the same label: what a teacher knows of pdfs, not of single frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dkt.dataset.utterances import Utterances
from dkt.targets.scratch import FrameTargets
from dkt.targets.soft_targets import SoftTargets


class ReorderedTargets(FrameTargets):
    """Soft targets in another order.

    Args:
        targets: of R frames.
        order: the number in ``targets`` of each; int64, shape ``(R,)``.
    """

    def __init__(self, targets: FrameTargets, order: np.ndarray) -> None:
        super().__init__(targets.pdfs, targets.log_post, targets.tails, targets.temperatures, targets.hint)
        self._order = order

    def select(self, rows: np.ndarray | slice) -> SoftTargets:
        """As ``FrameTargets.select``."""
        return super().select(self._order[rows])


def shuffle_targets(utterances: Utterances, seed: int) -> Utterances:
    """The same utterances, each frame with the soft targets of another frame of its label.

    Every frame's targets are used once. A frame that is the only one of its label keeps its own.

    Args:
        utterances: with labels and soft targets.
        seed: of the draw.
    """
    assert utterances.targets is not None
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(utterances.labels))
    # Those of one label stand together, in the order they were drawn in; each gets the targets of the next.
    drawn = drawn[np.argsort(utterances.labels[drawn], kind="stable")]
    order = np.empty(len(drawn), np.int64)
    for members in np.split(drawn, np.flatnonzero(np.diff(utterances.labels[drawn])) + 1):
        order[members] = np.roll(members, -1)
    return replace(utterances, targets=ReorderedTargets(utterances.targets, order))
