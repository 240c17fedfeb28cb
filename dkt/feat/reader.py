"""From a data directory to the features that a model expects, following Kaldi's option files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.base.tally import Tally
from dkt.feat.functions import add_deltas, apply_cmvn, apply_transform, cmvn_stats, fake_stats, paste, splice
from dkt.feat.online_cmvn import OnlineCmvnOptions, apply_online_cmvn
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.speaker_inputs import Ivectors, SpeakerInputs, SpeakerTransforms
from dkt.util.data_dir import DataDir
from dkt.util.table import MatrixTable, read_matrices, read_script

logger = logging.getLogger(__name__)

#: Pitch is computed on other windows than MFCC: streams may differ by this, as in Kaldi's make_mfcc_pitch.sh.
PASTE_LENGTH_TOLERANCE = 2

_MADE_BY = "steps/make_fbank.sh or steps/make_mfcc.sh"

# utterance, speaker and features (T, F) to features
_Step = Callable[[str, str, np.ndarray], np.ndarray]


class FeatureReader:
    """The processed features of a data directory, utterance by utterance in the order of ``feats.scp``.

    Args:
        data: the data directory.
        options: what to do to the features.
        side: transforms and i-vectors, which must be given if and only if the options ask for them.
        suffix: of the options that give them, for errors: ``-dev`` for those of dev data.

    Raises:
        DktError: an option is wrong, or a file that it needs is missing.
    """

    def __init__(
        self, data: DataDir, options: FeatureOptions, side: SpeakerInputs | None = None, suffix: str = ""
    ) -> None:
        self.data = data
        self._suffix = suffix
        self.options = options
        self.side = side = side or SpeakerInputs()
        first, *others = options.paste.split()
        self._feats = data.file(first, _MADE_BY)
        self._others = [MatrixTable(f"scp:{data.file(name, _MADE_BY)}") for name in others]
        self._sources: list[SpeakerTransforms | Ivectors] = []
        self._steps = self._make_steps(side)
        self._dropped: set[str] = set()
        self._dim: int | None = None
        self._table: MatrixTable | None = None
        logger.info("features of %s: %s", data.path, options.describe())

    def _make_steps(self, side: SpeakerInputs) -> list[_Step]:
        options, data = self.options, self.data
        steps: list[_Step] = []
        self._online: _OnlineCmvn | None = None
        cmvn = options.parse_cmvn(f"{data.path}: cmvn_opts")
        if cmvn is not None:
            steps.append(_Cmvn(data, cmvn.norm_vars, cmvn.skip_dims))
        online = options.parse_online_cmvn(f"{data.path}: online_cmvn_opts")
        if online is not None and options.global_cmvn_stats is not None:
            self._online = _OnlineCmvn(options.global_cmvn_stats.values, *online)
            steps.append(self._online)
        steps += _context_steps(options, data)
        _check_side(options, side, self._suffix)
        if side.transform_dir is not None:
            transforms = SpeakerTransforms(side.transform_dir)
            self._sources.append(transforms)
            steps.append(transforms.apply)
        if side.ivectors is not None:
            ivectors = Ivectors(side.ivectors)
            if ivectors.dim != options.ivector_dim:
                raise DktError(
                    f"i-vectors of dimension {ivectors.dim}, expected {options.ivector_dim}",
                    path=side.ivectors,
                )
            self._sources.append(ivectors)
            steps.append(ivectors.append)
        return steps

    def drop_missing(self, tally: Tally) -> None:
        """Leave out the utterances of ``utt2spk`` without features or speaker inputs, counted as dropped."""
        with_features = read_script(str(self._feats))
        for utt, speaker in self.data.utt2spk.items():
            reason = (
                f"no features in {self._feats}" if utt not in with_features else self._lacks(utt, speaker)
            )
            if reason is not None:
                tally.drop(utt, reason)
                self._dropped.add(utt)

    def _lacks(self, utt: str, speaker: str) -> str | None:
        for table in self._others:
            if utt not in table:
                return f"no features in {table.path}"
        reasons = (source.missing(utt, speaker) for source in self._sources)
        return next((reason for reason in reasons if reason), None)

    def missing(self, utt: str) -> str | None:
        """Why an utterance that has features would be left out; None if it would not."""
        return self._lacks(utt, self.data.utt2spk.get(utt, ""))

    def process(self, utt: str, raw: np.ndarray) -> np.ndarray:
        """The processed features of an utterance whose features on disk are at hand.

        Raises:
            DktError: they cannot be processed; a training would stop. Those before may be of any dimension.
        """
        self._dim = None
        return self._process(utt, raw)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        if self._online is not None:
            self._online.begin()
        for utt, raw in read_matrices(f"scp:{self._feats}"):
            if utt not in self._dropped:
                yield utt, self._process(utt, raw)

    def remember(self) -> None:
        """Note, while all utterances are read in order, what ``read`` needs to give the same features."""
        if self._online is not None:
            self._online.before = {}

    def read(self, utt: str) -> np.ndarray:
        """The processed features ``(T, F)`` of one utterance, in any order.

        With online CMVN by speaker ``remember`` and a pass over all utterances must come before: the features
        of an utterance depend on those that stand before it.
        """
        if self._table is None:
            self._table = MatrixTable(f"scp:{self._feats}")
        return self._process(utt, self._table[utt])

    def _process(self, utt: str, raw: np.ndarray) -> np.ndarray:
        # Only steps that depend on the speaker need one.
        speaker = self.data.utt2spk.get(utt, "")
        try:
            lacks = self._lacks(utt, speaker)
            if lacks is not None:
                raise DktError(lacks)
            parts = [raw, *(table[utt] for table in self._others)]
            for part in parts:
                _check_shape(part)
            features = paste(parts, PASTE_LENGTH_TOLERANCE) if self._others else raw
            self._check_values(features)
            for step in self._steps:
                features = step(utt, speaker, features)
            return features
        except DktError as error:
            if error.utt is not None:
                raise
            raise DktError(str(error), path=self._feats, utt=utt) from None

    def _check_values(self, features: np.ndarray) -> None:
        self._dim = self._dim or features.shape[1]
        if features.shape[1] != self._dim:
            raise DktError(f"features of dimension {features.shape[1]}, those before have {self._dim}")
        if not np.isfinite(features).all():
            raise DktError("the features hold a value that is not a number")


def _check_shape(raw: np.ndarray) -> None:
    if raw.ndim != 2 or len(raw) == 0:
        raise DktError(
            f"features of shape {raw.shape}, expected at least one frame",
            hint="remove the utterance from the data directory",
        )


def _check_side(options: FeatureOptions, side: SpeakerInputs, suffix: str) -> None:
    wanted = {
        "fMLLR transforms": (options.speaker_transforms, side.transform_dir, "--transform-dir"),
        "i-vectors": (options.ivector_dim > 0, side.ivectors, "--ivectors"),
    }
    for what, (needed, given, option) in wanted.items():
        if needed and given is None:
            whose = " of the dev data" if suffix else ""
            raise DktError(f"the features need {what}{whose}", hint=f"give them by {option}{suffix}")
        if given is not None and not needed:
            more = f", or give {option} too" if suffix else ""
            raise DktError(
                f"the features take no {what}", path=given, hint=f"leave out {option}{suffix}{more}"
            )


class _Cmvn:
    """CMVN by stored statistics, of speakers or, if the table has those, of utterances."""

    def __init__(self, data: DataDir, norm_vars: bool, skip_dims: tuple[int, ...]) -> None:
        self.path = data.file("cmvn.scp", "steps/compute_cmvn_stats.sh")
        self.stats = MatrixTable(f"scp:{self.path}", dtype=np.float64)
        self.norm_vars = norm_vars
        self.skip_dims = skip_dims
        speakers = set(data.utt2spk.values())
        self.per_utterance = speakers.isdisjoint(self.stats) and not set(data.utt2spk).isdisjoint(self.stats)
        if self.per_utterance:
            logger.info("CMVN statistics of %s are of utterances, not of speakers", self.path)

    def __call__(self, utt: str, speaker: str, features: np.ndarray) -> np.ndarray:
        key = utt if self.per_utterance else speaker
        if not key:
            raise DktError("has no speaker in utt2spk", path=self.path.with_name("utt2spk"), utt=utt)
        if key not in self.stats:
            raise DktError(
                f"there are no CMVN statistics of {'utterance' if self.per_utterance else 'speaker'} '{key}'",
                path=self.path,
                utt=utt,
                hint="run steps/compute_cmvn_stats.sh on this data directory",
            )
        return apply_cmvn(features, fake_stats(self.stats[key], self.skip_dims), self.norm_vars)


class _OnlineCmvn:
    """Online CMVN; with ``by_speaker`` the earlier utterances of the speaker serve too.

    ``before``, if it is asked for, notes the statistics of what the speaker of each utterance said before it:
    in a second pass the order does not matter.
    """

    def __init__(self, global_stats: np.ndarray, options: OnlineCmvnOptions, by_speaker: bool) -> None:
        self.global_stats = global_stats
        self.options = options
        self.by_speaker = by_speaker
        self.before: dict[str, np.ndarray | None] | None = None
        self.begin()

    def begin(self) -> None:
        """Nobody has been heard yet."""
        self.speaker = ""
        self.speaker_stats: np.ndarray | None = None

    def __call__(self, utt: str, speaker: str, features: np.ndarray) -> np.ndarray:
        if self.before is not None and utt in self.before:
            return apply_online_cmvn(features, self.global_stats, self.options, self.before[utt])
        if speaker != self.speaker or not self.by_speaker:
            self.speaker, self.speaker_stats = speaker, None
        result = apply_online_cmvn(features, self.global_stats, self.options, self.speaker_stats)
        if self.before is not None:
            self.before[utt] = self.speaker_stats
        if self.by_speaker:
            before = 0.0 if self.speaker_stats is None else self.speaker_stats
            self.speaker_stats = before + cmvn_stats(features)
        return result


def _context_steps(options: FeatureOptions, data: DataDir) -> list[_Step]:
    """Deltas, splicing and the transform of all speakers."""
    steps: list[_Step] = []
    delta = options.parse_deltas(f"{data.path}: delta_opts")
    if delta is not None:
        steps.append(lambda utt, speaker, frames: add_deltas(frames, delta.delta_order, delta.delta_window))
    spliced = options.parse_splice(f"{data.path}: splice_opts")
    if spliced is not None:
        steps.append(lambda utt, speaker, frames: splice(frames, spliced.left_context, spliced.right_context))
    if options.transform is not None:
        matrix = options.transform.values
        steps.append(lambda utt, speaker, frames: apply_transform(frames, matrix))
    return steps


def read_features(
    source: str, options: FeatureOptions, tally: Tally, side: SpeakerInputs | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """The features that a model reads, utterance by utterance.

    Args:
        source: a data directory, whose features go through the model's own pipeline; or an rspecifier of
            features that went through it already, as Kaldi's binaries take them.
        options: the model's pipeline.
        tally: where the utterances of a data directory that cannot be used are counted as dropped.
        side: transforms and i-vectors, of a data directory only.

    Raises:
        DktError: the source is neither.
    """
    if Path(source).is_dir():
        reader = FeatureReader(DataDir(source), options, side)
        reader.drop_missing(tally)
        yield from reader
    elif ":" in source:
        if side not in (None, SpeakerInputs()):
            raise DktError("--transform-dir and --ivectors are of data directories", path=source)
        logger.info("features of %s are taken as they are: no CMVN, no deltas", source)
        yield from read_matrices(source)
    else:
        raise DktError("is neither a data directory nor an rspecifier", path=source)
