"""The feed-forward network on spliced frames: the teacher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
import torch
from torch import nn

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.nnet.network import FrameNetwork
from dkt.nnet.products import Linear

_ACTIVATIONS: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}


@dataclass
class DnnConfig:
    """Sizes of the network; the input and output dimensions come from the data and ``final.mdl``.

    Attributes:
        hidden_layers: number of hidden layers.
        hidden_dim: units of each.
        activation: sigmoid, relu or tanh.
        dropout: probability of zeroing a hidden unit in training.
        batch_norm: normalise each hidden layer over the mini-batch before the activation.
    """

    hidden_layers: Annotated[int, ranges.LAYERS] = 4
    hidden_dim: Annotated[int, ranges.UNITS] = 512
    activation: Literal["sigmoid", "relu", "tanh"] = "sigmoid"
    dropout: Annotated[float, ranges.NOT_ALL] = 0.0
    batch_norm: bool = False


class Dnn(FrameNetwork):
    """Linear transform (LDA, optional), global normalisation, hidden layers, logits.

    Args:
        config: the sizes.
        input_dim: dimension of the spliced features.
        num_pdfs: P, the number of outputs.
        lda: a given transform, shape ``(D, input_dim)`` or ``(D, input_dim + 1)``, the last column an offset.

    Raises:
        DktError: the transform is of another input dimension.
    """

    Config = DnnConfig
    sizes = "network.hidden_dim or network.hidden_layers"
    least_frames = 2  # batch normalisation has no variance on a single frame

    def __init__(
        self, config: DnnConfig, input_dim: int, num_pdfs: int, lda: torch.Tensor | np.ndarray | None = None
    ) -> None:
        super().__init__(config, input_dim, num_pdfs)
        dim = input_dim
        self.lda: nn.Module = nn.Identity()
        if lda is not None:
            self.lda = _fixed_linear(torch.as_tensor(lda, dtype=torch.float32), input_dim)
            dim = len(self.lda.weight)
        self._normalise(dim)
        layers: list[nn.Module] = []
        for _ in range(config.hidden_layers):
            layers.extend(_hidden_layer(config, dim))
            dim = config.hidden_dim
        self.hidden = nn.Sequential(*layers)
        self.output = Linear(dim, num_pdfs)
        self._initialise()

    def _initialise(self) -> None:
        gain = {"sigmoid": 4.0, "relu": nn.init.calculate_gain("relu"), "tanh": 1.0}[self.config.activation]
        for module in self.hidden:
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, gain)
                nn.init.zeros_(module.bias)
        # Small output weights: training begins from nearly equal posteriors.
        nn.init.normal_(self.output.weight, std=0.01)
        nn.init.zeros_(self.output.bias)

    @classmethod
    def build(
        cls,
        config: DnnConfig,
        input_dim: int,
        num_pdfs: int,
        state: Mapping[str, torch.Tensor] | None = None,
    ) -> Self:
        """As ``Network.build``; ``lda.weight`` of the state is the transform."""
        return cls(config, input_dim, num_pdfs, None if state is None else state.get("lda.weight"))

    def fit_normalisation(self, batches: Iterable[torch.Tensor]) -> None:
        """As ``Network.fit_normalisation``, after the linear transform."""
        super().fit_normalisation(self.lda(spliced) for spliced in batches)

    @property
    def transform(self) -> np.ndarray | None:
        """As ``Network.transform``: the LDA, the last column an offset."""
        if not isinstance(self.lda, nn.Linear):
            return None
        return torch.cat([self.lda.weight, self.lda.bias[:, None]], dim=1).detach().cpu().numpy()

    def hidden_layers(self) -> list[nn.Module]:
        """As ``Network.hidden_layers``: the activations."""
        activation = _ACTIVATIONS[self.config.activation]
        return [module for module in self.hidden if isinstance(module, activation)]

    def forward(self, spliced: torch.Tensor) -> torch.Tensor:
        """Logits of shape ``(B, P)`` of spliced features of shape ``(B, input_dim)``."""
        normalised = (self.lda(spliced) + self.shift) * self.scale
        return self.output(self.hidden(normalised))


def _fixed_linear(matrix: torch.Tensor, input_dim: int) -> nn.Linear:
    if matrix.ndim != 2 or matrix.shape[1] not in (input_dim, input_dim + 1):
        raise DktError(
            f"the transform has shape {tuple(matrix.shape)}, the spliced features have dimension {input_dim}",
            hint="give the matrix that was estimated for this splicing",
        )
    layer = nn.Linear(input_dim, matrix.shape[0])
    with torch.no_grad():
        layer.weight.copy_(matrix[:, :input_dim])
        layer.bias.copy_(matrix[:, input_dim] if matrix.shape[1] > input_dim else torch.zeros(len(matrix)))
    return layer.requires_grad_(False)


def _hidden_layer(config: DnnConfig, input_dim: int) -> list[nn.Module]:
    layers: list[nn.Module] = [Linear(input_dim, config.hidden_dim)]
    if config.batch_norm:
        layers.append(nn.BatchNorm1d(config.hidden_dim))
    layers.append(_ACTIVATIONS[config.activation]())
    if config.dropout > 0.0:
        layers.append(nn.Dropout(config.dropout))
    return layers
