"""Is a data directory with its alignments fit to train on? Every fault is found in one go, and what it costs.

Errors are what a training would stop at or learn nonsense from; what it gets over is a warning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.findings import Findings, Level, plural, some
from dkt.base.tally import DEFAULT_MAX_DROPPED, Tally
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.hmm.alignment_quality import FEWEST_UTTS, AlignmentQuality, SilencePhones, judge_silence
from dkt.hmm.alignments import LENGTH_TOLERANCE, AlignmentDir
from dkt.util.data_dir import DEFAULT_FRAME_SHIFT, DataDir
from dkt.util.oov import DEFAULT_MAX_OOV
from dkt.util.table import read_matrices
from dkt.validate.alignments import (
    AlignmentLengths,
    check_tree,
    compare_models,
    compare_phones,
    compare_with_features,
    open_ali_dir,
    read_all_labels,
)
from dkt.validate.data import DataCheckOptions, DataFiles
from dkt.validate.data_facts import DataFacts, TrainingConfig
from dkt.validate.feats import Features, check_cmvn, compare_num_frames, read_all_features
from dkt.validate.text import Transcripts, check_empty, check_lang_files, check_words

_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class CheckOptions:
    """What is checked, and how strictly.

    Attributes:
        data: what the data directory need not have.
        read_feats: read all features; else only the lengths that ``utt2num_frames`` tells are compared.
        frame_shift: seconds; None for what the data directory tells.
        max_dropped: the share of utterances that may be lost.
        strict: warnings are errors, as they mostly are to ``utils/validate_data_dir.sh``.
        pipeline: what the training does to the features; None if that is not known.
        side: its transforms and i-vectors.
        recipe: the configuration of a network's training; None if that is not known.
        num_jobs: jobs of the training; None for any number.
        max_oov: the share of words that may be outside the lexicon.
        allow_implausible: alignments that cannot be right are only warned of.
        train_data: the training data, where those that are checked are dev data.
        list_file: where all names at fault and all lost utterances will be listed; None for nowhere.
    """

    data: DataCheckOptions = field(default_factory=DataCheckOptions)
    read_feats: bool = True
    frame_shift: float | None = None
    max_dropped: float = DEFAULT_MAX_DROPPED
    strict: bool = False
    pipeline: FeatureOptions | None = None
    side: SpeakerInputs = field(default_factory=SpeakerInputs)
    recipe: TrainingConfig | None = None
    num_jobs: int | None = None
    max_oov: float = DEFAULT_MAX_OOV
    allow_implausible: bool = False
    train_data: DataDir | None = None
    list_file: str | None = None


class Report:
    """What a check found, and what a training could use.

    Args:
        data: the data directory.
        options: what was checked.
    """

    def __init__(self, data: DataDir, options: CheckOptions) -> None:
        self.data = data
        self.options = options
        self.findings = Findings(options.list_file)
        self.tally = Tally(str(data.path), options.max_dropped, self.findings.place)
        self.frame_shift = self._frame_shift()
        self.frames_used = 0
        self.silent_frames = 0
        self.longest = 0
        self.frames_lost: dict[str, float] = {}

    def _frame_shift(self) -> float:
        try:
            told = self.data.frame_shift
        except DktError as error:
            # Only the alignment of a GMM reads it; here another may be given.
            level = Level.ERROR if self.options.data.transcribed else Level.WARNING
            self.findings.add(level, "frame_shift", str(error))
            told = DEFAULT_FRAME_SHIFT
        return told if self.options.frame_shift is None else self.options.frame_shift

    def use(self, frames: int, silent: bool = False) -> None:
        """Count an utterance as used; ``silent`` is one in which nothing was said."""
        self.tally.done()
        self.frames_used += frames
        self.silent_frames += frames * silent
        self.longest = max(self.longest, frames)

    def lose(self, utt: str, reason: str, frames: float) -> None:
        """Count an utterance as lost. The report names it, so that it needs no line in the log."""
        self.tally.dropped[reason].append(utt)
        self.frames_lost[reason] = self.frames_lost.get(reason, 0) + frames

    def _hours(self, frames: float) -> str:
        return f"{frames * self.frame_shift / _SECONDS_PER_HOUR:.3f}"

    def summary(self) -> str:
        """How much would be used of how much; then a line for each reason of a loss."""
        lost = sum(self.frames_lost.values())
        done, dropped = self.tally.num_done, self.tally.num_dropped
        share = 100.0 * dropped / max(done + dropped, 1)
        hours = f"{self._hours(self.frames_used)} of {self._hours(self.frames_used + lost)} hours"
        lines = [
            f"{self.data.path}: {done} of {plural(done + dropped, 'utterance')}, {hours}, would be used; "
            f"{dropped} ({share:.2f} %), {self._hours(lost)} hours, would be lost"
        ]
        for reason, utts in self.tally.dropped.items():
            hours, named = self._hours(self.frames_lost[reason]), some(utts, f"all in {self.findings.place}")
            lines.append(f"  {plural(len(utts), 'utterance')}, {hours} hours: {reason} ({named})")
        return "\n".join(lines)

    def listed(self) -> list[str]:
        """A line for each name at fault and each lost utterance."""
        lost = [f"lost\t\t{utt}\t{reason}" for reason, utts in self.tally.dropped.items() for utt in utts]
        return [*self.findings.listed(), *lost]

    def finish(self) -> None:
        """Fail if a training would.

        Raises:
            DktError: there is an error (with ``strict``, or a warning), or more than ``max_dropped`` is lost.
        """
        faults = self.findings.of_level(Level.ERROR)
        if self.options.strict:
            faults += self.findings.of_level(Level.WARNING)
        if faults:
            raise DktError(
                f"not fit to train on: {plural(len(faults), 'fault')}, the first: {faults[0].text}"
            )
        self.tally.finish(str(self.data.path))


def check(
    data: DataDir,
    ali: str | Path | None = None,
    other: str | Path | None = None,
    lang: str | Path | None = None,
    options: CheckOptions | None = None,
) -> Report:
    """Check a data directory and its alignments.

    Args:
        data: the data directory.
        ali: its alignment directory; None if only the data are to be checked.
        other: another alignment directory, or that of the graph's model, which has to be of the same pdfs.
        lang: a lang directory, whose phones have to be the same.
        options: what is checked.

    Returns:
        All that was found. Only a missing data directory raises an error.
    """
    options = options or CheckOptions()
    report = Report(data, options)
    findings = report.findings
    files = DataFiles(data, options.data, findings)
    features = _features(files, options, findings)
    files.check()
    ali_dir = open_ali_dir(ali, findings) if ali else None
    labels = None
    if ali_dir is not None:
        labels = _labels(ali_dir, lang, report)
        name = _utterance_list(files)
        compare_with_features(labels, features.lengths, set(files.lines(name)), data.path / name, findings)
        check_tree(ali_dir, findings)
        if other:
            compare_models(ali_dir, Path(other), findings)
    compare_phones([Path(place) for place in (lang, ali, other) if place], findings)
    transcripts = _transcripts(files, lang, options, findings)
    if options.train_data is not None:
        _compare_with_training(files, features, options.train_data, findings)
    _account(report, files, features, labels, transcripts)
    _ask_training(report, features, labels)
    findings.sort(["utt2spk", *files.kinds, "features"])
    return report


def _ask_training(report: Report, features: Features, labels: AlignmentLengths | None) -> None:
    """Note what the training would refuse, once the data are loaded or aligned, in its own words."""
    findings, options = report.findings, report.options
    if options.recipe is not None and options.train_data is None:
        dim = features.processed_dim
        if dim is not None and options.pipeline is not None:
            dim -= options.pipeline.ivector_dim
        frames = None if labels is None else labels.pdf_frames
        try:
            options.recipe.check_data(DataFacts(dim, report.longest, frames))
        except DktError as error:
            findings.error("configuration", str(error))
        findings.passed("configuration", "goes with the data")
    if options.data.transcribed and report.tally.num_done >= FEWEST_UTTS:
        for verdict in judge_silence(report.silent_frames / max(report.frames_used, 1)):
            fault = f"{verdict.fault}: the transcripts of their utterances are empty"
            level = Level.WARNING if options.allow_implausible else verdict.level
            findings.add(level, "quality", fault, path=report.data.path / "text", hint=verdict.hint)


def _compare_with_training(files: DataFiles, features: Features, train: DataDir, findings: Findings) -> None:
    """Note where dev data are trained on, or have other features (``check_cv_disjoint``)."""
    check, path = "training data", files.data.path
    try:
        shared = sorted(set(files.lines("utt2spk")) & set(train.utt2spk))
        _, first = next(read_matrices(f"scp:{train.file('feats.scp', 'steps/make_fbank.sh')}"))
    except (DktError, StopIteration) as error:
        findings.error(check, str(error) or f"{train.path} has no features")
        return
    if shared:
        level = Level.ERROR if len(shared) == len(files.lines("utt2spk")) else Level.WARNING
        message = f"{plural(len(shared), 'utterance')} also in {train.path}"
        hint = "cross-validate on data that are not trained on"
        findings.add(level, check, message, path=path, names=shared, hint=hint)
    if features.dim is not None and features.dim != first.shape[1]:
        message = f"features of dimension {features.dim}, {train.path} has {first.shape[1]}"
        findings.error(check, message, path=path, hint="make both with one configuration")
    findings.passed(check, "other utterances, the same features")


def _labels(ali_dir: AlignmentDir, lang: str | Path | None, report: Report) -> AlignmentLengths:
    findings = report.findings
    try:
        phones = SilencePhones.of(ali_dir.path, lang)
    except DktError:
        phones = SilencePhones(frozenset(), frozenset(), {})  # told by compare_phones
    labels = read_all_labels(
        ali_dir, AlignmentQuality(ali_dir.transitions, phones, report.frame_shift), findings
    )
    if report.options.allow_implausible:
        findings.lower("quality")
    return labels


def _transcripts(
    files: DataFiles, lang: str | Path | None, options: CheckOptions, findings: Findings
) -> Transcripts:
    transcripts = Transcripts()
    if lang and options.data.transcribed:
        check_lang_files(Path(lang), findings)
    if lang and "text" in files and not options.data.no_text and (Path(lang) / "words.txt").is_file():
        transcripts = check_words(files, Path(lang), options.max_oov, findings)
        if options.data.transcribed:
            check_empty(files, Path(lang), transcripts, findings)
    num_utts = len(files.lines("utt2spk"))
    if options.data.transcribed and options.num_jobs is not None and num_utts < options.num_jobs:
        message = f"{plural(num_utts, 'utterance')} for {options.num_jobs} jobs"
        findings.error("utt2spk", message, path=files.data.path / "utt2spk", hint="give a smaller --nj")
    return transcripts


def _features(files: DataFiles, options: CheckOptions, findings: Findings) -> Features:
    told = {utt: int(number) for utt, number in files.numbers("utt2num_frames").items() if number > 0}
    if not options.read_feats:
        return Features(told)
    if "feats.scp" not in files:
        return Features()
    features = read_all_features(files, findings, _reader(files, options, findings))
    compare_num_frames(files, features, findings)
    check_cmvn(files, features.dim, options.data.cmvn, findings)
    return features


def _reader(files: DataFiles, options: CheckOptions, findings: Findings) -> FeatureReader | None:
    """The features as the training would read them; what is wrong with files or options is noted."""
    if options.pipeline is None:
        return None
    if options.pipeline.cmvn_opts is not None and "cmvn.scp" not in files:
        return None  # told already
    try:
        return FeatureReader(files.data, options.pipeline, options.side)
    except DktError as error:
        level = options.data.cmvn if error.path and Path(error.path).name == "cmvn.scp" else Level.ERROR
        findings.add(level, "features", str(error))
        return None


def _utterance_list(files: DataFiles) -> str:
    """The file that tells which utterances could be used."""
    return "utt2spk" if files.options.no_feats and "feats.scp" not in files else "feats.scp"


def _account(
    report: Report,
    files: DataFiles,
    features: Features,
    labels: AlignmentLengths | None,
    transcripts: Transcripts,
) -> None:
    """Tell for every utterance whether a training would use it, in the words of the training."""
    text = files.lines("text") if report.options.data.transcribed and "text" in files else None
    feats, aligned = files.lines(_utterance_list(files)), labels.lengths if labels else {}
    told, seconds = files.numbers("utt2num_frames"), files.numbers("utt2dur")
    for utt in dict.fromkeys([*files.lines("utt2spk"), *feats, *(text or ())]):
        frames = features.lengths.get(utt)
        guesses = (frames, told.get(utt), aligned.get(utt), seconds.get(utt, 0.0) / report.frame_shift)
        length = next(guess for guess in guesses if guess is not None)
        if utt not in feats:
            report.lose(utt, f"no features in {report.data.path / 'feats.scp'}", length)
        elif utt in features.unusable:
            report.lose(utt, "features that cannot be used", length)
        elif utt in features.lost:
            report.lose(utt, features.lost[utt], length)
        elif text is not None and utt not in text:
            report.lose(utt, "it has features but no transcript", length)
        elif utt in transcripts.unalignable:
            report.lose(utt, transcripts.unalignable[utt], length)
        elif text is not None and frames is not None and frames < transcripts.least_frames.get(utt, 0):
            report.lose(utt, "there are fewer frames than its transcript needs", length)
        elif labels is None:
            report.use(round(length), silent=text is not None and len(text[utt]) == 1)
        elif utt not in aligned:
            report.lose(utt, f"no alignment in {labels.path}", length)
        elif utt in labels.unusable:
            report.lose(utt, f"labels of another model in {labels.path}", length)
        elif frames is not None and abs(frames - aligned[utt]) >= LENGTH_TOLERANCE:
            report.lose(utt, f"{LENGTH_TOLERANCE} frames or more between features and alignment", length)
        else:
            report.use(min(round(length), aligned[utt]))
