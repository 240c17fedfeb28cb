"""Alignment of a data directory, in several processes (Kaldi's ``align_si.sh`` and ``nnet/align.sh``)."""

from __future__ import annotations

import gzip
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import chain, islice
from pathlib import Path

import numpy as np

from dkt.base.checksums import write_recorded
from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.directory_lock import require_lock
from dkt.base.errors import DktError
from dkt.base.files import read_file, replace_file
from dkt.base.tally import DEFAULT_MAX_DROPPED, Tally
from dkt.decoder.decodable import AcousticModel, GivenLoglikes
from dkt.decoder.training_graph import TrainingGraphCompiler
from dkt.decoder.viterbi import AlignOptions
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.gmm.gmm import AmDiagGmm, load_gmm
from dkt.gmm.workers import AlignWorker, Utterance, WorkerPool
from dkt.hmm.alignment_quality import AlignmentQuality, SilencePhones, judge_and_tell
from dkt.hmm.topology import load_topology
from dkt.hmm.transition_model import TransitionModel, load_transition_model
from dkt.hmm.tree import load_tree, monophone_transition_model, monophone_tree
from dkt.matrix.matrix_io import encode_int_vector
from dkt.util.data_dir import DataDir
from dkt.util.oov import DEFAULT_MAX_OOV, OovCount
from dkt.util.split_data import split_utterances
from dkt.util.symbols import read_symbol_table, transcripts_to_ints
from dkt.util.table import read_matrices
from dkt.util.text import fields, natural, read_lines

logger = logging.getLogger(__name__)

_BLOCK_UTTERANCES = 16


class TranscribedData:
    """The utterances of a data directory that have both features and a transcript.

    Args:
        data: the data directory.
        lang_dir: the lang directory.
        options: what is done to the features.
        oov_policy: see ``transcripts_to_ints``.
        tally: counts the utterances that have one without the other.
        loglikes: a table to read instead of the features.
        max_oov: the share of words that may be outside the lexicon.

    Attributes:
        names: the utterances, in the order of their bytes.
        oov: the words outside the lexicon.

    Raises:
        DktError: a file is missing or malformed, an utterance has no speaker, or more than ``max_oov`` of
            the words are outside the lexicon.
    """

    def __init__(
        self,
        data: DataDir,
        lang_dir: Path,
        options: FeatureOptions,
        oov_policy: str,
        tally: Tally,
        loglikes: str | None = None,
        max_oov: float = DEFAULT_MAX_OOV,
    ) -> None:
        data.check_sorted()
        _check_for_quality(data, lang_dir)
        self._loglikes = loglikes
        self._tally = tally
        self._reader = None if loglikes else FeatureReader(data, options)
        with_features, with_text = set(data.feats_scp), set(data.text)
        for name in sorted(with_text - with_features):
            tally.drop(name, "it has a transcript but no features")
        for name in sorted(with_features - with_text):
            tally.drop(name, "it has features but no transcript")
        self.names = sorted(with_features & with_text)
        for name in self.names:
            if name not in data.utt2spk:
                raise DktError("has no speaker", path=data.path / "utt2spk", utt=name)
        oov = read_oov(lang_dir)
        words, path = read_symbol_table(lang_dir / "words.txt"), data.path / "text"
        transcripts = {name: fields(data.text[name]) for name in self.names}
        self._words = transcripts_to_ints(
            transcripts, words, oov, policy=oov_policy, path=path, max_oov=max_oov
        )
        self.oov = OovCount.of(transcripts.values(), words, path, oov)

    def __iter__(self) -> Iterator[Utterance]:
        missing = dict.fromkeys(self.names)
        for name, matrix in self._reader or read_matrices(str(self._loglikes)):
            if name in self._words:
                missing.pop(name, None)
                yield Utterance(name, self._words[name], matrix)
        for name in missing:
            self._tally.drop(name, f"it is not in {self._loglikes or 'feats.scp'}")


