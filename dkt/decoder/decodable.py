"""What the search for alignments needs of an acoustic model."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from dkt.base.errors import DktError


class AcousticModel(Protocol):
    """Scores frames; ``AmDiagGmm`` is one."""

    def loglikes(self, features: np.ndarray, pdfs: np.ndarray | None = None) -> np.ndarray:
        """Log-likelihoods of frames ``(T, F)`` for the wanted pdfs, ascending: shape ``(T, P')``."""


class GivenLoglikes:
    """Stands for a model that scored the frames elsewhere: its features are log-likelihoods of all pdfs.

    Args:
        num_pdfs: P, the number of pdfs.
    """

    def __init__(self, num_pdfs: int) -> None:
        self.num_pdfs = num_pdfs

    def loglikes(self, features: np.ndarray, pdfs: np.ndarray | None = None) -> np.ndarray:
        """The wanted columns of ``features``, shape ``(T, P)``.

        Raises:
            DktError: there is another number of columns.
        """
        if features.ndim != 2 or features.shape[1] != self.num_pdfs:
            raise DktError(
                f"log-likelihoods of shape {features.shape}, expected {self.num_pdfs} columns, one per pdf",
                hint="use log-likelihoods and final.mdl of one model",
            )
        return features if pdfs is None else features[:, pdfs]
