"""Networks of Kaldi's nnet1, run with PyTorch on one utterance at a time.

T is the number of frames; every component maps ``(T, I)`` to ``(T, O)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from dkt.nnet.nnet1 import components as nnet1
from dkt.nnet.nnet1.modules import step_of


class Nnet1:
    """A network of components.

    Args:
        components: in their order; none is the identity, as in Kaldi.
        path: where they were read, for errors.
        device: where to compute.
    """

    def __init__(
        self, components: Sequence[nnet1.Component], path: str | Path, device: torch.device | str = "cpu"
    ) -> None:
        self.components = list(components)
        self.path = str(path)
        self._steps = [step_of(component).to(device).eval() for component in components]
        self._device = device

    @classmethod
    def read(cls, path: str | Path, device: torch.device | str = "cpu") -> Nnet1:
        """Read a file of Kaldi's, text or binary.

        Raises:
            DktError: as ``dkt.nnet.nnet1.components.read_nnet1``.
        """
        return cls(nnet1.read_nnet1(path), path, device)

    @property
    def input_dim(self) -> int | None:
        """The dimension of its input; None if any will do."""
        return self.components[0].input_dim if self.components else None

    @property
    def output_dim(self) -> int | None:
        """The dimension of its output; None if it is that of the input."""
        return self.components[-1].output_dim if self.components else None

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray) -> torch.Tensor:
        """Outputs ``(T, O)`` of the frames ``(T, I)``, at least one, of one whole utterance."""
        values = torch.from_numpy(np.ascontiguousarray(frames, np.float32)).to(self._device)[:, None]
        last = torch.tensor([len(frames) - 1], device=self._device)
        for step in self._steps:
            values = step(values, last)
        return values[:, 0]