def _check_for_quality(data: DataDir, lang: Path) -> None:
    """Read what is not needed before the alignments are there, so that hours of work do not end in an error.

    Raises:
        DktError: the frame shift is impossible, or the table or the lists of the phones are malformed.
    """
    _ = data.frame_shift
    _check_phone_files(lang)


def read_oov(lang: Path) -> str | None:
    """The word of ``oov.txt``, which stands for those outside the lexicon; None if the file is empty."""
    return next(iter(fields(" ".join(read_lines(lang / "oov.txt")))), None)


def _check_phone_files(lang: Path) -> None:
    read_symbol_table(lang / "phones.txt")
    SilencePhones.of(None, lang)


def check_lang(lang: Path) -> None:
    """Read a lang directory as the training of a monophone system does.

    Raises:
        DktError: a file is missing or malformed, or they do not go together.
    """
    _check_phone_files(lang)
    transcripts_to_ints({}, read_symbol_table(lang / "words.txt"), read_oov(lang), path=lang / "oov.txt")
    topology = load_topology(lang / "topo")
    tree = monophone_tree(read_phones(lang / "phones" / "sets.int"), topology)
    transitions = monophone_transition_model(tree, topology)
    find_optional_silence(transitions, lang)
    TrainingGraphCompiler(tree, transitions, lang)


def align_directory(
    data_dir: str | Path,
    lang_dir: str | Path,
    model_dir: str | Path,
    ali_dir: str | Path,
    *,
    loglikes: str | None = None,
    options: AlignOptions | None = None,
    num_jobs: int = 1,
    silence_boost: float = 1.0,
    oov_policy: str = "map",
    max_dropped: float = DEFAULT_MAX_DROPPED,
    max_oov: float = DEFAULT_MAX_OOV,
    allow_implausible: bool = False,
) -> None:
    """Align a data directory and write an alignment directory, as Kaldi's ``steps/align_si.sh`` does.

    Args:
        data_dir: with ``feats.scp``, ``cmvn.scp``, ``text`` and ``utt2spk``.
        lang_dir: the lang directory.
        model_dir: with ``final.mdl``, ``tree`` and the option files of the features.
        ali_dir: the directory to write.
        loglikes: rspecifier of the log-likelihoods of all pdfs, shape ``(T, P)`` per utterance, of any model,
            as in ``steps/nnet/align.sh``; None to have the GMM of ``final.mdl`` score the features.
        options: beams and scales.
        num_jobs: the number of processes, and of ``ali.JOB.gz``.
        silence_boost: factor on the likelihoods of the optional silence.
        oov_policy: what is done about words outside the lexicon, see ``transcripts_to_ints``.
        max_dropped: the share of utterances that may fail.
        max_oov: the share of words that may be outside the lexicon.
        allow_implausible: alignments that cannot be right are only warned of.

    Raises:
        DktError: an input is wrong, too many utterances fail, the alignments cannot be right, or ``ali_dir``
            holds something else than alignments.
    """
    lang, source, target = Path(lang_dir), Path(model_dir), Path(ali_dir)
    _check_target(target, source)
    check_phones(lang / "phones.txt", source / "phones.txt")
    files = _read_model_files(source, lang)
    transitions, model = _load_model(source, lang, loglikes, silence_boost)
    tree, data, tally = load_tree(source / "tree"), DataDir(data_dir), Tally("align", max_dropped)
    features = FeatureOptions.of_gmm_dir(source)
    corpus = TranscribedData(data, lang, features, oov_policy, tally, loglikes, max_oov)
    jobs = split_into_jobs(data.utt2spk, num_jobs)
    with WorkerPool(num_jobs, AlignWorker, tree, transitions, lang, model, options or AlignOptions()) as pool:
        alignments, num_retried = _align_corpus(pool, corpus, tally)
    tally.finish(str(data.path))
    tell_quality(data, lang, transitions, alignments, num_retried, corpus.oov, allow_implausible)
    write_alignment_dir(target, lambda: write_model_files(target, files), jobs, alignments)


