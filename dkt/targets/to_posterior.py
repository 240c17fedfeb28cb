"""Soft targets as Kaldi's Posteriors, for Kaldi's own trainers.

Every frame sums to one: nnet1's cross-entropy (``nnet/nnet-loss.cc``, ``Xent::Eval``) takes the sum of a
frame's targets for its weight, and subtracts them from a softmax, which sums to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dkt.base.errors import DktError
from dkt.hmm.posterior import Posterior
from dkt.targets.header import check_temperature, position
from dkt.targets.soft_targets import SoftTargets

#: What becomes of the mass of the pdfs that are not kept.
Tail = Literal["drop", "spread"]


@dataclass(frozen=True)
class PosteriorOptions:
    """What is made of the posteriors at temperature 1.

    Attributes:
        temperature: T; each posterior is raised to 1/T before all are normalised.
        tail: ``drop``: those kept are normalised by themselves. ``spread``: the pdfs that are not kept get
            equal shares of the tail's mass at T, so that every frame has all P of them.
        min_post: smaller posteriors are left out, except the largest of a frame, and the rest normalised.

    Raises:
        DktError: a temperature that is not within ``dkt.base.ranges.TEMPERATURE``.
    """

    temperature: float = 1.0
    tail: Tail = "drop"
    min_post: float = 0.0

    def __post_init__(self) -> None:
        check_temperature(self.temperature)


def to_posterior(targets: SoftTargets, num_pdfs: int, options: PosteriorOptions) -> Posterior:
    """The Posterior of one utterance, pdf-ids in order and every frame with a sum of 1.

    Args:
        targets: of shape ``(T, K)``.
        num_pdfs: P.
        options: what is made of them.

    Raises:
        DktError: a frame without any posterior; or a tail to spread at a temperature where it is not known.
    """
    # Above float32: a sum of thousands is to be 1 after rounding, too.
    logs = targets.log_post.double().numpy() / options.temperature
    best = logs.max(axis=1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(best[:, 0]))
    if len(bad):
        raise DktError(f"frame {bad[0]} has no posterior above 0", hint="make the soft targets again")
    weights, pdfs = np.exp(logs - best), targets.pdfs.numpy()
    if options.tail == "spread" and not targets.dense:
        tail = np.exp(targets.tail(options.temperature).double().numpy() - best[:, 0])
        weights, pdfs = _spread(weights, pdfs, tail, num_pdfs)
    weights /= weights.sum(axis=1, keepdims=True)
    if options.min_post:
        weights *= (weights >= options.min_post) | (weights == weights.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
    lengths = np.full(len(weights), weights.shape[1], dtype=np.int64)
    return Posterior(lengths, pdfs.astype(np.int32).ravel(), weights.ravel()).merged()


def _spread(
    weights: np.ndarray, pdfs: np.ndarray, tail: np.ndarray, num_pdfs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and ids of all pdfs, each ``(T, P)``, the tail's ``(T,)`` shared by those without a weight."""
    spread = np.zeros((len(weights), num_pdfs))
    # A pdf that is there again, with nothing, fills up a frame that has fewer than others.
    np.maximum.at(spread, (np.arange(len(weights))[:, None], pdfs), weights)
    others = np.ones(spread.shape, dtype=bool)
    np.put_along_axis(others, pdfs, False, axis=1)
    spread += others * (tail / np.maximum(others.sum(axis=1), 1))[:, None]
    return spread, np.broadcast_to(np.arange(num_pdfs), spread.shape)


def tail_share(targets: SoftTargets, temperature: float) -> np.ndarray | None:
    """The tail's share of each frame at a temperature, float64 ``(T,)``; None where it is not known there."""
    if targets.dense:
        return np.zeros(len(targets))
    if position(temperature, targets.temperatures) is None:
        return None
    kept = (targets.log_post.double() / temperature).logsumexp(dim=1)
    return (targets.tail(temperature).double() - kept).sigmoid().numpy()
