"""Alignments of originals for copies of the same times, as Kaldi's ``steps/copy_ali_dir.sh``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.errors import DktError
from dkt.base.files import read_file
from dkt.base.tally import DEFAULT_MAX_DROPPED, Tally
from dkt.gmm.align import MODEL_FILES, split_into_jobs, write_alignment_dir, write_model_files
from dkt.hmm.alignments import AlignmentDir, match_lengths
from dkt.util.data_dir import DataDir
from dkt.util.table import read_matrices
from dkt.util.text import natural, read_keyed_lines

logger = logging.getLogger(__name__)

_FACTOR = "frame_subsampling_factor"


def copy_alignments(
    data_dir: str | Path,
    source_dir: str | Path,
    ali_dir: str | Path,
    *,
    prefixes: Sequence[str] = (),
    include_original: bool = True,
    num_jobs: int = 4,
    max_dropped: float = DEFAULT_MAX_DROPPED,
) -> None:
    """Write an alignment directory for copies of utterances that are aligned, where no time has changed.

    The original of a copy is the utterance whose name is that of the copy less ``<prefix>-``, one of the
    prefixes; without prefixes what ``utt2uniq`` tells and the name holds. Utterances of the data that are
    aligned themselves keep their alignments.

    Args:
        data_dir: the data directory of the copies, perhaps with their originals.
        source_dir: the alignments of the originals.
        ali_dir: the directory to write.
        prefixes: of the names of copies, without the dash.
        include_original: whether utterances of the data that are no copies are in it.
        num_jobs: the number of ``ali.JOB.gz``.
        max_dropped: the share of utterances whose original has no alignment, or one of another length.

    Raises:
        DktError: an input is missing or malformed, too much is lost, or ``ali_dir`` holds something else.
    """
    data, source, target = DataDir(data_dir), Path(source_dir), Path(ali_dir)
    if source.resolve() == target.resolve():
        raise DktError("is the directory to copy", path=target, hint="write into a directory of its own")
    directory = AlignmentDir(source)
    refuse_other_kinds(target, Kind.ALIGNMENTS, source / "final.mdl")
    data.check_sorted()
    files = {name: read_file(source / name) for name in (_FACTOR, *MODEL_FILES) if (source / name).exists()}
    alignments = dict(directory.transition_ids())
    originals = _originals(data, alignments, prefixes)
    lengths, tally = _lengths(data), Tally("copy alignments", max_dropped)
    copied: dict[str, np.ndarray] = {}
    for utt, original in originals.items():
        if original == utt and not include_original:
            continue
        fault = _fault(utt, original, alignments, lengths)
        if fault is None:
            copied[utt] = alignments[str(original)]
            tally.done()
        else:
            tally.drop(utt, fault)
    tally.finish(str(data.path))
    jobs = split_into_jobs({utt: data.utt2spk[utt] for utt in copied}, num_jobs)
    write_alignment_dir(target, lambda: _write_files(target, files), jobs, copied)


def _write_files(target: Path, files: Mapping[str, bytes]) -> None:
    for name in (_FACTOR, "phones.txt"):
        (target / name).unlink(missing_ok=True)
    write_model_files(target, files)


def _originals(
    data: DataDir, alignments: Mapping[str, np.ndarray], prefixes: Sequence[str]
) -> dict[str, str | None]:
    """Utterance to the one whose alignment it gets, itself if it is aligned; None where there is none."""
    if prefixes:
        candidates = {
            utt: [utt, *(utt[len(p) + 1 :] for p in prefixes if utt.startswith(f"{p}-"))]
            for utt in data.utt2spk
        }
    else:
        path = data.path / "utt2uniq"
        unique = read_keyed_lines(path) if path.is_file() else {}
        if not unique and not any(utt in alignments for utt in data.utt2spk):
            raise DktError(
                "does not exist: it would tell which utterances are copies of which",
                path=path,
                hint="give the prefixes of copies as --prefixes",
            )
        candidates = {utt: [utt, *_parts(utt, unique.get(utt, utt))] for utt in data.utt2spk}
    return {
        utt: next((name for name in names if name in alignments), None) for utt, names in candidates.items()
    }


def _parts(utt: str, unique: str) -> Iterator[str]:
    """What may be the original of a copy, the nearest first: its name less prefixes or suffixes.

    At the end comes what ``utt2uniq`` tells, which of a copy of a copy is the first of all.
    """
    words = utt.split("-")
    for count in range(1, len(words)):
        yield from (
            name
            for name in ("-".join(words[count:]), "-".join(words[:-count]))
            if name.startswith(f"{unique}-") or name.endswith(f"-{unique}")
        )
    yield unique


def _lengths(data: DataDir) -> dict[str, int]:
    """Utterance to its number of frames, as far as the directory tells."""
    path = data.path / "utt2num_frames"
    if path.is_file():
        lengths = {}
        for utt, text in read_keyed_lines(path).items():
            number = natural(text)
            if number is None:
                raise DktError(f"expected a number of frames, found '{text[:80]}'", path=path, utt=utt)
            lengths[utt] = number
        return lengths
    if (data.path / "feats.scp").is_file():
        return {utt: len(matrix) for utt, matrix in read_matrices(f"scp:{data.path / 'feats.scp'}")}
    logger.warning(
        "%s: has neither utt2num_frames nor feats.scp: whether copies are as long as their alignments is not "
        "looked at - make the features first",
        data.path,
    )
    return {}


def _fault(
    utt: str, original: str | None, alignments: Mapping[str, np.ndarray], lengths: Mapping[str, int]
) -> str | None:
    """Why an utterance cannot have the alignment of its original, or None."""
    if original is None:
        return "neither it nor its original is aligned"
    num_labels = len(alignments[original])
    if utt in lengths and match_lengths(lengths[utt], num_labels) is None:
        return (
            f"it has {lengths[utt]} frames, the alignment of '{original}' {num_labels} labels: copies at "
            "another speed have to be aligned"
        )
    return None