def _check_target(target: Path, source: Path) -> None:
    """Raise DktError if the alignments would be written over something else."""
    if source.resolve() == target.resolve():
        raise DktError("is the directory of the model", path=target, hint="align into a directory of its own")
    refuse_other_kinds(target, Kind.ALIGNMENTS, source / "final.mdl")


def _load_model(
    source: Path, lang: Path, loglikes: str | None, silence_boost: float
) -> tuple[TransitionModel, AcousticModel]:
    if loglikes is None:
        transitions, gmm = load_gmm(source / "final.mdl")
        silence = find_optional_silence(transitions, lang)
        return transitions, boost_silence(gmm, transitions, silence, silence_boost)
    if silence_boost != 1.0:
        raise DktError("--boost-silence is of the GMM, it does not go with --loglikes")
    transitions = load_transition_model(source / "final.mdl")
    return transitions, GivenLoglikes(transitions.num_pdfs)


def tell_quality(
    data: DataDir,
    lang: Path,
    transitions: TransitionModel,
    alignments: Mapping[str, np.ndarray],
    num_retried: int,
    oov: OovCount,
    allow_implausible: bool,
) -> None:
    """Log what alignments look like; raises DktError if they cannot be right (``judge_and_tell``)."""
    quality = AlignmentQuality(transitions, SilencePhones.of(None, lang), data.frame_shift, num_retried)
    for utt, ids in alignments.items():
        quality.add(utt, ids)
    judge_and_tell(quality, data.path, oov.figures(), allow_implausible)


def _align_corpus(
    pool: WorkerPool, corpus: TranscribedData, tally: Tally
) -> tuple[dict[str, np.ndarray], int]:
    """The alignments, and how many of them needed the wider beam."""
    alignments: dict[str, np.ndarray] = {}
    loglike, num_retried = 0.0, 0
    pending: deque[tuple[list[str], Future]] = deque()

    def collect() -> None:
        nonlocal loglike, num_retried
        names, future = pending.popleft()
        for name, result in zip(names, pool.result(future), strict=True):
            if isinstance(result, str):
                tally.drop(name, result)
                continue
            tally.done()
            alignments[name] = result.transition_ids
            loglike += result.loglike
            num_retried += result.retried

    for number, block in enumerate(blocks(corpus, _BLOCK_UTTERANCES)):
        if len(pending) >= 2 * len(pool):
            collect()
        pending.append(([u.name for u in block], pool.submit(number, "align", block)))
    while pending:
        collect()
    num_frames = sum(map(len, alignments.values()))
    logger.info("loglike per frame %.4f over %d frames", loglike / max(num_frames, 1), num_frames)
    logger.info("retried %d utterances with the wider beam", num_retried)
    return alignments, num_retried


def blocks(utterances: Iterable[Utterance], size: int) -> Iterator[list[Utterance]]:
    """Utterances in lists of ``size``; the last may be shorter."""
    iterator = iter(utterances)
    while block := list(islice(iterator, size)):
        yield block


def check_phones(expected: Path, found: Path) -> None:
    """Raise DktError unless two ``phones.txt`` have the same phones; disambiguation symbols do not count.

    As in Kaldi, the directory of a model may be without one.
    """
    if not found.exists():
        logger.warning("%s does not exist: the phones of model and lang directory were not compared", found)
        return
    tables = [
        {phone: index for phone, index in read_symbol_table(path).items() if not phone.startswith("#")}
        for path in (expected, found)
    ]
    if tables[0] != tables[1]:
        raise DktError(
            f"the phones are not those of {expected}",
            path=found,
            hint="use the lang directory that the model was trained with, or another directory to train in",
        )


def find_optional_silence(transitions: TransitionModel, lang_dir: Path) -> np.ndarray:
    """Which transition-ids are of the optional silence, shape ``(num_transition_ids + 1,)``, bool."""
    phones = list(chain(*read_phones(lang_dir / "phones" / "optional_silence.csl")))
    return np.isin(transitions.id2phone, phones)


