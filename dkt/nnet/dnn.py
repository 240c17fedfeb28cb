"""The feed-forward network on spliced frames: the teacher."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from torch import nn

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.nnet.normalisation import shift_and_scale
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


class Dnn(nn.Module):
    """Linear transform (LDA, optional), global normalisation, hidden layers, logits.

    Args:
        config: the sizes.
        input_dim: dimension of the spliced features.
        num_pdfs: P, the number of outputs.
        lda: a given transform, shape ``(D, input_dim)`` or ``(D, input_dim + 1)``, the last column an offset.

    Raises:
        DktError: the transform is of another input dimension.
    """

    def __init__(
        self, config: DnnConfig, input_dim: int, num_pdfs: int, lda: torch.Tensor | np.ndarray | None = None
    ) -> None:
        super().__init__()
        self.shift: torch.Tensor
        self.scale: torch.Tensor
        self.config = config
        self.input_dim = input_dim
        self.num_pdfs = num_pdfs
        dim = input_dim
        self.lda: nn.Module = nn.Identity()
        if lda is not None:
            self.lda = _fixed_linear(torch.as_tensor(lda, dtype=torch.float32), input_dim)
            dim = len(self.lda.weight)
        self.register_buffer("shift", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
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

    @torch.no_grad()
    def fit_normalisation(self, batches: Iterable[torch.Tensor]) -> None:
        """Set shift and scale so that the input has zero mean and unit variance over ``batches``.

        Args:
            batches: spliced features, each of shape ``(B, input_dim)``.
        """
        shift, scale = shift_and_scale(self.lda(spliced) for spliced in batches)
        self.shift.copy_(shift)
        self.scale.copy_(scale)

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
