"""A hint: a hidden layer of a network made to match one of its teacher, through a linear map.

Source: Romero et al., "FitNets: Hints for Thin Deep Nets" (arXiv 1412.6550), whose regressor the map is. It
is of the training alone: what is kept of it is the network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from dkt.nnet.hidden_layer import HiddenLayer
from dkt.nnet.network import Network, Runner
from dkt.nnet.products import Linear


class Guided(Network):
    """A network with the linear map from one of its hidden layers to one of a teacher.

    Args:
        network: the network.
        layer: the number of its hidden layer; None for the middle one.
        hint_dim: H, the dimension of the teacher's.

    Raises:
        DktError: there is no such layer.
    """

    def __init__(self, network: Network, layer: int | None, hint_dim: int) -> None:
        super().__init__(network.config, network.input_dim, network.num_pdfs)
        self.sizes, self.least_frames = network.sizes, network.least_frames  # type: ignore[misc]
        self.network = network
        self._layer = HiddenLayer(network, layer, "the network")
        training = network.training
        network.eval()
        with torch.no_grad():
            network.of_utterance(network.shift.new_zeros(1, network.input_dim), 0, 0, 0)
        network.train(training)
        self.regressor = Linear(self._layer.take().shape[-1], hint_dim).to(network.shift.device)

    def fit_normalisation(self, batches: Iterable[torch.Tensor]) -> None:
        """As ``Network.fit_normalisation``."""
        self.network.fit_normalisation(batches)

    def hidden_layers(self) -> list[nn.Module]:
        """As ``Network.hidden_layers``."""
        return self.network.hidden_layers()

    def runner(self, num_states: int) -> Runner:
        """As ``Network.runner``."""
        return self.network.runner(num_states)

    def labelled(self, outputs: torch.Tensor, inputs: Any) -> torch.Tensor:
        """As ``Network.labelled``."""
        return self.network.labelled(outputs, inputs)

    def guided(self, inputs: Any) -> torch.Tensor:
        """The layer of the batch that the runner has just seen in this thread, mapped: ``(B, H)``."""
        outputs: torch.Tensor = self.regressor(self.network.labelled(self._layer.take(), inputs))
        return outputs