def read_phones(path: Path) -> list[list[int]]:
    """Lists of phones as integers, one list per line, parted by spaces or colons (``sets.int``, ``*.csl``).

    Raises:
        DktError: the file is missing or holds something else.
    """
    rows = [[natural(phone) for phone in fields(line.replace(":", " "))] for line in read_lines(path)]
    if None in chain(*rows):
        raise DktError("expected integers of phones", path=path)
    return [[phone for phone in row if phone is not None] for row in rows]


def boost_silence(
    gmm: AmDiagGmm, transitions: TransitionModel, is_silence: np.ndarray, factor: float
) -> AmDiagGmm:
    """The model with the likelihoods of silence multiplied by ``factor`` (``gmm-boost-silence``).

    Args:
        gmm: the model.
        transitions: its transition model.
        is_silence: see ``find_optional_silence``.
        factor: 1 leaves the model as it is.
    """
    if not factor > 0:
        raise DktError(f"--boost-silence is {factor:g}, expected a positive number")
    return gmm if factor == 1.0 else gmm.boost(np.unique(transitions.id2pdf[is_silence]), factor)


def split_into_jobs(utt2spk: Mapping[str, str], num_jobs: int) -> list[list[str]]:
    """The utterances of each job: those of the parts that ``utils/split_data.sh`` makes of the directory.

    Raises:
        DktError: there are fewer utterances than jobs.
    """
    return [[utt for utt, _ in part] for part in split_utterances(list(utt2spk.items()), num_jobs)]


def write_alignment_dir(
    directory: Path,
    write_model: Callable[[], None],
    jobs: Sequence[Sequence[str]],
    alignments: Mapping[str, np.ndarray],
) -> None:
    """Write an alignment directory: the model, ``ali.JOB.gz`` and ``num_jobs``.

    Without ``num_jobs`` a directory is not one of alignments. It is the first to go and the last to come, so
    that one whose writing was interrupted is never taken for a whole one.

    Args:
        directory: the directory; what it holds of other alignments is removed.
        write_model: writes everything else.
        jobs: the utterances of each job; those without alignment are left out.
        alignments: utterance to transition-ids.
    """
    directory.mkdir(parents=True, exist_ok=True)
    require_lock(directory)
    (directory / "num_jobs").unlink(missing_ok=True)
    for old in directory.glob("ali.*.gz"):
        old.unlink()
    write_model()
    for job, names in enumerate(jobs, 1):
        entries = [
            name.encode() + b" " + encode_int_vector(alignments[name], False)
            for name in names
            if name in alignments
        ]
        replace_file(directory / f"ali.{job}.gz", gzip.compress(b"".join(entries), mtime=0))
    replace_file(directory / "num_jobs", b"%d\n" % len(jobs))


_OF_FEATURES = ("final.occs", "cmvn_opts", "delta_opts", "splice_opts", "final.mat", "full.mat")
#: What an alignment directory has of that of its model.
# The model goes first and comes last: it must never stand beside the tree or transform of another.
MODEL_FILES = ("phones.txt", "tree", *_OF_FEATURES, "final.mdl")
_OBJECTS = ("tree", "final.mat", "full.mat", "final.mdl")


def _read_model_files(source: Path, lang: Path) -> dict[str, bytes]:
    """What the alignment directory gets of that of the model, in the order in which it is written.

    It is read before the work begins: what cannot be read would be told at its end.
    """
    places = {name: (lang if name == "phones.txt" else source) / name for name in MODEL_FILES}
    return {
        name: read_file(path) for name, path in places.items() if name not in _OF_FEATURES or path.exists()
    }


def write_model_files(target: Path, files: Mapping[str, bytes]) -> None:
    """Write the files that come with alignments, those of another model removed first."""
    for name in ("final.mdl", "tree", *_OF_FEATURES):
        (target / name).unlink(missing_ok=True)
    for name, data in files.items():
        (write_recorded if name in _OBJECTS else replace_file)(target / name, data)
