"""Features and CMVN statistics, read once from end to end: all that a training would stumble at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.base.findings import Findings, Level, kind_of, plural
from dkt.base.progress import Progress
from dkt.feat.functions import apply_cmvn
from dkt.feat.reader import FeatureReader
from dkt.matrix.matrix_io import read_matrix
from dkt.util.scripts import ScriptLoader
from dkt.validate.data import DataFiles

_PIPELINE_HINT = (
    "mend them, or give the options of the training: --cmvn, --train-config, --transform-dir, --ivectors"
)


@dataclass
class Features:
    """What was learnt of the features.

    Attributes:
        lengths: utterance to its number of frames, of those that could be read.
        unusable: the utterances that a training would stop at.
        lost: utterances that a training would leave out, and why.
        dim: the dimension of most of them, F; None if none was read.
        processed_dim: that of what the training makes of them, i-vectors included; None if nobody knows.
    """

    lengths: dict[str, int] = field(default_factory=dict)
    unusable: set[str] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)
    dim: int | None = None
    processed_dim: int | None = None


class _Faults:
    """Faults of many entries, each kind told once; errors of reading count as one kind an archive."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = defaultdict(list)
        self._told: dict[str, str] = {}

    def add(self, name: str, fault: str, kind: str | None = None) -> None:
        """Note the fault of one entry; of each kind the first is told."""
        kind = kind or fault
        self._told.setdefault(kind, fault)
        self._names[kind].append(name)

    def report(self, findings: Findings, level: Level, check: str, noun: str, path: Path, hint: str) -> None:
        """Turn them into findings."""
        for kind, names in self._names.items():
            message = f"{plural(len(names), noun)} {self._told[kind]}"
            findings.add(level, check, message, path=path, names=names, hint=hint)


def _load_each(entries: dict[str, str], faults: _Faults) -> Iterator[tuple[str, np.ndarray | None]]:
    """The matrices of a script file, None for those that cannot be read, which are noted."""
    loader = ScriptLoader(read_matrix)
    for key, entry in entries.items():
        value = None
        try:
            value = loader.load(key, entry)
        except DktError as error:
            faults.add(key, f"that cannot be read, the first: {error}", error.path or entry)
        yield key, value
    loader.close()


class _Pipeline:
    """What a training does to features, done to all of them.

    Args:
        reader: of the training; None if nobody knows what it does.
        features: where it is noted which utterances would be lost.
        cmvn_is_checked: faults of CMVN statistics are told elsewhere.
    """

    def __init__(self, reader: FeatureReader | None, features: Features, cmvn_is_checked: bool) -> None:
        self._reader = reader
        self._features = features
        self._cmvn_is_checked = cmvn_is_checked
        self.faults = _Faults()
        self._varies: np.ndarray | None = None
        self._first: np.ndarray | None = None

    def look(self, utt: str, frames: np.ndarray) -> None:
        """Process the features of one utterance, and note what is wrong with it."""
        if self._reader is None:
            return
        try:
            reason = self._reader.missing(utt)
            if reason is not None:
                self._features.lost[utt] = reason
                return
            processed = self._reader.process(utt, frames)
        except DktError as error:
            self._features.unusable.add(utt)
            if not (self._cmvn_is_checked and "CMVN statistics of" in str(error)):
                fault = f"that cannot be processed, the first: {error}"
                self.faults.add(utt, fault, kind_of(str(error), utt))
            return
        if self._first is None or self._varies is None:
            self._first, self._varies = processed[0], np.zeros(processed.shape[1], dtype=bool)
        # Others than most are told of by their dimension.
        if processed.shape[1] == len(self._first):
            self._varies |= (processed != self._first).any(axis=0)

    def dim(self) -> int | None:
        """The dimension of the processed features."""
        return None if self._first is None else len(self._first)

    def constant(self) -> list[int]:
        """The dimensions that never change."""
        return [] if self._varies is None else np.flatnonzero(~self._varies).tolist()


def read_all_features(files: DataFiles, findings: Findings, reader: FeatureReader | None = None) -> Features:
    """Read all features of a data directory.

    Args:
        files: the directory, with ``feats.scp``.
        reader: as a training would read them; None if that is not known.
        findings: where it is noted which utterances cannot be read, are empty, hold NaN or infinity or are
            of another dimension than most.

    Returns:
        Their lengths and dimension.
    """
    features, faults = Features(), _Faults()
    pipeline = _Pipeline(reader, features, files.options.cmvn is Level.ERROR)
    of_dim: dict[int, list[str]] = defaultdict(list)

    def blame(utt: str, fault: str) -> None:
        features.unusable.add(utt)
        faults.add(utt, fault)

    entries = files.entries("feats.scp")
    with Progress("reading features", len(entries), "utterances") as progress:
        for utt, frames in _load_each(entries, faults):
            progress.advance(1)
            if frames is None:
                features.unusable.add(utt)
            elif frames.ndim != 2 or not frames.size:
                blame(utt, "without a frame, or no matrix")
            else:
                features.lengths[utt] = len(frames)
                of_dim[frames.shape[1]].append(utt)
                if not np.isfinite(frames).all():
                    blame(utt, "with a value that is not a number")
                else:
                    pipeline.look(utt, frames)
    features.processed_dim = pipeline.dim()
    features.dim = max(of_dim, key=lambda dim: len(of_dim[dim]), default=None)
    for dim, utts in of_dim.items():
        for utt in utts if dim != features.dim else ():
            blame(utt, f"of dimension {dim}, expected {features.dim} as of the others")
    hint = "make these features again, or remove the utterances from the data directory"
    path = files.data.path / "feats.scp"
    faults.report(findings, Level.ERROR, "features", "utterance", path, hint)
    # Utterances of another dimension than most are told of already.
    pipeline.faults.report(findings, Level.ERROR, "features", "utterance", path, _PIPELINE_HINT)
    if files.options.transcribed and (constant := pipeline.constant()):
        findings.error("features", f"dimensions {constant} never change", path=path, hint=hint)
    num_frames = sum(features.lengths.values())
    findings.passed("features", f"{plural(num_frames, 'frame')} of dimension {features.dim}")
    return features


def compare_num_frames(files: DataFiles, features: Features, findings: Findings) -> None:
    """Note utterances of which ``utt2num_frames`` tells another length than the archives have."""
    told = files.numbers("utt2num_frames")
    wrong = [
        f"{utt}: {told[utt]:g}, not {length}"
        for utt, length in features.lengths.items()
        if utt in told and told[utt] != length
    ]
    if wrong:
        findings.warn(
            "utt2num_frames",
            f"{plural(len(wrong), 'utterance')} of another length than in the archives",
            path=files.data.path / "utt2num_frames",
            names=wrong,
            hint="make it again with the features",
        )


def check_cmvn(files: DataFiles, dim: int | None, level: Level, findings: Findings) -> None:
    """Note the speakers whose CMVN statistics cannot be read or do not fit features of dimension ``dim``."""
    faults = _Faults()
    for speaker, stats in _load_each(files.entries("cmvn.scp"), faults):
        if stats is None:
            continue
        try:
            apply_cmvn(np.zeros((1, dim or stats.shape[-1] - 1), dtype=np.float32), stats.astype(np.float64))
        except DktError as error:
            faults.add(speaker, f"with {error}")
    hint = "make it again with steps/compute_cmvn_stats.sh (with --paste, if features are pasted)"
    faults.report(findings, level, "cmvn.scp", "speaker", files.data.path / "cmvn.scp", hint)
