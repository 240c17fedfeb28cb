"""What every network is to those who build, train and run it.

There are two families: a *frame network* sees one spliced frame at a time, a *sequence network* the frames of
an utterance in their order. T frames, N sequences side by side, F features, B labelled frames, P pdfs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from dkt.base.errors import DktError
from dkt.nnet.normalisation import shift_and_scale
from dkt.nnet.products import Linear
from dkt.nnet.splice import splice_utterance

#: Of each layer: tensors whose first axis is that of the sequences.
State = list[tuple[torch.Tensor, ...]]
#: Logits ``(B, P)`` of the inputs of batch after batch.
Runner = Callable[[Any], torch.Tensor]


class Network(nn.Module):
    """A network that gives logits over pdfs, and the global normalisation of its input.

    Args:
        config: its sizes, a ``Config``.
        input_dim: of what it takes for one frame, splicing and i-vectors included.
        num_pdfs: P.

    Attributes:
        Config: a dataclass, the section ``network`` of a configuration.
        sizes: the keys that make it smaller, for those who have no memory for it.
        least_frames: frames that a batch of a training needs.
    """

    Config: ClassVar[type]
    sizes: ClassVar[str]
    least_frames: ClassVar[int] = 1

    def __init__(self, config: Any, input_dim: int, num_pdfs: int) -> None:
        super().__init__()
        self.shift: torch.Tensor
        self.scale: torch.Tensor
        self.config = config
        self.input_dim = input_dim
        self.num_pdfs = num_pdfs

    @classmethod
    def build(
        cls, config: Any, input_dim: int, num_pdfs: int, state: Mapping[str, torch.Tensor] | None = None
    ) -> Self:
        """A network with fresh weights; ``state`` holds tensors that decide its shape, where there are."""
        return cls(config, input_dim, num_pdfs)

    def _normalise(self, dim: int) -> None:
        """Make the buffers of the normalisation of ``dim`` values."""
        self.register_buffer("shift", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def _output(self, dim: int) -> nn.Linear:
        """The last layer, with small weights: training begins from nearly equal posteriors."""
        output = Linear(dim, self.num_pdfs)
        nn.init.normal_(output.weight, std=0.01)
        nn.init.zeros_(output.bias)
        return output

    @torch.no_grad()
    def fit_normalisation(self, batches: Iterable[torch.Tensor]) -> None:
        """Set shift and scale so that the input has zero mean and unit variance over ``batches``.

        Args:
            batches: what the network takes, each of shape ``(..., input_dim)``, without padding.
        """
        shift, scale = shift_and_scale(batches)
        self.shift.copy_(shift)
        self.scale.copy_(scale)

    @property
    def transform(self) -> np.ndarray | None:
        """A fixed linear transform before everything else, shape ``(D, input_dim + 1)``; None for none."""
        return None

    def hidden_layers(self) -> list[nn.Module]:
        """The modules that give the output of each hidden layer, the first layer first.

        Raises:
            DktError: the network does not tell them.
        """
        raise DktError(
            f"{type(self).__name__} does not tell its hidden layers, which a hint needs",
            hint="give it the method hidden_layers",
        )

    def runner(self, num_states: int) -> Runner:
        """What gives the logits of the batches of an epoch.

        Args:
            num_states: sequences whose state is carried from batch to batch; 0 for none.
        """
        raise NotImplementedError

    def labelled(self, outputs: torch.Tensor, inputs: Any) -> torch.Tensor:
        """Of a layer's outputs those of the frames that have labels, one a row: shape ``(B, D)``."""
        raise NotImplementedError

    def of_utterance(self, frames: torch.Tensor, left: int, right: int, ivector_dim: int) -> torch.Tensor:
        """Logits ``(T, P)`` of the features ``(T, F)`` of one whole utterance.

        Args:
            frames: the features.
            left, right: frames of context that are spliced.
            ivector_dim: the last features, which are not spliced.
        """
        raise NotImplementedError


