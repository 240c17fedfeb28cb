"""What a configuration is held against: by a training when its data are loaded, by ``dkt check`` before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dkt.base.errors import DktError

if TYPE_CHECKING:
    from dkt.dataset.utterances import Utterances


@dataclass(frozen=True)
class DataFacts:
    """What the configuration of a training has to go with.

    Attributes:
        acoustic_dim: the dimension of the processed features without i-vectors; None if nobody knows.
        longest: the frames of the longest utterance of the training data; 0 if there is none.
        pdf_frames: the frames of each pdf, shape ``(P,)``; None if nobody knows.
    """

    acoustic_dim: int | None
    longest: int
    pdf_frames: np.ndarray | None = None

    @classmethod
    def of(cls, train: Utterances, ivector_dim: int, num_pdfs: int | None = None) -> DataFacts:
        """Those of training data, the frames of the pdfs too where their number is given."""
        frames = None if num_pdfs is None else np.bincount(train.labels, minlength=num_pdfs)
        return cls(train.dim - ivector_dim, int(train.lengths.max(initial=0)), frames)


class TrainingConfig(Protocol):
    """The configuration of a training of a network."""

    def check_data(self, facts: DataFacts) -> None:
        """Raise DktError if it does not go with the data."""


def check_reach(frames: int, key: str, facts: DataFacts) -> None:
    """Raise DktError if a configuration looks further than the longest utterance of the training data.

    Args:
        frames: how far it looks.
        key: of the configuration.
        facts: of the training data; without an utterance nothing is said.
    """
    if facts.longest and frames >= facts.longest:
        raise DktError(
            f"'{key}' is {frames} frames, but the longest utterance of the training data has {facts.longest}",
            hint="lower it: beyond the end there is nothing but repetitions of the last frame",
        )
