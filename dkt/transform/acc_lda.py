"""LDA statistics of tables of features and of alignments or posteriors (Kaldi's ``acc-lda``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dkt.base.errors import DktError
from dkt.base.tally import Tally
from dkt.hmm.posterior import Posterior, posterior_to_pdfs, read_posterior
from dkt.hmm.transition_model import TransitionModel
from dkt.matrix.matrix_io import read_int_vector
from dkt.transform.lda import LdaAccumulator
from dkt.util.table import RandomAccessTable, read_matrices


class LabelTable(RandomAccessTable[Posterior]):
    """Transition-ids of the frames of utterances, as Posteriors.

    Args:
        rspecifier: of Posteriors.
        alignments: it is of alignments instead, which count as posteriors of one.
    """

    def __init__(self, rspecifier: str, alignments: bool = False) -> None:
        super().__init__(read_int_vector if alignments else read_posterior, rspecifier)

    def convert(self, key: str, value: Any) -> Posterior:
        """The Posterior; of an alignment, that of one entry per frame (``ali-to-post``)."""
        if isinstance(value, Posterior):
            return value
        return Posterior(np.ones(len(value), dtype=np.int64), value, np.ones(len(value), dtype=np.float32))


@dataclass(frozen=True)
class PosteriorWeighting:
    """How posteriors become weights of frames.

    Attributes:
        silence_phones: the phones of silence.
        silence_weight: multiplies their posteriors (``weight-silence-post``).
        rand_prune: a weight w below it becomes ``rand_prune`` with the probability w / rand_prune, else 0
            (``RandPrune`` in Kaldi's ``base/kaldi-math.h``); 0 for none. The sums are the same on average,
            and fewer frames have to be added.
        seed: of these draws.
    """

    silence_phones: tuple[int, ...] = ()
    silence_weight: float = 0.0
    rand_prune: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("silence-weight", self.silence_weight), ("rand-prune", self.rand_prune)):
            if not (np.isfinite(value) and value >= 0.0):
                raise DktError(f"--{name} is {value}, expected 0 or more")


def accumulate_tables(
    transitions: TransitionModel,
    features: str,
    labels: LabelTable,
    options: PosteriorWeighting,
    tally: Tally,
) -> LdaAccumulator:
    """Statistics of all utterances that have features and labels of one length.

    Args:
        transitions: the model of the labels.
        features: an rspecifier of features ``(T, F)``, spliced if splicing is wanted.
        labels: of each utterance.
        options: see there.
        tally: where the others are counted as dropped; it is finished here.

    Raises:
        DktError: bad data, or too many utterances were dropped.
    """
    rng = np.random.default_rng(options.seed)
    is_silence = _silence_ids(transitions, options.silence_phones)
    stats: LdaAccumulator | None = None
    for utt, frames in read_matrices(features):
        if utt not in labels:
            tally.drop(utt, f"is not in {labels.path}")
            continue
        posterior = labels[utt]
        if len(frames) == 0 or len(posterior) != len(frames):
            tally.drop(utt, f"no frames, or another number of them in {labels.path}")
            continue
        transitions.check_ids(posterior.ids, labels.path, utt)
        scales = np.where(is_silence[posterior.ids], np.float32(options.silence_weight), np.float32(1.0))
        weighted = Posterior(posterior.lengths, posterior.ids, posterior.weights * scales)
        pdfs = posterior_to_pdfs(weighted, transitions, labels.path, utt)
        stats = stats or LdaAccumulator(transitions.num_pdfs, frames.shape[-1])
        try:
            _add_posterior(stats, frames, pdfs, options.rand_prune, rng)
        except DktError as error:
            raise DktError(str(error), path=features, utt=utt) from None
        tally.done()
    tally.finish(features)
    assert stats is not None
    return stats


def _silence_ids(transitions: TransitionModel, phones: Iterable[int]) -> np.ndarray:
    """Whether a transition-id is of silence: shape ``(num_transition_ids + 1,)``."""
    unknown = sorted(set(phones) - set(transitions.topology.phones))
    if unknown:
        raise DktError(f"phone {unknown[0]} of the silence phones is not of this model")
    return np.isin(transitions.id2phone, list(phones))


def _add_posterior(
    stats: LdaAccumulator,
    frames: np.ndarray,
    pdfs: Posterior,
    rand_prune: float,
    rng: np.random.Generator,
) -> None:
    weights = pdfs.weights.astype(np.float64)
    if rand_prune > 0.0:
        kept = rng.random(len(weights)) * rand_prune <= weights
        weights = np.where(weights >= rand_prune, weights, np.where(kept, rand_prune, 0.0))
    used = weights != 0.0
    stats.accumulate(frames[pdfs.frame_of_entry[used]], pdfs.ids[used], weights[used])
