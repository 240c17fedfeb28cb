"""Alignment directories, checked against their models, the features and one another."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.base.findings import Findings, Level, plural
from dkt.hmm.alignment_quality import AlignmentQuality
from dkt.hmm.alignments import LENGTH_TOLERANCE, AlignmentDir
from dkt.hmm.phone_segments import PathChecker
from dkt.hmm.transition_model import TransitionModel, load_transition_model
from dkt.hmm.tree import load_tree
from dkt.util.table import read_gzipped_int_vectors
from dkt.util.text import read_lines

_ROWS_TOLD = 10
_ALIGN_AGAIN = "align again, or give the final.mdl that made the alignment"


@dataclass
class AlignmentLengths:
    """What was learnt of an alignment directory.

    Attributes:
        path: the directory.
        lengths: utterance to its number of labels.
        unusable: the utterances whose labels are not of the model.
        pdf_frames: the frames of each pdf, shape ``(P,)``.
    """

    path: Path
    lengths: dict[str, int] = field(default_factory=dict)
    unusable: set[str] = field(default_factory=set)
    pdf_frames: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


def open_ali_dir(path: str | Path, findings: Findings) -> AlignmentDir | None:
    """Open an alignment directory; None if it has a fault, which is noted."""
    try:
        return AlignmentDir(path)
    except DktError as error:
        findings.add(Level.ERROR, "alignment", str(error))
        return None


class _LabelScan:
    def __init__(self, ali: AlignmentDir, quality: AlignmentQuality) -> None:
        self.quality = quality
        self.model = ali.transitions
        self.paths = PathChecker(self.model)
        self.labels = AlignmentLengths(ali.path)
        self.frames = np.zeros(ali.num_pdfs, dtype=np.int64)
        self.twice: list[str] = []
        self.beyond: dict[str, int] = {}
        self.broken: dict[str, int] = {}

    def look(self, utt: str, ids: np.ndarray) -> None:
        if utt in self.labels.lengths:
            self.twice.append(utt)
            return
        self.labels.lengths[utt] = len(ids)
        if not len(ids):
            return
        if ids.min() < 1 or ids.max() > self.model.num_transition_ids:
            self.beyond[utt] = int(ids.min() if ids.min() < 1 else ids.max())
            return
        self.frames += np.bincount(self.model.id2pdf[ids], minlength=len(self.frames))
        frame = self.paths.first_break(ids)
        if frame is not None:
            self.broken[utt] = frame
        else:
            self.quality.add(utt, ids)

    def report(self, findings: Findings) -> None:
        where = self.labels.path
        self.labels.pdf_frames = self.frames
        self.labels.unusable.update(self.beyond, self.broken, self.twice)
        if self.twice:
            message = f"{plural(len(self.twice), 'utterance')} aligned twice"
            findings.error("alignment", message, path=where, names=self.twice, hint="align again")
        if self.beyond:
            names = [f"{utt}: {found}" for utt, found in self.beyond.items()]
            message = (
                f"{plural(len(names), 'utterance')} with transition-ids beyond the model, which has "
                f"{self.model.num_transition_ids} and {self.model.num_pdfs} pdfs"
            )
            findings.error("pdfs", message, path=where, names=names, hint=_ALIGN_AGAIN)
        if self.broken:
            names = [f"{utt}: frame {frame}" for utt, frame in self.broken.items()]
            message = (
                f"{plural(len(names), 'utterance')} with transition-ids that cannot follow one another: "
                "the alignment is of another model or topology"
            )
            findings.error("topology", message, path=where, names=names, hint=_ALIGN_AGAIN)
        findings.passed("alignment", plural(len(self.labels.lengths), "utterance"))
        seen = np.flatnonzero(self.frames)
        rare = plural(len(self.frames) - len(seen), "pdf")
        findings.passed(
            "pdfs", f"largest {seen.max(initial=-1)} of {len(self.frames)}, {rare} without a frame"
        )
        findings.passed("topology", "every alignment is a path through the HMMs of final.mdl")
        for verdict in self.quality.judge():
            allow = "; --allow-implausible lets it pass" if verdict.level is Level.ERROR else ""
            findings.add(verdict.level, "quality", verdict.fault, path=where, hint=verdict.hint + allow)
        findings.passed("quality", self.quality.describe())


def read_all_labels(ali: AlignmentDir, quality: AlignmentQuality, findings: Findings) -> AlignmentLengths:
    """Read all alignments of a directory.

    Args:
        ali: the directory.
        quality: collects what they look like.
        findings: where it is noted which archives cannot be read, which utterances are aligned twice, have
            transition-ids beyond the model or ones that are not a path through its HMMs, and what about them
            cannot be right.

    Returns:
        The lengths of the alignments.
    """
    scan = _LabelScan(ali, quality)
    for file in ali.files:
        try:
            for utt, ids in read_gzipped_int_vectors(file):
                scan.look(utt, ids)
        except DktError as error:
            findings.error("alignment", str(error), hint="align again")
    scan.report(findings)
    return scan.labels


def compare_with_features(
    labels: AlignmentLengths, lengths: dict[str, int], known: set[str], feats: Path, findings: Findings
) -> None:
    """Note which side lacks what, and how far lengths differ.

    Args:
        labels: the alignments.
        lengths: utterance to its frames, where they are known.
        known: the utterances that have features.
        feats: where the features stand, for the findings.
        findings: where it is noted.
    """
    aligned = set(labels.lengths)
    missing, more = sorted(known - aligned), sorted(aligned - known)
    if missing:
        message = f"{plural(len(missing), 'utterance')} of {feats} without an alignment"
        findings.warn("alignment keys", message, path=labels.path, names=missing)
    if more:
        message = f"{plural(len(more), 'aligned utterance')} not in {feats}"
        findings.warn("alignment keys", message, path=labels.path, names=more)
    findings.passed("alignment keys", "the same utterances as the features")
    differences = {
        utt: abs(frames - labels.lengths[utt]) for utt, frames in lengths.items() if utt in labels.lengths
    }
    _report_lengths(differences, lengths, labels, findings)


def _report_lengths(
    differences: dict[str, int], lengths: dict[str, int], labels: AlignmentLengths, findings: Findings
) -> None:
    if not differences:
        return
    histogram = Counter(differences.values())
    rows = sorted(histogram.items())
    told = ", ".join(f"{frames}: {count}" for frames, count in rows[:_ROWS_TOLD])
    if len(rows) > _ROWS_TOLD:
        told += f", more: {sum(count for _, count in rows[_ROWS_TOLD:])}"
    check, text = "lengths", f"utterances by difference in frames between features and labels: {told}"
    cut = [utt for utt, frames in differences.items() if 0 < frames < LENGTH_TOLERANCE]
    far = [utt for utt, frames in differences.items() if frames >= LENGTH_TOLERANCE]
    for utts, what in ((cut, "cut to the shorter side"), (far, "dropped")):
        if utts:
            names = [f"{utt}: {lengths[utt]} frames, {labels.lengths[utt]} labels" for utt in utts]
            message = f"{plural(len(utts), 'utterance')} {what}; {text}"
            findings.warn(check, message, path=labels.path, names=names)
    findings.passed(check, text)


def check_tree(ali: AlignmentDir, findings: Findings) -> None:
    """Note whether ``tree`` and ``final.mdl`` of a directory are of one system."""
    path = ali.path / "tree"
    if not path.is_file():
        return
    try:
        num_pdfs = load_tree(path).num_pdfs
    except DktError as error:
        findings.warn("tree", str(error))
        return
    if num_pdfs != ali.num_pdfs:
        message = f"{plural(num_pdfs, 'pdf')}, but final.mdl has {ali.num_pdfs}"
        findings.error("tree", message, path=path, hint="give the tree that final.mdl was trained with")
    findings.passed("tree", f"{num_pdfs} pdfs, as final.mdl has")


def compare_phones(paths: list[Path], findings: Findings) -> None:
    """Note ``phones.txt`` files that differ in more than disambiguation symbols.

    As ``utils/lang/check_phones_compatible.sh``, which lets directories without the file pass.

    Args:
        paths: directories; the first that has a ``phones.txt`` is what the others are compared with.
        findings: where it is noted.
    """
    tables: dict[Path, list[str]] = {}
    for path in (directory / "phones.txt" for directory in paths):
        try:
            if path.is_file():
                tables[path] = [line for line in read_lines(path) if not line.startswith("#")]
        except DktError as error:
            findings.error("phones.txt", str(error))
    if not tables:
        return
    (first, phones), *others = tables.items()
    for path, table in others:
        if table != phones:
            pairs = zip_longest(table, phones, fillvalue="nothing")
            found, wanted = next(pair for pair in pairs if pair[0] != pair[1])
            message = f"other phones than {first}: '{found}', not '{wanted}'"
            findings.error("phones.txt", message, path=path, hint="use directories of one lang directory")
    findings.passed("phones.txt", "the same phones in " + ", ".join(str(path.parent) for path in tables))


def _open_model(path: Path) -> TransitionModel:
    # The directory of the graph's model need hold no alignment.
    if (path / "num_jobs").is_file() and (path / "ali.1.gz").is_file():
        return AlignmentDir(path).transitions
    return load_transition_model(path / "final.mdl")


def compare_models(ali: AlignmentDir, other: Path, findings: Findings) -> None:
    """Note where the model of another directory gives the same pdf-ids another meaning.

    Args:
        ali: the alignments.
        other: other alignments, or the directory of the graph's model.
        findings: where it is noted.
    """
    check, path, hint = "other model", other / "final.mdl", "align both with one model"
    try:
        model = _open_model(other)
        same_tree = _same_tree(ali.path / "tree", other / "tree")
    except DktError as error:
        findings.error(check, str(error))
        return
    if model.num_pdfs != ali.num_pdfs:
        message = f"{plural(model.num_pdfs, 'pdf')}, {ali.path / 'final.mdl'} has {ali.num_pdfs}"
        findings.error(check, message, path=path, hint=hint)
    elif not np.array_equal(model.tuples, ali.transitions.tuples):
        message = f"the pdfs are of other phones and states than in {ali.path / 'final.mdl'}"
        findings.error(check, message, path=path, hint=hint)
    elif not np.array_equal(model.id2state, ali.transitions.id2state):
        message = f"the transition-ids are of another topology than in {ali.path / 'final.mdl'}"
        findings.error(check, message, path=path, hint=hint)
    if not same_tree:
        findings.error(check, f"another tree than {ali.path / 'tree'}", path=other / "tree", hint=hint)
    findings.passed(check, f"{path} has the same pdfs and transition-ids")


def _same_tree(first: Path, second: Path) -> bool:
    """Whether two trees are the same, one perhaps written as text; true if one is missing."""
    if not (first.is_file() and second.is_file()) or first.read_bytes() == second.read_bytes():
        return True
    trees = [load_tree(path) for path in (first, second)]
    forms = [(tree.context_width, tree.central_position, tree.to_pdf) for tree in trees]
    return forms[0] == forms[1]
