"""Training of a recurrent network on sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from dkt.base import ranges
from dkt.base.memory import memory_for
from dkt.base.progress import Progress
from dkt.dataset.prefetch import Prefetcher
from dkt.dataset.sequences import SequenceBatch, Streams, WholeUtterances
from dkt.dataset.utterances import Utterances
from dkt.nnet import threads
from dkt.nnet.lstm import Lstm, State, reset_state, select_state, store_state
from dkt.train.criterion import Criterion, Loss
from dkt.train.metrics import Metrics
from dkt.train.optimizer import OptimizerConfig, Updates
from dkt.train.precision import Precision, mixed_precision

_EVALUATED_FRAMES = 8192
_LOWER = "lower batches.num_streams, batches.chunk, batches.frames_per_batch or network.cells"


@dataclass
class BatchConfig:
    """How sequences become batches.

    Attributes:
        kind: streams: chunks of utterances side by side, their state carried on (truncated back-propagation
            through time); utterances: whole utterances of nearly one length.
        num_streams: of streams: rows of a batch.
        chunk: of streams: about how many frames of an utterance are in a batch.
        frames_per_batch: of utterances: the most frames of a batch.
    """

    kind: Literal["streams", "utterances"] = "streams"
    num_streams: Annotated[int, ranges.STREAMS] = 16
    chunk: Annotated[int, ranges.CHUNK] = 20
    frames_per_batch: Annotated[int, ranges.BATCH_FRAMES] = 2000

    @property
    def frames_per_update(self) -> int:
        """About how many frames an update of the weights sees."""
        return self.num_streams * self.chunk if self.kind == "streams" else self.frames_per_batch


class SequenceTraining:
    """A recurrent network, its data and one way to improve it by an epoch.

    Args:
        network: what is trained.
        train: the training utterances.
        held: named utterances that losses and accuracies are measured on, in evaluation mode.
        criterion: what is minimised.
        batches: how training utterances become batches.
        optimizer: how weights are updated.
        device: where to train.
        precision: of the factors of matrix products in training.

    Attributes:
        waited: seconds that trainings and evaluations have waited for batches so far.
    """

    def __init__(
        self,
        network: Lstm,
        train: Utterances,
        held: dict[str, Utterances],
        criterion: Criterion,
        batches: BatchConfig,
        optimizer: OptimizerConfig,
        device: torch.device,
        precision: Precision = "float32",
    ) -> None:
        self.network = network
        self.mixed = mixed_precision(precision, device)
        self.criterion = criterion
        self.updates = Updates(network, optimizer, batches.frames_per_update)
        self.optimizer = self.updates.optimizer
        self.waited = 0.0
        delay = network.config.target_delay
        self.batches: Streams | WholeUtterances
        if batches.kind == "streams":
            self.batches = Streams(train, delay, batches.num_streams, batches.chunk, device)
        else:
            self.batches = WholeUtterances(train, delay, batches.frames_per_batch, device)
        self.held = {
            name: WholeUtterances(utterances, delay, _EVALUATED_FRAMES, device)
            for name, utterances in held.items()
        }

    @memory_for("the batches of the training", _LOWER)
    def train_epoch(self, learn_rate: float, seed: int) -> Metrics:
        """One pass over the shuffled training utterances.

        Args:
            learn_rate: for gradients summed over the frames of a batch, as in nnet1.
            seed: decides the order of utterances and the dropout.

        Raises:
            DktError: the loss is not a number.
        """
        torch.manual_seed(seed)
        self.updates.set_learn_rate(learn_rate)
        self.network.train()
        carried = self._zero_state()
        metrics = Metrics()
        progress = Progress("training", self.batches.num_frames, "frames")
        with Prefetcher(self.batches.shuffled(seed)) as batches, progress:
            for batch in batches:
                with threads.step(len(batch.labels)):
                    self._step(batch, carried, metrics)
                progress.advance(len(batch.labels))
        self.waited += batches.waited
        metrics.check()
        return metrics

    def _zero_state(self) -> State | None:
        """The state that is carried from batch to batch; whole utterances carry none."""
        return self.network.zero_state(self.batches.num_states) if isinstance(self.batches, Streams) else None

    def _step(self, batch: SequenceBatch, carried: State | None, metrics: Metrics) -> None:
        begun = None
        if carried is not None:
            begun = reset_state(select_state(carried, batch.streams), batch.reset)
        with self.mixed():
            outputs, ended = self.network(batch.features, begun)
        outputs = outputs.float()
        if carried is not None:
            store_state(carried, batch.streams, ended)
        loss, logits, labels = self._loss(outputs, batch)
        clipped = self.updates.apply(loss.objective, len(labels))
        metrics.add(loss.reported, logits.detach(), labels)
        metrics.count_update(clipped)

    def _loss(self, outputs: torch.Tensor, batch: SequenceBatch) -> tuple[Loss, torch.Tensor, torch.Tensor]:
        """The loss of a batch, and logits ``(B, P)`` and labels ``(B,)`` of its frames without padding."""
        logits = outputs[batch.mask]
        return self.criterion(logits, batch.labels, batch.targets), logits, batch.labels

    @memory_for("the evaluation", "lower network.cells or network.layers")
    def evaluate(self, name: str) -> Metrics:
        """Loss and frame accuracy on the held utterances ``name``, in evaluation mode."""
        self.network.eval()
        metrics = Metrics()
        with Prefetcher(self.held[name]) as batches:
            for measured in threads.map_in_order(self._measure, batches):
                metrics.add_all(measured)
        self.waited += batches.waited
        return metrics

    @torch.inference_mode()
    def _measure(self, batch: SequenceBatch) -> Metrics:
        outputs, _ = self.network(batch.features)
        loss, logits, labels = self._loss(outputs, batch)
        metrics = Metrics()
        metrics.add(loss.reported, logits, labels)
        return metrics
