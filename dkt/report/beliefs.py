"""What networks believe: how often they are right where they are sure, how spread their posteriors are.

T frames, P pdfs, H phones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dkt.hmm.transition_model import TransitionModel
from dkt.report.systems import Experiment

#: Bins of confidence, as in Guo et al., On Calibration of Modern Neural Networks (ICML 2017).
NUM_BINS = 15
#: Edges of the bins of entropy, in nats; what is above the last counts in the last bin.
ENTROPY_EDGES = np.linspace(0.0, 5.0, 26)
_POSITION = re.compile(r"_[BEIS]$")


@dataclass(frozen=True)
class Calibration:
    """Posteriors of one network against the labels of an alignment, sums over frames.

    Attributes:
        num_frames: frames looked at.
        accuracy: how many percent of them have the label as best class.
        cross_entropy: mean of -log p(label), nats.
        entropy: mean entropy of the posteriors, nats.
        ece: expected calibration error, in percent: the mean distance of confidence and accuracy over bins.
        bins: of each bin of confidence the frames, their mean confidence and their accuracy, shape
            ``(NUM_BINS, 3)``; NaN for the last two where no frame is.
        entropies: frames in each bin of ``ENTROPY_EDGES``.
    """

    num_frames: int
    accuracy: float
    cross_entropy: float
    entropy: float
    ece: float
    bins: np.ndarray
    entropies: np.ndarray


@dataclass(frozen=True)
class Posteriorgram:
    """Posteriors of one utterance, those of the pdfs of a phone added up.

    Attributes:
        utt: the utterance.
        phones: names, H.
        post: system to posteriors, shape ``(T, H)``.
        labels: the phone of each frame in the alignment, an index, shape ``(T,)``.
        frame_shift: seconds.
    """

    utt: str
    phones: Sequence[str]
    post: Mapping[str, np.ndarray]
    labels: np.ndarray
    frame_shift: float


@dataclass(frozen=True)
class Beliefs:
    """What was found of the systems on a sample of dev data.

    Attributes:
        data, ali: where the features and labels are from.
        num_utts: the size of the sample.
        calibration: by the names of systems.
        posteriorgram: None where no utterance can be shown.
        runs: of each system the run that was looked at.
    """

    data: Path
    ali: Path
    num_utts: int
    calibration: Mapping[str, Calibration]
    posteriorgram: Posteriorgram | None
    runs: Mapping[str, Experiment]


def calibrate(frames: Iterable[tuple[np.ndarray, np.ndarray]]) -> Calibration:
    """Compare posteriors with labels.

    Args:
        frames: of each utterance log-posteriors ``(T, P)`` (natural) and pdf-ids ``(T,)``.
    """
    counts, sure, right = np.zeros(NUM_BINS), np.zeros(NUM_BINS), np.zeros(NUM_BINS)
    entropies = np.zeros(len(ENTROPY_EDGES) - 1)
    cross_entropy = entropy = 0.0
    for log_post, labels in frames:
        post = np.exp(log_post.astype(np.float64))
        best = post.argmax(axis=1)
        confidence = post[np.arange(len(post)), best]
        places = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
        for sums, values in ((counts, None), (sure, confidence), (right, (best == labels).astype(float))):
            sums += np.bincount(places, values, minlength=NUM_BINS)
        # A posterior of 0 adds nothing.
        of_frames = -(post * np.where(post > 0.0, log_post, 0.0)).sum(axis=1)
        entropy += float(of_frames.sum())
        entropies += np.histogram(np.clip(of_frames, 0.0, ENTROPY_EDGES[-1]), ENTROPY_EDGES)[0]
        cross_entropy -= float(log_post[np.arange(len(post)), labels].sum())
    total = counts.sum()
    with np.errstate(invalid="ignore"):
        bins = np.stack([counts, sure / counts, right / counts], axis=1)
    return Calibration(
        int(total),
        100.0 * float(right.sum() / total),
        cross_entropy / float(total),
        entropy / float(total),
        100.0 * float(np.abs(sure - right).sum() / total),
        bins,
        entropies,
    )


@dataclass(frozen=True)
class PhoneMap:
    """Phones without their position in the word, and what of the pdfs is theirs.

    Attributes:
        names: H names.
        places: phone to its index among them.
        shares: of each pdf, shape ``(P, H)``; a pdf of several phones is parted evenly.
    """

    names: Sequence[str]
    places: Mapping[int, int]
    shares: np.ndarray

    @classmethod
    def of(cls, transitions: TransitionModel, symbols: Mapping[int, str]) -> PhoneMap:
        """The map of a model.

        Args:
            transitions: the model.
            symbols: names by the numbers of ``phones.txt``; a phone without one is called by its number.
        """
        phones = np.unique(transitions.id2phone[1:]).tolist()
        folded = {phone: _POSITION.sub("", symbols.get(phone, str(phone))) for phone in phones}
        names = list(dict.fromkeys(folded.values()))
        places = {phone: names.index(name) for phone, name in folded.items()}
        shares = np.zeros((transitions.num_pdfs, len(names)))
        of_arcs = [places[phone] for phone in transitions.id2phone[1:].tolist()]
        shares[transitions.id2pdf[1:], of_arcs] = 1.0
        return cls(names, places, shares / np.maximum(shares.sum(axis=1, keepdims=True), 1.0))
