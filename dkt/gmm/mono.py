"""Training of a monophone GMM system from a flat start (Kaldi's ``steps/train_mono.sh``)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.errors import DktError
from dkt.base.files import read_file, replace_file, replace_link
from dkt.base.findings import VERBOSE, list_names, some
from dkt.base.tally import DEFAULT_MAX_DROPPED, Tally
from dkt.decoder.viterbi import AlignOptions
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.speech_activity import leaning, main_direction
from dkt.gmm.align import (
    TranscribedData,
    blocks,
    boost_silence,
    check_phones,
    find_optional_silence,
    read_phones,
    split_into_jobs,
    tell_quality,
    write_alignment_dir,
)
from dkt.gmm.flat_start import FlatStart, Speech
from dkt.gmm.gmm import AmDiagGmm, load_gmm, save_gmm
from dkt.gmm.mle import GmmStats, MleOptions, mix_up, split_targets, update_gmm, update_transitions
from dkt.gmm.workers import AlignReport, TrainingWorker, WorkerPool, sum_arrays
from dkt.hmm.topology import load_topology
from dkt.hmm.transition_model import TransitionModel
from dkt.hmm.tree import ContextDependency, monophone_transition_model, monophone_tree, save_tree
from dkt.util.data_dir import DataDir
from dkt.util.object_io import ObjectWriter
from dkt.util.oov import DEFAULT_MAX_OOV

logger = logging.getLogger(__name__)

# Statistics are summed block by block, whatever the number of processes: the result is then always the same.
_MAX_BLOCKS = 64
# Silence is split in two twice, and four times re-estimated after each.
_SILENCE_ITERS, _SILENCE_SPLIT_ITERS = 8, (0, 4)
_MIN_SPLIT_FRAMES = 40  # of each Gaussian that is split
# Starts are tried on so many utterances or blocks, and so many iterations.
_TRIAL_UTTS, _MIN_TRIAL_BLOCKS, _TRIAL_ITERS = 120, 4, 4
_CLEARLY_BETTER = 2.0  # nats per frame: by less, likelihood does not foretell the word error rate
_CLEAR_LEANING = 1.25
# Frames, and the share of all in longer silence: strings of digits with gaps of up to 0.2 s have 0.15 to 0.2,
# as weak sounds seem quiet; words with gaps of up to 0.4 s 0.3, with pauses up to 2 s 0.5 and more.
_LONG_PAUSE, _MANY_PAUSES = 30, 0.25
# Nats per frame of silence that four Gaussians gain: up to 3 where pauses are alike, 13 and more where they
# are of several noises or of digital silence, too.
_SEVERAL_KINDS = 4.0
_SILENCE_PERTURB = 0.2  # standard deviations: so few iterations must find the parts
# The least variance of silence over that of all frames, where there are many pauses. Noise that is as loud in
# all recordings of a speaker makes Gaussians so narrow that another speaker's, a little louder, sounds like
# anything but silence: of real digits with pauses the error rate was 7 to 40 % by the seed, and is 7 to 8.
_VARIANCE_FLOOR = 0.1
_FLAT_START_MLE = MleOptions(min_gaussian_occupancy=3.0)  # else rare phones are never estimated
_REALIGN_ITERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 23, 26, 29, 32, 35, 38)


@dataclass(frozen=True)
class MonoOptions:
    """Options of training, with the names and defaults of Kaldi's ``steps/train_mono.sh``.

    Attributes:
        nj: the number of processes, and of ``ali.JOB.gz``.
        num_iters: the model of this number is the final one.
        totgauss: the number of Gaussians aimed at.
        max_iter_inc: the last iteration after which Gaussians are added.
        realign_iters: the iterations that begin with an alignment.
        cmvn_opts, delta_opts: options of ``apply-cmvn`` and ``add-deltas``.
        boost_silence: factor on the likelihoods of the optional silence in alignment.
        power: the exponent of a pdf's frames in its share of the Gaussians.
        seed: of the random directions in which Gaussians are split.
        oov_policy: what is done about words outside the lexicon, ``map`` or ``error``.
        max_dropped: the share of utterances that may fail.
        max_oov: the share of words that may be outside the lexicon.
        allow_implausible: a last alignment that cannot be right is only warned of.
        initial_beam, regular_beam, retry_beam: of the first alignment, the later ones, and second tries.
    """

    nj: int = 1
    num_iters: int = 40
    totgauss: int = 1000
    max_iter_inc: int = 30
    realign_iters: tuple[int, ...] = _REALIGN_ITERS
    cmvn_opts: str = ""
    delta_opts: str = ""
    boost_silence: float = 1.0
    power: float = 0.25
    seed: int = 0
    oov_policy: str = "map"
    max_dropped: float = DEFAULT_MAX_DROPPED
    max_oov: float = DEFAULT_MAX_OOV
    allow_implausible: bool = False
    initial_beam: float = 6.0
    regular_beam: float = 10.0
    retry_beam: float = 40.0

    def __post_init__(self) -> None:
        if self.num_iters < 2 or self.max_iter_inc < 1:
            given = f"--num-iters is {self.num_iters} and --max-iter-inc {self.max_iter_inc}"
            raise DktError(f"{given}, expected at least 2 and 1")
        if self.seed < 0:
            raise DktError(f"--seed is {self.seed}, expected 0 or more")


class MonoTrainer:
    """The model in training and the passes over the data.

    Args:
        pool: processes of ``TrainingWorker`` that have all data.
        is_silence: the transition-ids of the optional silence, see ``find_optional_silence``.
        transitions: the transition model to begin with.
        gmm: the mixtures to begin with, all of one Gaussian of all frames.
        options: see ``MonoOptions``.

    Attributes:
        loglikes: log-likelihood per frame of each pass, that of the flat start first.
        occupancies: frames of every pdf in the last pass, shape ``(P,)``.
        report: on the last alignment.
    """

    def __init__(
        self,
        pool: WorkerPool,
        is_silence: np.ndarray,
        transitions: TransitionModel,
        gmm: AmDiagGmm,
        options: MonoOptions,
    ) -> None:
        self.pool = pool
        self.is_silence = is_silence
        self.transitions = transitions
        self.gmm = gmm
        self.options = options
        self.loglikes: list[float] = []
        self.occupancies = np.zeros(gmm.num_pdfs)
        self.report = AlignReport()
        self._is_silence_pdf = np.isin(np.arange(gmm.num_pdfs), transitions.id2pdf[is_silence])
        # A flat start has the variance of all frames in every pdf.
        self._trial_floors = _VARIANCE_FLOOR / gmm.inv_vars
        self._floors = np.zeros_like(self._trial_floors)
        self._in_trial = False

    def train(self) -> None:
        """Train from the flat start to the final model."""
        start = self._choose_start()
        if start.speech is not Speech.UNKNOWN:
            self._floors = self._trial_floors * self._is_silence_pdf[:, None]
        self._start(start)
        target = self.gmm.num_gauss
        step = max(0, self.options.totgauss - target) // self.options.max_iter_inc
        for iteration in range(1, self.options.num_iters):
            if iteration in self.options.realign_iters:
                self._align(iteration)
            self._update(iteration, target, MleOptions())
            if iteration <= self.options.max_iter_inc:
                target += step

    def count_losses(self, num_aligned: int, path: Path) -> None:
        """Name the utterances that the last alignment lost; raises DktError if they are too many."""
        tally = Tally("train-mono: last alignment", self.options.max_dropped)
        tally.done(num_aligned)
        for name, reason in sorted(self.report.failed.items()):
            tally.drop(name, reason)
        tally.finish(str(path))

    def _start(self, start: FlatStart) -> None:
        self._report("flat start: aligned", self.pool.call_all("align_flat", self.is_silence, start))
        self._update(0, self.gmm.num_gauss, _FLAT_START_MLE)
        if start.speech is not Speech.UNKNOWN:  # on a random path, silence has frames of all kinds of speech
            self._fit_silence()

    def _starts(self) -> list[FlatStart]:
        """The starts to try, that which seems right first; only a random path where there are few pauses."""
        deltas = FeatureOptions(delta_opts=self.options.delta_opts).parse_deltas("--delta-opts")
        num_static = self.gmm.dim // (deltas.delta_order + 1) if deltas else self.gmm.dim
        direction = main_direction(sum_arrays(self._of_blocks("correlations", num_static)))
        upper = leaning(sum_arrays(self._of_blocks("evidence", direction)))
        quiet = FlatStart(Speech.UPPER if upper >= 0 else Speech.LOWER, direction)
        random = FlatStart(Speech.UNKNOWN, direction)
        self.pool.call_all("align_flat", self.is_silence, quiet)
        in_pauses, total = sum_arrays(self._of_blocks("pauses", self.is_silence, _LONG_PAUSE)).tolist()
        share = in_pauses / max(total, 1.0)
        logger.info("flat start: %.1f %% of the frames seem to be in long pauses", 100 * share)
        if share < _MANY_PAUSES:
            return [random]
        return [quiet, random] if abs(upper) >= _CLEAR_LEANING else [random, quiet]

    def _choose_start(self) -> FlatStart:
        """Try the starts on some of the utterances; the first is taken unless another is clearly better."""
        self.pool.call_all("choose", self._trial_blocks())
        starts = self._starts()
        loglikes = [self._try(start) for start in starts] if len(starts) > 1 else []
        self.pool.call_all("choose", None)
        chosen = starts[0]
        if loglikes and max(loglikes) > loglikes[0] + _CLEARLY_BETTER:
            chosen = starts[int(np.argmax(loglikes))]
        for start, loglike in zip(starts, loglikes, strict=False):
            logger.info("flat start, speech %s: loglike per frame %.4f", start.speech.value, loglike)
        logger.info("flat start, speech %s: chosen", chosen.speech.value)
        return chosen

    def _try(self, start: FlatStart) -> float:
        """The log-likelihood per frame a few iterations after a start; the model stays what it was."""
        begin = self.transitions, self.gmm
        # A phone that has taken even noise for its own would be rewarded beyond all measure.
        self._in_trial, self._floors = True, self._trial_floors
        self._start(start)
        for iteration in range(1, _TRIAL_ITERS + 1):
            self._align(iteration)
            self._update(iteration, self.gmm.num_gauss, MleOptions())
        self._in_trial = False
        loglike = self.loglikes[-1]
        self.transitions, self.gmm = begin
        self._floors = np.zeros_like(self._trial_floors)
        self.loglikes = []
        return loglike

    def _trial_blocks(self) -> list[int]:
        """Blocks from all over the data, of some hundred utterances or a share of very many."""
        sizes = self._of_blocks("block_size")
        count = max(_MIN_TRIAL_BLOCKS, -(-len(sizes) * _TRIAL_UTTS // max(sum(sizes), 1)))
        count = min(count, len(sizes))
        return [place * len(sizes) // count for place in range(count)]

    def _fit_silence(self) -> None:
        """Give silence several Gaussians before the first alignment, if it is of several kinds.

        Where pauses are of digital silence and noise, or of two noises, one Gaussian fits the more frequent
        and the alignment gives the other to the phones beside: words are then recognised in the noise of
        unseen speakers. Where all are alike, more Gaussians than speech has would take its weak sounds.
        """
        is_silence = self._is_silence_pdf
        num_frames = self.occupancies[is_silence].sum()
        before, stats = self.gmm, self._accumulate()
        first = stats.loglike
        for iteration in range(_SILENCE_ITERS if num_frames else 0):
            self.gmm, _ = update_gmm(self.gmm, stats, _FLAT_START_MLE, self._floors)
            if iteration in _SILENCE_SPLIT_ITERS:
                sizes = np.diff(self.gmm.offsets)
                sizes[is_silence & (self.occupancies >= _MIN_SPLIT_FRAMES * sizes)] *= 2
                rng = np.random.default_rng([self.options.seed, 0, iteration])
                self.gmm = mix_up(self.gmm, sizes, rng, _SILENCE_PERTURB)
            stats = self._accumulate()
        gain = (stats.loglike - first) / max(num_frames, 1.0)
        logger.info("silence of several Gaussians: %.2f nats per frame more", gain)
        if gain < _SEVERAL_KINDS:
            self.gmm = before

    def _align(self, iteration: int) -> None:
        options = self.options
        boosted = boost_silence(self.gmm, self.transitions, self.is_silence, options.boost_silence)
        beam = options.initial_beam if iteration == 1 else options.regular_beam
        search = AlignOptions(beam, options.retry_beam)
        reports = self.pool.call_all("align", self.transitions, boosted, search)
        self._report(f"iteration {iteration}: aligned", reports)

    def _report(self, what: str, reports: Sequence[AlignReport]) -> None:
        self.report = AlignReport()
        for report in reports:
            self.report.add(report)
        if self._in_trial:
            return
        if failed := sorted(self.report.failed):
            logger.warning("%s, but for %d utterances: %s", what, len(failed), some(failed, VERBOSE))
            list_names(logger, "not aligned", [f"{utt}: {self.report.failed[utt]}" for utt in failed])
        if self.report.num_retried:
            logger.info("%s, %d utterances in the second try", what, self.report.num_retried)

    def _update(self, iteration: int, target: int, mle: MleOptions) -> None:
        stats = self._accumulate()
        self.occupancies = stats.pdf_occupancies(self.gmm)
        self.loglikes.append(stats.loglike / stats.num_frames)
        self.transitions = update_transitions(self.transitions, stats.transition_counts)
        gmm, report = update_gmm(self.gmm, stats, mle, self._floors)
        targets = split_targets(self.occupancies, target, self.options.power)
        self.gmm = mix_up(gmm, targets, np.random.default_rng([self.options.seed, iteration]))
        logger.info(
            f"iteration {iteration}: loglike per frame {self.loglikes[-1]:.4f} over {stats.num_frames} "
            f"frames, objective {report.objf_change / stats.num_frames:+.4f}, "
            f"{self.gmm.num_gauss} Gaussians ({report.num_removed} removed)"
        )

    def _of_blocks(self, method: str, *args: object) -> list[Any]:
        """What ``method`` of the workers gives for each block, in the order of the blocks."""
        parts = self.pool.call_all(method, *args)
        return [s for _, s in sorted(((n, s) for part in parts for n, s in part.items()), key=itemgetter(0))]

    def _accumulate(self) -> GmmStats:
        total = GmmStats.zeros(self.gmm, self.transitions)
        for stats in self._of_blocks("accumulate", self.transitions, self.gmm):
            total.add(stats)
        if total.num_frames == 0:
            raise DktError(
                f"no utterance could be aligned: {'; '.join(sorted(set(self.report.failed.values()))[:3])}",
                hint="do the transcripts belong to the features?",
            )
        return total


def train_mono(
    data_dir: str | Path, lang_dir: str | Path, exp_dir: str | Path, options: MonoOptions | None = None
) -> MonoTrainer:
    """Train a monophone system and write its directory, as Kaldi's ``steps/train_mono.sh`` does.

    Args:
        data_dir: with ``feats.scp``, ``cmvn.scp``, ``text`` and ``utt2spk``.
        lang_dir: the lang directory.
        exp_dir: the directory to write: ``final.mdl``, ``final.occs``, ``tree``, ``ali.JOB.gz``,
            ``num_jobs``, ``phones.txt`` and the option files of the features.
        options: see ``MonoOptions``.

    Returns:
        The trainer, with what it logged.

    Raises:
        DktError: an input is wrong, too many utterances fail, the last alignment cannot be right, or
            ``exp_dir`` holds a system of another kind.
    """
    options = options or MonoOptions()
    lang, target = Path(lang_dir), Path(exp_dir)
    refuse_other_kinds(target, Kind.GMM)
    if (target / "phones.txt").exists():
        check_phones(lang / "phones.txt", target / "phones.txt")
    data = DataDir(data_dir)
    corpus = _read_corpus(data, lang, options)
    jobs = split_into_jobs(data.utt2spk, options.nj)

    topology = load_topology(lang / "topo")
    tree = monophone_tree(read_phones(lang / "phones" / "sets.int"), topology)
    transitions = monophone_transition_model(tree, topology)
    is_silence = find_optional_silence(transitions, lang)
    with WorkerPool(options.nj, TrainingWorker, tree, transitions, lang) as pool:
        mean, variance = _load(pool, corpus, data.path)
        _check_target(target, len(mean))
        flat = AmDiagGmm.flat(mean, variance, tree.num_pdfs)
        trainer = MonoTrainer(pool, is_silence, transitions, flat, options)
        trainer.train()
        alignments = {k: v for part in pool.call_all("alignments") for k, v in part.items()}
    trainer.count_losses(len(alignments), data.path)
    retried, allow = trainer.report.num_retried, options.allow_implausible
    tell_quality(data, lang, trainer.transitions, alignments, retried, corpus.oov, allow)
    write_alignment_dir(target, lambda: _write_system(target, lang, tree, trainer), jobs, alignments)
    return trainer


def _read_corpus(data: DataDir, lang: Path, options: MonoOptions) -> TranscribedData:
    tally = Tally("train-mono: data", options.max_dropped)
    features = FeatureOptions(cmvn_opts=options.cmvn_opts, delta_opts=options.delta_opts)
    corpus = TranscribedData(data, lang, features, options.oov_policy, tally, max_oov=options.max_oov)
    tally.done(len(corpus.names))
    tally.finish(str(data.path))
    return corpus


def _load(pool: WorkerPool, corpus: TranscribedData, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Hand the utterances out; returns mean and variance of all features."""
    size = -(-len(corpus.names) // _MAX_BLOCKS)
    calls: list[Future] = []
    count, sums = 0, np.zeros(1)
    for number, block in enumerate(blocks(corpus, size)):
        calls.append(pool.submit(number, "load", number, block))
        frames = np.concatenate([utterance.features for utterance in block]).astype(np.float64)
        count += len(frames)
        sums = sums + np.stack([frames.sum(axis=0), (frames**2).sum(axis=0)])
        pool.result(calls[max(0, number - 2 * len(pool))])  # let nothing pile up unread
    for call in calls:
        pool.result(call)
    mean = sums[0] / count
    variance = sums[1] / count - mean**2
    if not (variance > 0).all():
        constant = np.flatnonzero(~(variance > 0)).tolist()
        raise DktError(f"feature dimensions {constant} never change", path=path / "feats.scp")
    return mean, variance


def _check_target(target: Path, dim: int) -> None:
    """Refuse a directory whose files would belong to two systems."""
    hint = "train in another directory, or remove this one"
    if (target / "final.mat").exists():
        raise DktError("is the transform of another system", path=target / "final.mat", hint=hint)
    old = target / "final.mdl"
    if old.exists() and (old_dim := load_gmm(old)[1].dim) != dim:
        raise DktError(
            f"is a system of feature dimension {old_dim}, that of these data is {dim}", path=old, hint=hint
        )


def _write_system(target: Path, lang: Path, tree: ContextDependency, trainer: MonoTrainer) -> None:
    options = trainer.options
    # The model goes first and comes last: it must never stand beside the tree of another.
    numbered = [*target.glob("[0-9]*.mdl"), *target.glob("[0-9]*.occs")]
    for old in [target / "final.mdl", target / "final.occs", *numbered, target / "delta_opts"]:
        old.unlink(missing_ok=True)
    replace_file(target / "phones.txt", read_file(lang / "phones.txt"))
    replace_file(target / "cmvn_opts", f"{options.cmvn_opts}\n".encode())
    if options.delta_opts:
        replace_file(target / "delta_opts", f"{options.delta_opts}\n".encode())
    save_tree(target / "tree", tree)
    occs = ObjectWriter(binary=False)
    occs.vector(trainer.occupancies)
    occs.save(target / f"{options.num_iters}.occs")
    save_gmm(target / f"{options.num_iters}.mdl", trainer.transitions, trainer.gmm)
    for kind in ("occs", "mdl"):
        replace_link(target / f"final.{kind}", f"{options.num_iters}.{kind}")