class FrameNetwork(Network):
    """A network on spliced frames: ``forward`` gives logits ``(B, P)`` of inputs ``(B, input_dim)``."""

    def runner(self, num_states: int) -> Runner:
        """As ``Network.runner``; nothing is carried from frame to frame."""
        return self

    def labelled(self, outputs: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """As ``Network.labelled``."""
        return outputs

    def of_utterance(self, frames: torch.Tensor, left: int, right: int, ivector_dim: int) -> torch.Tensor:
        """As ``Network.of_utterance``."""
        logits: torch.Tensor = self(splice_utterance(frames, left, right, ivector_dim))
        return logits


@dataclass
class Sequences:
    """N pieces of utterances side by side, as a sequence network takes them.

    Attributes:
        features: shape ``(T, N, F)``, the target delay applied.
        mask: bool, shape ``(T, N)``: True where a frame has a label; False on padding and on context.
        lengths: int64, shape ``(N,)``: frames of each piece, its context included; padding follows.
        reset: bool, shape ``(N,)``: True where the piece begins an utterance, for its state to be zeroed.
        streams: int64, shape ``(N,)``: the stream of each piece, by which its carried state is found.
    """

    features: torch.Tensor
    mask: torch.Tensor
    lengths: torch.Tensor
    reset: torch.Tensor
    streams: torch.Tensor


class SequenceNetwork(Network):
    """A network on sequences.

    ``forward(features, state, lengths)`` gives logits ``(T, N, P)`` of features ``(T, N, F)``, and the state
    after the last frame, from which those that go on begin; None stands for the state at the beginning of an
    utterance, and for sequences that are all T frames long. The target delay is not inside: batches apply it
    to the features (``delayed``).

    Attributes:
        batch_kinds: how its batches may be made, see ``dkt.train.recipes.BatchConfig``; the first is the
            default.
        no_streams: why a state cannot be carried from batch to batch; empty if it can.
    """

    batch_kinds: ClassVar[tuple[str, ...]] = ("streams", "utterances", "chunks")
    no_streams: ClassVar[str] = ""

    @property
    def target_delay(self) -> int:
        """Frames that the network sees beyond the frame that it labels."""
        return int(getattr(self.config, "target_delay", 0))

    def zero_state(self, num_streams: int) -> State:
        """The state of N streams that begin an utterance.

        Raises:
            DktError: there is none, see ``no_streams``.
        """
        self.check_streams()
        raise NotImplementedError

    def check_streams(self) -> None:
        """Raise DktError if the network cannot go on from a state, see ``no_streams``."""
        if self.no_streams:
            raise DktError(f"no state can be carried on: {self.no_streams}")

    def runner(self, num_states: int) -> Runner:
        """As ``Network.runner``; the state of each stream is carried from batch to batch, and detached."""
        carried = self.zero_state(num_states) if num_states else None

        def run(inputs: Sequences) -> torch.Tensor:
            if carried is None:
                logits, _ = self(inputs.features, None, inputs.lengths)
            else:
                begun = reset_state(select_state(carried, inputs.streams), inputs.reset)
                logits, ended = self(inputs.features, begun)
                store_state(carried, inputs.streams, ended)
            return self.labelled(logits, inputs)

        return run

    def labelled(self, outputs: torch.Tensor, inputs: Sequences) -> torch.Tensor:
        """As ``Network.labelled``."""
        return outputs[inputs.mask]

    def of_utterance(self, frames: torch.Tensor, left: int, right: int, ivector_dim: int) -> torch.Tensor:
        """As ``Network.of_utterance``; nothing is spliced."""
        logits, _ = self(delayed(frames, self.target_delay)[:, None])
        outputs: torch.Tensor = logits[:, 0]
        return outputs


def delayed(features: torch.Tensor, target_delay: int) -> torch.Tensor:
    """The input of one whole utterance: row t is x(min(t + d, T - 1)), as Kaldi's nnet1 ``<Splice> [ d ]``.

    Args:
        features: shape ``(T, ...)``.
        target_delay: d, in frames.
    """
    rows = torch.arange(len(features), device=features.device) + target_delay
    return features[rows.clamp_max(len(features) - 1)]


def reset_state(state: State, mask: torch.Tensor) -> State:
    """The state with zeros for the streams of ``mask``, shape ``(N,)``, that begin an utterance."""
    begins = mask[:, None]
    return [tuple(values.masked_fill(begins, 0.0) for values in layer) for layer in state]


def select_state(state: State, streams: torch.Tensor) -> State:
    """The state of some streams only, in the order of the indices ``streams``."""
    return [tuple(values[streams] for values in layer) for layer in state]


@torch.no_grad()
def store_state(state: State, streams: torch.Tensor, new: State) -> None:
    """Overwrite the state of the streams of the indices ``streams`` with ``new``, detached."""
    for layer, of_layer in zip(state, new, strict=True):
        for values, new_values in zip(layer, of_layer, strict=True):
            values[streams] = new_values.to(values.dtype)
