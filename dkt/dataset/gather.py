"""Rows of features by index, from where they are to where they are computed with.

By NumPy alone on the host: PyTorch would open threads of its own in the thread that reads ahead, beside those
of the training.
"""

from __future__ import annotations

import numpy as np
import torch

from dkt.dataset.features import FrameSource
from dkt.nnet.splice import gather_context


class Gatherer:
    """Takes rows of features to a device.

    Args:
        source: of the features. Those that fit on a GPU are copied to it at once, and indexed there.
        device: where to.
    """

    def __init__(self, source: FrameSource, device: torch.device) -> None:
        self.device = device
        self._resident = source.resident(device)

    def rows(self, rows: np.ndarray, index: np.ndarray) -> torch.Tensor:
        """Some of the ``rows`` of ``FrameSource.load``, by an index of shape ``(...)``: ``(..., F)``."""
        if self._resident is not None:
            taken = self._resident.index_select(0, self.send(index.ravel()))
            return taken.view(*index.shape, -1)
        return self.send(_take(rows, index, self._empty(*index.shape, rows.shape[1])))

    def spliced(self, rows: np.ndarray, index: np.ndarray, ivector_dim: int, own: int) -> torch.Tensor:
        """Rows side by side; the i-vectors at their end once, of one of them.

        Args:
            rows: shape ``(R, F)``.
            index: the rows that each result is made of, shape ``(B, context)``.
            ivector_dim: I, the last dimensions of a row that are i-vectors.
            own: the column of ``index`` whose i-vectors are taken.

        Returns:
            Shape ``(B, context * (F - I) + I)``.
        """
        count, context = index.shape
        if self._resident is not None:
            frames = self.send(index[:, own])
            return gather_context(self._resident, self.send(index), frames, ivector_dim)
        if ivector_dim == 0:
            return self.rows(rows, index).view(count, -1)
        acoustic = rows.shape[1] - ivector_dim
        result = self._empty(count, context * acoustic + ivector_dim)
        taken = np.take(rows, index, axis=0)
        values = result.numpy()
        values[:, : context * acoustic].reshape(count, context, acoustic)[:] = taken[:, :, :acoustic]
        values[:, context * acoustic :] = taken[:, own, acoustic:]
        return self.send(result)

    def send(self, values: np.ndarray | torch.Tensor) -> torch.Tensor:
        """An array on the device; the host does not wait for it to get there."""
        tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _empty(self, *shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.float32, pin_memory=self.device.type == "cuda")


def _take(rows: np.ndarray, index: np.ndarray, out: torch.Tensor) -> torch.Tensor:
    # Any other mode goes through a buffer; no index is out of range.
    np.take(rows, index, axis=0, out=out.numpy(), mode="clip")
    return out
