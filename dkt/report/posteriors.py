"""What networks believe on dev data: how often they are right where they are sure, how spread their posteriors are.

T frames, P pdfs, H phones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dkt.base.errors import DktError
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.hmm.alignments import AlignmentDir, match_lengths
from dkt.hmm.transition_model import TransitionModel
from dkt.nnet.forward import network_output
from dkt.nnet.scorer import Forwarder, OutputOptions, load_scorer
from dkt.report.systems import Run, System
from dkt.train.training_record import DevData, recorded_dev_data
from dkt.util.data_dir import DataDir
from dkt.util.symbols import read_symbol_table

if TYPE_CHECKING:
    import torch

#: Utterances that are looked at unless told otherwise.
NUM_UTTS = 100
#: Bins of confidence, as in Guo et al., On Calibration of Modern Neural Networks (ICML 2017).
NUM_BINS = 15
#: Edges of the bins of entropy, in nats; what is above the last counts in the last bin.
ENTROPY_EDGES = np.linspace(0.0, 5.0, 26)
# Long enough for some words, short enough to be drawn (frames).
_SHOWN_FRAMES = 250
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
        bins: of each bin of confidence the frames, their mean confidence and their accuracy, shape ``(NUM_BINS, 3)``;
            NaN for the last two where no frame is.
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
    runs: Mapping[str, Run]


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
        """The map of a model; ``symbols`` are the names of ``phones.txt``, a phone without one is its number."""
        phones = np.unique(transitions.id2phone[1:]).tolist()
        folded = {phone: _POSITION.sub("", symbols.get(phone, str(phone))) for phone in phones}
        names = list(dict.fromkeys(folded.values()))
        places = {phone: names.index(name) for phone, name in folded.items()}
        shares = np.zeros((transitions.num_pdfs, len(names)))
        of_arcs = [places[phone] for phone in transitions.id2phone[1:].tolist()]
        shares[transitions.id2pdf[1:], of_arcs] = 1.0
        return cls(names, places, shares / np.maximum(shares.sum(axis=1, keepdims=True), 1.0))


def look_at_posteriors(
    systems: Sequence[System],
    device: torch.device,
    notes: list[str],
    *,
    data: Path | None = None,
    ali: Path | None = None,
    num_utts: int = NUM_UTTS,
    utterance: str | None = None,
    seed: int = 0,
) -> Beliefs | None:
    """Run the first network of each system on a sample of dev utterances.

    Args:
        systems: the systems; those without a network of dkt are left out.
        device: where to compute.
        notes: what cannot be looked at is added.
        data: a data directory with features; None for that which each training was cross-validated on, if its log
            tells and it is still there.
        ali: alignments of it, whose pdfs are the labels of all systems; None for those of the first such training.
        num_utts: how many utterances at most.
        utterance: the one to show; None for one of the sample.
        seed: of the sample.

    Returns:
        None where there is nothing to look at.

    Raises:
        DktError: ``data`` or ``ali`` are given and damaged, or ``utterance`` is not there.
    """
    runs = {s.name: run for s in systems if (run := _network(s)) is not None}
    if not runs:
        return None
    records = {name: _dev_data(run, data) for name, run in runs.items()}
    chosen_ali = ali or next((r.ali for r in records.values() if r and r.ali and r.ali.is_dir()), None)
    if chosen_ali is None:
        notes.append("no posteriors: no log/train.log tells of dev data and alignments that are still there (--data, --ali)")
        return None
    try:
        labels = _Labels(chosen_ali, num_utts, utterance, seed)
    except DktError as error:
        if ali is not None or utterance is not None:
            raise
        notes.append(f"no posteriors: {error}")
        return None
    calibration: dict[str, Calibration] = {}
    shown: dict[str, np.ndarray] = {}
    for name, run in runs.items():
        record = records[name]
        if record is None:
            notes.append(f"{run.directory}: no posteriors: nothing tells of its dev data (--data, --ali)")
            continue
        try:
            calibration[name], post = labels.look(run, record, device)
        except DktError as error:
            if data is not None and not data.is_dir():
                raise
            notes.append(f"{run.directory}: no posteriors: {error}")
            continue
        if post is not None:
            shown[name] = post
    if not calibration:
        return None
    return Beliefs(
        data or next(r.data for name, r in records.items() if r is not None and name in calibration),
        chosen_ali,
        len(labels.chosen),
        calibration,
        labels.posteriorgram(shown),
        {name: run for name, run in runs.items() if name in calibration},
    )


def _network(system: System) -> Run | None:
    """The first run of a system that has a network of dkt's."""
    return next((run for run in system.runs if (run.directory / "final.pt").is_file()), None)


