"""The output of a hidden layer, beside the logits: what a hint is made of and what it guides."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import nn

from dkt.base.errors import DktError
from dkt.nnet.network import Network


class HiddenLayer:
    """What a hidden layer of a network gave in its last forward pass, in each thread.

    Args:
        network: whose layer it is.
        number: of the layer, from 1 on; None for the middle one.
        what: the network, in errors.

    Attributes:
        number: of the layer.

    Raises:
        DktError: there is no such layer.
    """

    def __init__(self, network: Network, number: int | None, what: str) -> None:
        layers = network.hidden_layers()
        self.number = (len(layers) + 1) // 2 if number is None else number
        if self.number > len(layers):
            raise DktError(f"there is no hidden layer {self.number} in {what}: it has {len(layers)}")
        self._made = threading.local()
        layers[self.number - 1].register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        # Recurrent layers give their state, too.
        self._made.outputs = outputs[0] if isinstance(outputs, tuple) else outputs

    def take(self) -> torch.Tensor:
        """The output, which is forgotten."""
        outputs: torch.Tensor = self._made.outputs
        del self._made.outputs
        return outputs
