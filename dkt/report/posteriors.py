"""Networks run on a sample of dev data, for what a report tells of their posteriors.

T frames, P pdfs, H phones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.hmm.alignments import AlignmentDir, match_lengths
from dkt.nnet.forward import network_output
from dkt.nnet.scorer import Forwarder, OutputOptions
from dkt.report.beliefs import Beliefs, Calibration, PhoneMap, Posteriorgram, calibrate
from dkt.report.systems import Experiment, System
from dkt.train.training_record import DevData, recorded_dev_data
from dkt.util.data_dir import DEFAULT_FRAME_SHIFT, DataDir
from dkt.util.symbols import read_symbol_table

#: Utterances that are looked at unless told otherwise.
NUM_UTTS = 100
# Long enough for some words, short enough to be drawn (frames).
_SHOWN_FRAMES = 250


@dataclass(frozen=True)
class Sample:
    """The dev utterances that are looked at.

    Attributes:
        data: a data directory with features; None for that which each training was cross-validated on, if its
            log tells and it is still there.
        ali: alignments of it, whose pdfs are the labels of all systems; None for those of the first such
            training.
        num_utts: how many utterances at most.
        utterance: the one to show; None for one of the sample.
        seed: of the sample.
    """

    data: Path | None = None
    ali: Path | None = None
    num_utts: int = NUM_UTTS
    utterance: str | None = None
    seed: int = 0

    @property
    def is_named(self) -> bool:
        """Whether the user has named something: it has to be there."""
        return (self.data, self.ali, self.utterance) != (None, None, None)


def look_at_posteriors(
    systems: Sequence[System], load: Callable[[str], Forwarder], sample: Sample, notes: list[str]
) -> Beliefs | None:
    """Run the first network of each system on a sample of dev utterances.

    Args:
        systems: the systems; those without a network of dkt are left out.
        load: gives the network of an experiment directory, with log-posteriors as its output.
        sample: which utterances.
        notes: what cannot be looked at is added.

    Returns:
        None where there is nothing to look at.

    Raises:
        DktError: what the sample names is not there, or damaged.
    """
    runs = {s.name: run for s in systems if (run := s.network) is not None}
    if sample.data is not None:
        DataDir(sample.data)
    records = {name: _dev_data(run, sample.data) for name, run in runs.items()}
    labels = _find_labels(records.values(), sample, notes) if runs else None
    if labels is None:
        return None
    calibration: dict[str, Calibration] = {}
    shown: dict[str, np.ndarray] = {}
    for name, run in runs.items():
        try:
            calibration[name], post = labels.look(records[name], load(str(run.directory)))
        except DktError as error:
            notes.append(f"{run.directory}: no posteriors: {error}")
            continue
        if post is not None:
            shown[name] = post
    if not calibration:
        return None
    known = {name: run for name, run in runs.items() if name in calibration}
    return Beliefs(
        labels.data, labels.path, len(labels.chosen), calibration, labels.posteriorgram(shown), known
    )


def _find_labels(records: Iterable[DevData | None], sample: Sample, notes: list[str]) -> _Labels | None:
    """The alignments that the sample names, or the first training tells of; None, and a note, without."""
    places = (record.ali for record in records if record is not None and record.ali is not None)
    chosen = sample.ali or next(filter(Path.is_dir, places), None)
    try:
        if chosen is None:
            raise DktError(
                "no log/train.log tells of dev data and alignments that are still there",
                hint="give --data and --ali",
            )
        return _Labels(chosen, sample)
    except DktError as error:
        if sample.is_named:
            raise
        notes.append(f"no posteriors: {error}")
        return None


def _dev_data(run: Experiment, data: Path | None) -> DevData | None:
    record = recorded_dev_data(run.directory)
    if data is None:
        return record
    return DevData(data, None, record.side if record is not None else SpeakerInputs())


class _Labels:
    """The alignments of a sample of utterances, and what each network makes of them.

    Args:
        ali: the alignment directory.
        sample: which utterances.

    Attributes:
        data: where the features of the last network were.

    Raises:
        DktError: the alignments are damaged, or do not have the utterance.
    """

    def __init__(self, ali: Path, sample: Sample) -> None:
        utterance = sample.utterance
        alignments = AlignmentDir(ali)
        self.path = ali
        self.data = Path()
        self.transitions = alignments.transitions
        known = dict(alignments.transition_ids())
        if utterance is not None and utterance not in known:
            raise DktError(
                "is not aligned there", path=ali, utt=utterance, hint="give --utterance one of its keys"
            )
        order = np.random.default_rng(sample.seed).permutation(len(known))[: sample.num_utts]
        names = sorted(known)
        self.chosen = {names[place]: known[names[place]] for place in sorted(order.tolist())}
        lengths = {utt: abs(len(ids) - _SHOWN_FRAMES) for utt, ids in self.chosen.items()}
        self.shown = utterance or min(lengths, key=lambda utt: (lengths[utt], utt), default=None)
        if utterance is not None:
            self.chosen[utterance] = known[utterance]
        phones = ali / "phones.txt"
        symbols = read_symbol_table(phones) if phones.is_file() else {}
        self.phones = PhoneMap.of(self.transitions, {number: name for name, number in symbols.items()})
        self._frame_shift = DEFAULT_FRAME_SHIFT

    def look(self, record: DevData | None, scorer: Forwarder) -> tuple[Calibration, np.ndarray | None]:
        """How the posteriors of a network fit the labels, and, by phone, those of the utterance shown."""
        if record is None:
            raise DktError("nothing tells of its dev data", hint="give --data and --ali")
        if scorer.output_dim != self.transitions.num_pdfs:
            raise DktError(
                f"{scorer.output_dim} pdfs, the alignments have {self.transitions.num_pdfs}", path=self.path
            )
        data = DataDir(record.data)
        reader = FeatureReader(data, scorer.pipeline or FeatureOptions(), record.side)
        if reader.options.online_cmvn_opts is not None:
            reader.remember()
            for _ in reader:
                pass
        utts = [utt for utt in self.chosen if utt in data.feats_scp]
        if not utts:
            raise DktError(f"has features of none of the utterances of {self.path}", path=data.path)
        kept: dict[str, np.ndarray] = {}
        calibration = calibrate(self._outputs(utts, scorer, reader, kept))
        self.data, self._frame_shift = record.data, data.frame_shift
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
