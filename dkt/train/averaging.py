"""The average of a network's weights over the last part of its training (Polyak, Juditsky 1992)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

# Early averages forget faster, as the first weights are far from any good ones: the rule of TensorFlow's
# ExponentialMovingAverage with ``num_updates``.
_WARM_UP = 10


class WeightAverage:
    """An exponential moving average of weights, and of the statistics of batch normalisation.

    Args:
        network: whose weights they are.
        updates: of the weights that the average goes back, about.
    """

    def __init__(self, network: nn.Module, updates: float) -> None:
        self.decay = 1.0 - 1.0 / max(updates, 1.0)
        self.updates = 0
        self._moving = _floats(network)
        self._averages = {name: values.detach().clone() for name, values in self._moving.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after an update."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (_WARM_UP + self.updates))
        torch._foreach_lerp_(list(self._averages.values()), list(self._moving.values()), 1.0 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """A context in which the network has the averages for weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, values in self._moving.items():
            values.data, self._averages[name].data = self._averages[name].data, values.data

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs: ``weights``, a copy of the averages, and the number of ``updates``."""
        return {
            "updates": self.updates,
            "weights": {name: values.clone() for name, values in self._averages.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state.

        Raises:
            LookupError, ValueError, TypeError, AttributeError: it is not of this network.
        """
        updates, weights = state["updates"], state["weights"]
        if type(updates) is not int or weights.keys() != self._averages.keys():
            raise ValueError("the averages are of another network")
        for name, average in self._averages.items():
            saved = weights[name]
            if not isinstance(saved, torch.Tensor) or saved.shape != average.shape:
                raise ValueError(f"the average of '{name}' is of another network")
            average.copy_(saved)
        self.updates = updates


def _floats(network: nn.Module) -> dict[str, torch.Tensor]:
    """What has an average: the tensors of the network itself, not copies."""
    found = network.state_dict(keep_vars=True)
    return {name: values for name, values in found.items() if values.is_floating_point()}
