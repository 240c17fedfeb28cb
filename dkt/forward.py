"""From features to posteriors, log-likelihoods or logits, utterance by utterance."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from dkt.dataset import gather_context
from dkt.errors import DktError
from dkt.features import splice_indices
from dkt.nnet.lstm import Lstm, delayed
from dkt.nnet.modelfile import ModelInfo, Network
from dkt.tables import MatrixWriter
from dkt.tally import Tally

logger = logging.getLogger(__name__)


@dataclass
class OutputOptions:
    """What is written, in the terms of Kaldi's ``nnet-forward``.

    Attributes:
        no_softmax: logits rather than posteriors.
        apply_log: the logarithm of the posteriors.
        log_priors: float32 of shape ``(P,)``, subtracted from log-posteriors or logits; None for none.
        prior_scale: what they are multiplied by first.
    """

    no_softmax: bool = False
    apply_log: bool = False
    log_priors: np.ndarray | None = None
    prior_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.no_softmax and self.apply_log:
            raise DktError("--apply-log and --no-softmax exclude each other: logits have no logarithm")
        if self.log_priors is not None and not (self.no_softmax or self.apply_log):
            raise DktError(
                "priors are subtracted from logs", hint="add --no-softmax=true or --apply-log=true"
            )

    def check(self, num_pdfs: int) -> None:
        """Raise DktError unless the priors are of ``num_pdfs`` pdfs."""
        if self.log_priors is not None and len(self.log_priors) != num_pdfs:
            raise DktError(
                f"{len(self.log_priors)} priors for a model of {num_pdfs} pdfs",
                hint="give the ali_train_pdf.counts of this model",
            )


@torch.inference_mode()
def logits_of(network: Network, info: ModelInfo, features: np.ndarray, device: torch.device) -> torch.Tensor:
    """Logits of one utterance: features ``(T, F)`` to ``(T, P)``, one row a frame."""
    frames = torch.from_numpy(np.ascontiguousarray(features)).to(device)
    if isinstance(network, Lstm):
        outputs, _ = network(delayed(frames, network.config.target_delay)[:, None])
        return outputs[:, 0]
    index = torch.from_numpy(splice_indices(len(features), info.left_context, info.right_context)).to(device)
    return network(gather_context(frames, index, torch.arange(len(frames), device=device), info.ivector_dim))


def convert(logits: torch.Tensor, options: OutputOptions) -> np.ndarray:
    """Logits ``(T, P)`` to what the options ask for, float32 of the same shape."""
    if options.no_softmax:
        result = logits
    elif options.apply_log:
        result = torch.log_softmax(logits, dim=1)
    else:
        result = torch.softmax(logits, dim=1)
    output = result.cpu().numpy()
    if options.log_priors is not None:
        output = output - np.float32(options.prior_scale) * options.log_priors
    return output


def forward(
    network: Network,
    info: ModelInfo,
    features: Iterable[tuple[str, np.ndarray]],
    options: OutputOptions,
    writer: MatrixWriter,
    device: torch.device,
    source: str,
    tally: Tally,
) -> None:
    """Write the network's output for every utterance, each flushed when it is done.

    Args:
        network: in evaluation mode.
        info: of the model.
        features: utterances and features ``(T, F)``, after CMVN and deltas.
        options: what is written.
        writer: an open writer.
        device: where the network is.
        source: where the features come from, for errors.
        tally: where utterances are counted.

    Raises:
        DktError: features of another dimension, an output that is not a number, or too many utterances
            lost; what was done is written.
    """
    options.check(info.num_pdfs)
    num_frames = 0
    for utt, frames in features:
        if frames.ndim != 2 or frames.shape[1] != info.feature_dim:
            raise DktError(
                f"features of shape {frames.shape}, the model was trained on dimension {info.feature_dim}",
                path=source,
                utt=utt,
                hint="make the features with the configuration that the model was trained with",
            )
        output = convert(logits_of(network, info, frames, device), options)
        if not np.isfinite(output).all():
            raise DktError(
                "the output of the network is not a number", path=source, utt=utt, hint="look at its features"
            )
        writer.write(utt, output)
        tally.done()
        num_frames += len(frames)
    tally.finish(source)
    logger.info("Done %d files, %d frames", tally.num_done, num_frames)
