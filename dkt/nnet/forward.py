"""From features to posteriors, log-likelihoods or logits, utterance by utterance."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.base.memory import memory_for
from dkt.base.tally import Tally
from dkt.nnet import threads
from dkt.nnet.nnet1.network import Nnet1
from dkt.nnet.scorer import Forwarder, OutputOptions
from dkt.util.specifiers import parse_rspecifier
from dkt.util.table import MatrixWriter

logger = logging.getLogger(__name__)


def forward(
    scorer: Forwarder,
    features: Iterable[tuple[str, np.ndarray]],
    options: OutputOptions,
    writer: MatrixWriter,
    source: str,
    tally: Tally,
    transform: Nnet1 | None = None,
) -> None:
    """Write the network's output for every utterance, each flushed when it is done.

    Args:
        scorer: the network.
        features: utterances and features ``(T, F)``.
        options: the priors, and how they count.
        writer: an open writer.
        source: where the features come from, for errors.
        tally: where utterances are counted.
        transform: applied to the features first (``--feature-transform`` of ``nnet-forward``).

    Raises:
        DktError: features of another dimension or without frames, a value in features or output that is not
            a number, or too many utterances lost; what was done is written.
    """
    options.check(scorer.output_dim)
    if transform is not None:
        _check_transform(transform, scorer)
    num_frames, begin = 0, time.monotonic()

    def of_utterance(item: tuple[str, np.ndarray]) -> tuple[str, np.ndarray]:
        utt, frames = item
        try:
            with memory_for("this utterance", "cut it into shorter ones by segments"):
                return utt, network_output(scorer, frames, options, transform)
        except DktError as error:
            raise DktError(str(error), path=source, utt=utt) from None

    # Whoever feeds a pipe may wait for an answer before the next utterance.
    in_order = threads.map_in_order if _is_at_hand(source) else map
    for utt, output in in_order(of_utterance, features):
        writer.write(utt, output)
        tally.done()
        num_frames += len(output)
    tally.finish(source)
    seconds = max(time.monotonic() - begin, 1e-6)
    logger.info("Done %d files in %.3gmin, (fps %.4g)", tally.num_done, seconds / 60, num_frames / seconds)


def _is_at_hand(source: str) -> bool:
    """Whether features come from a data directory or a file, rather than from a program."""
    if Path(source).is_dir():
        return True
    try:
        return Path(parse_rspecifier(source).filename).is_file()
    except DktError:
        return False


def _check_transform(transform: Nnet1, scorer: Forwarder) -> None:
    if transform.output_dim not in (None, scorer.input_dim):
        raise DktError(
            f"gives features of dimension {transform.output_dim}, the network takes {scorer.input_dim}",
            path=transform.path,
            hint="give the final.feature_transform of this network",
        )


def network_output(
    scorer: Forwarder, frames: np.ndarray, options: OutputOptions, transform: Nnet1 | None = None
) -> np.ndarray:
    """What is written of one utterance: float32 of shape ``(T, P)``.

    Args:
        scorer, options, transform: as of ``forward``.
        frames: the features, shape ``(T, F)``.

    Raises:
        DktError: features of another dimension or without frames, or a value that is not a number.
    """
    expected = transform.input_dim if transform is not None and transform.input_dim else scorer.input_dim
    if frames.ndim != 2 or len(frames) == 0 or frames.shape[1] != expected:
        if frames.size == 0:
            raise DktError("the features have no frames", hint="leave the utterance out")
        raise DktError(
            f"features of shape {frames.shape}, the model was trained on dimension {expected}",
            hint="make the features with the configuration that the model was trained with",
        )
    _check_finite(frames, "the features hold a value that is not a number")
    if transform is not None:
        frames = transform(frames).cpu().numpy()
        _check_finite(frames, f"a feature after {transform.path} is not a number")
    output = scorer(frames).cpu().numpy()
    if options.log_priors is not None:
        output = output - np.float32(options.prior_scale) * options.log_priors
    _check_finite(output, "the output of the network is not a number")
    return output


def _check_finite(values: np.ndarray, message: str) -> None:
    if not np.isfinite(values).all():
        raise DktError(message, hint="look at the features")