def _dev_data(run: Run, data: Path | None) -> DevData | None:
    record = recorded_dev_data(run.directory)
    if data is None:
        return record
    return DevData(data, None, record.side if record is not None else SpeakerInputs())


class _Labels:
    """The alignments of a sample of utterances, and what each network makes of them.

    Args:
        ali: the alignment directory.
        num_utts: utterances at most.
        utterance: one of them; None for any.
        seed: of the sample.

    Raises:
        DktError: the alignments are damaged, or do not have the utterance.
    """

    def __init__(self, ali: Path, num_utts: int, utterance: str | None, seed: int) -> None:
        alignments = AlignmentDir(ali)
        self.path = ali
        self.transitions = alignments.transitions
        known = dict(alignments.transition_ids())
        if utterance is not None and utterance not in known:
            raise DktError("is not aligned there", path=ali, utt=utterance, hint="give --utterance one of its keys")
        order = np.random.default_rng(seed).permutation(len(known))[:num_utts]
        names = sorted(known)
        self.chosen = {names[place]: known[names[place]] for place in sorted(order.tolist())}
        lengths = {utt: abs(len(ids) - _SHOWN_FRAMES) for utt, ids in self.chosen.items()}
        self.shown = utterance or min(lengths, key=lambda utt: (lengths[utt], utt), default=None)
        if utterance is not None:
            self.chosen[utterance] = known[utterance]
        phones = ali / "phones.txt"
        symbols = read_symbol_table(phones) if phones.is_file() else {}
        self.phones = PhoneMap.of(self.transitions, {number: name for name, number in symbols.items()})
        self._frame_shift = 0.01

    def look(self, run: Run, record: DevData, device: torch.device) -> tuple[Calibration, np.ndarray | None]:
        """How the posteriors of a network fit the labels, and those of the utterance that is shown, by phone."""
        scorer = load_scorer(str(run.directory), OutputOptions(apply_log=True), device)
        if scorer.output_dim != self.transitions.num_pdfs:
            raise DktError(f"{scorer.output_dim} pdfs, the alignments have {self.transitions.num_pdfs}", path=self.path)
        data = DataDir(record.data)
        reader = FeatureReader(data, scorer.pipeline or FeatureOptions(), record.side)
        if reader.options.online_cmvn_opts is not None:
            reader.remember()
            for _ in reader:
                pass
        utts = [utt for utt in self.chosen if utt in data.feats_scp]
        if not utts:
            raise DktError(f"has features of none of the utterances of {self.path}", path=data.path)
        self._frame_shift = data.frame_shift
        kept: dict[str, np.ndarray] = {}
        calibration = calibrate(self._outputs(utts, scorer, reader, kept))
        return calibration, kept.get(self.shown or "")

    def _outputs(
        self, utts: Sequence[str], scorer: Forwarder, reader: FeatureReader, kept: dict[str, np.ndarray]
    ) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        options = OutputOptions(apply_log=True)
        num_done = 0
        for utt in utts:
            pdfs = self.transitions.id2pdf[self.chosen[utt]]
            features = reader.read(utt)
            length = match_lengths(len(features), len(pdfs))
            if length is None:
                continue
            log_post = network_output(scorer, features, options)[:length]
            if utt == self.shown:
                kept[utt] = np.exp(log_post.astype(np.float64)) @ self.phones.shares
            num_done += 1
            yield log_post, pdfs[:length]
        if not num_done:
            raise DktError("no utterance is as long as its alignment", path=reader.data.path)

    def posteriorgram(self, post: Mapping[str, np.ndarray]) -> Posteriorgram | None:
        """What is drawn of one utterance; None where no network gave its posteriors."""
        if not post or self.shown is None:
            return None
        length = min(len(values) for values in post.values())
        ids = self.chosen[self.shown][:length]
        places = [self.phones.places[phone] for phone in self.transitions.id2phone[ids].tolist()]
        return Posteriorgram(
            self.shown,
            self.phones.names,
            {name: values[:length] for name, values in post.items()},
            np.array(places),
            self._frame_shift,
        )
