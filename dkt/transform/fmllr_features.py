"""Features of whole data directories under fMLLR transforms of their speakers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from dkt.base.errors import DktError
from dkt.base.tally import Tally
from dkt.feat.reader import FeatureReader
from dkt.gmm.gmm import AmDiagGmm
from dkt.hmm.transition_model import TransitionModel
from dkt.transform.fmllr import MIN_COUNT, FmllrStats, apply_affine, estimate
from dkt.util.table import MatrixWriter

logger = logging.getLogger(__name__)

_LEFT_OUT = -1


@dataclass(frozen=True)
class FmllrModel:
    """What transforms are estimated with.

    Attributes:
        gmm: the model that the features are made to fit.
        transitions: its transition model, which the alignments are of.
        silence_phones: phones whose frames tell nothing of a speaker and are left out.
        min_count: a speaker with fewer frames of speech keeps the features as they are.
    """

    gmm: AmDiagGmm
    transitions: TransitionModel
    silence_phones: frozenset[int]
    min_count: float = MIN_COUNT

    def speech_pdfs(self, transition_ids: np.ndarray) -> np.ndarray:
        """The pdf of every frame, shape ``(T,)``, or -1 in silence."""
        silent = np.isin(self.transitions.id2phone[transition_ids], list(self.silence_phones))
        return np.where(silent, _LEFT_OUT, self.transitions.id2pdf[transition_ids])


def estimate_transforms(
    model: FmllrModel, reader: FeatureReader, alignments: Iterable[tuple[str, np.ndarray]], path: str
) -> dict[str, np.ndarray]:
    """Estimate the transform of every speaker of a data directory.

    Args:
        model: the GMM.
        reader: the features as the GMM reads them.
        alignments: utterances and transition-ids, of transcripts or of the hypotheses of a first search;
            those of other data directories are passed over.
        path: where they come from, for errors.

    Returns:
        Speaker to transform, shape ``(F, F + 1)``; the identity for speakers of too few aligned frames.

    Raises:
        DktError: a transition-id is not of the model, or the features are of another dimension.
    """
    speakers = reader.data.utt2spk
    aligned = {}
    for utt, ids in alignments:
        if utt in speakers:
            model.transitions.check_ids(ids, path, utt)
            aligned[utt] = ids
    stats = {speaker: FmllrStats.zeros(model.gmm.dim) for speaker in sorted(set(speakers.values()))}
    tally = Tally("fMLLR", max_dropped=1.0)
    for utt, features in reader:
        if utt not in aligned:
            tally.drop(utt, "no alignment, the transform of its speaker is estimated without it")
            continue
        if len(aligned[utt]) != len(features):
            tally.drop(utt, "its alignment is of another length")
            continue
        model.gmm.check_dim(features, reader.data.path, utt)
        stats[speakers[utt]].accumulate(model.gmm, features, model.speech_pdfs(aligned[utt]))
        tally.done()
    tally.finish(path)
    few = sum(stat.count < model.min_count for stat in stats.values())
    logger.info(
        "transforms of %d speakers; %d of them, with under %g frames of speech, are the identity",
        len(stats),
        few,
        model.min_count,
    )
    return {speaker: estimate(stat, model.min_count) for speaker, stat in stats.items()}


def write_transformed(
    reader: FeatureReader, transforms: Mapping[str, np.ndarray], writer: MatrixWriter
) -> None:
    """Write the features of every utterance under the transform of its speaker.

    Raises:
        DktError: an utterance has no speaker.
    """
    for utt, features in reader:
        speaker = reader.data.utt2spk.get(utt)
        if speaker is None:
            raise DktError("has no speaker", path=reader.data.path / "utt2spk", utt=utt)
        writer.write(utt, apply_affine(features, transforms[speaker]))
