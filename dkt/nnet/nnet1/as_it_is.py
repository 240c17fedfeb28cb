"""A network of nnet1 as it is, feature transform and all: it runs, trains, and goes back unchanged.

For networks that none of dkt's own kinds can express, as those of Kaldi's ``make_lstm_proto.py`` with a
``<Tanh>`` after their LSTM layers. T frames, N sequences, F features, P pdfs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import torch
from torch import nn

from dkt.base.errors import DktError
from dkt.nnet.network import SequenceNetwork, State
from dkt.nnet.nnet1 import components as nnet1
from dkt.nnet.nnet1.components import read_prototype
from dkt.nnet.nnet1.modules import Step, step_of
from dkt.nnet.nnet1.writer import write_prototype

_HINT = "dkt import makes such a network from Kaldi's files, and training goes on from that (--init-model)"
_HIDDEN = (
    "<Sigmoid>",
    "<Tanh>",
    "<ParametricRelu>",
    "<HiddenSoftmax>",
    "<LstmProjected>",
    "<BlstmProjected>",
)


@dataclass
class Nnet1Config:
    """What the network is made of: its prototype, as an import told it.

    Attributes:
        transform: the components of the feature transform, a text for each, without parameters.
        components: those of the network, the last a softmax.
    """

    transform: list[str] = field(default_factory=list)
    components: list[str] = field(default_factory=list)


class Nnet1AsItIs(SequenceNetwork):
    """The components of nnet1 in their order, on whole utterances.

    Parameters whose rate of learning is zero in Kaldi stay as they are, all others learn at one rate.

    Args:
        config: the prototype.
        input_dim: F.
        num_pdfs: P, the number of outputs.

    Raises:
        DktError: the prototype is empty, or not of these dimensions.
    """

    Config = Nnet1Config
    sizes = "network.components"
    batch_kinds = ("utterances", "chunks")
    no_streams = "a network of nnet1 that stays what it is runs on whole utterances"

    def __init__(self, config: Nnet1Config, input_dim: int, num_pdfs: int) -> None:
        super().__init__(config, input_dim, num_pdfs)
        self._build(read_prototype(config.transform), read_prototype(config.components))

    def _build(self, transform: Sequence[nnet1.Component], network: Sequence[nnet1.Component]) -> None:
        whole = [*transform, *network]
        if len(network) < 2 or network[-1].marker != "<Softmax>":
            raise DktError("a network of nnet1 is told by its components, the last a <Softmax>", hint=_HINT)
        dims = [(self.input_dim, whole[0].input_dim), (whole[-1].output_dim, self.num_pdfs)]
        dims += [(before.output_dim, after.input_dim) for before, after in pairwise(whole)]
        for given, taken in dims:
            if given != taken:
                raise DktError(f"the components of the network do not go together: {given} to {taken} values")
        self._softmax = network[-1]
        self.transform_steps = nn.ModuleList(map(step_of, transform))
        self.steps = nn.ModuleList(map(step_of, network[:-1]))

    @classmethod
    def of(cls, transform: Sequence[nnet1.Component], network: Sequence[nnet1.Component]) -> Self:
        """A network with the parameters of components that were read."""
        config = Nnet1Config(write_prototype(transform), write_prototype(network))
        made = cls(config, (transform or network)[0].input_dim, network[-1].output_dim)
        made._build(transform, network)
        return made

    def components(self) -> tuple[list[nnet1.Component], list[nnet1.Component]]:
        """The feature transform and the network with the parameters of now."""
        parts = self.transform_steps, self.steps
        first, second = ([step.component() for step in _steps(part)] for part in parts)
        return first, [*second, self._softmax]

    def fit_normalisation(self, batches: Iterable[torch.Tensor]) -> None:
        """Refuse: the normalisation is in the feature transform.

        Raises:
            DktError: always; a training from fresh weights is the only one to ask for it.
        """
        raise DktError("a training cannot begin a network of nnet1 from fresh weights", hint=_HINT)

    def hidden_layers(self) -> list[nn.Module]:
        """As ``Network.hidden_layers``: activations and LSTM layers."""
        return [step for step in _steps(self.steps) if step.head.marker in _HIDDEN]

    def forward(
        self, features: torch.Tensor, state: State | None = None, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        """As ``SequenceNetwork``, without any state.

        Args:
            features: shape ``(T, N, F)``.
            state: None.
            lengths: frames of each sequence, shape ``(N,)``; None for T.

        Raises:
            DktError: a state is given.
        """
        if state is not None:
            self.check_streams()
        num_frames, num_sequences, _ = features.shape
        last = torch.full((num_sequences,), num_frames - 1, device=features.device)
        values = features
        for step in (*self.transform_steps, *self.steps):
            values = step(values, last if lengths is None else lengths - 1)
        return values, []


def _steps(modules: nn.ModuleList) -> list[Step]:
    return [module for module in modules if isinstance(module, Step)]
