"""From a data directory to the features that a model expects, following Kaldi's option files."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from dkt.datadir import DataDir
from dkt.errors import DktError
from dkt.features import add_deltas, apply_cmvn, apply_transform, splice
from dkt.objectio import ObjectReader
from dkt.tables import MatrixTable, read_matrices
from dkt.tally import Tally
from dkt.text import read_lines

logger = logging.getLogger(__name__)


class _OptionParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise DktError(message)


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, got '{text}'")
    return text == "true"


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected 0 or more, got '{text}'")
    return int(text)


def _parse(options: str, source: str, **defaults: bool | int) -> argparse.Namespace:
    parser = _OptionParser(add_help=False, allow_abbrev=False)
    for name, default in defaults.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(default, bool):
            parser.add_argument(option, type=_boolean, nargs="?", const=True, default=default)
        else:
            parser.add_argument(option, type=_count, default=default)
    try:
        return parser.parse_args(options.split())
    except DktError as error:
        raise DktError(f"'{options}': {error}", path=source) from None


@dataclass(frozen=True)
class FeatureOptions:
    """What is done to the features of ``feats.scp``, each in the words of Kaldi's option files.

    Attributes:
        cmvn_opts: options of ``apply-cmvn``; empty means its defaults (means, a speaker), None means no CMVN.
        delta_opts: options of ``add-deltas``; None means no deltas.
        splice_opts: options of ``splice-feats``; None means no splicing.
        transform: a matrix file (``final.mat``) applied last; None means no transform.
    """

    cmvn_opts: str | None = None
    delta_opts: str | None = None
    splice_opts: str | None = None
    transform: str | None = None

    @classmethod
    def of_gmm_dir(cls, directory: str | Path) -> FeatureOptions:
        """The options of a GMM or alignment directory.

        A missing or empty ``cmvn_opts`` is Kaldi's default CMVN. Without ``final.mat`` deltas of order 2
        follow, with it splicing and the transform.
        """
        directory = Path(directory)
        cmvn = _read_options(directory / "cmvn_opts") or ""
        if (directory / "final.mat").exists():
            spliced = _read_options(directory / "splice_opts") or ""
            return cls(cmvn, None, spliced, str(directory / "final.mat"))
        return cls(cmvn, _read_options(directory / "delta_opts") or "")

    def describe(self) -> str:
        """One line for the log."""
        names = {
            "apply-cmvn": self.cmvn_opts,
            "add-deltas": self.delta_opts,
            "splice-feats": self.splice_opts,
        }
        steps = [f"{name} {opts}".strip() for name, opts in names.items() if opts is not None]
        if self.transform:
            steps.append(f"transform-feats {self.transform}")
        return " | ".join(steps) or "none"

    def replace(self, **changes: str | None) -> FeatureOptions:
        """A copy with some of the options changed."""
        return replace(self, **changes)


def _read_options(path: Path) -> str | None:
    return " ".join(read_lines(str(path))).strip() if path.exists() else None


class FeatureReader:
    """The processed features of a data directory, utterance by utterance in the order of ``feats.scp``.

    Args:
        data: the data directory.
        options: what to do to the features.

    Raises:
        DktError: an option is wrong, or a file that it needs is missing.
    """

    def __init__(self, data: DataDir, options: FeatureOptions) -> None:
        self.data = data
        self.options = options
        self._feats = data.file("feats.scp", "steps/make_fbank.sh or steps/make_mfcc.sh")
        self._cmvn = _cmvn_parser(data, options)
        self._delta = _parse(
            options.delta_opts or "", f"{data.path}: delta_opts", delta_order=2, delta_window=2
        )
        self._splice = _parse(
            options.splice_opts or "", f"{data.path}: splice_opts", left_context=4, right_context=4
        )
        self._transform = ObjectReader.open(options.transform).matrix() if options.transform else None
        self._dim: int | None = None
        logger.info("features of %s: %s", data.path, options.describe())

    def drop_missing(self, tally: Tally) -> None:
        """Count the utterances of ``utt2spk`` that have no features as dropped."""
        for utt in self.data.utt2spk:
            if utt not in self.data.feats_scp:
                tally.drop(utt, f"no features in {self._feats}")

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        for utt, raw in read_matrices(f"scp:{self._feats}"):
            yield utt, self._process(utt, raw)

    def _process(self, utt: str, raw: np.ndarray) -> np.ndarray:
        self._check(utt, raw)
        try:
            features = self._cmvn(utt, raw)
            if self.options.delta_opts is not None:
                features = add_deltas(features, self._delta.delta_order, self._delta.delta_window)
            if self.options.splice_opts is not None:
                features = splice(features, self._splice.left_context, self._splice.right_context)
            return features if self._transform is None else apply_transform(features, self._transform)
        except DktError as error:
            if error.utt is not None:
                raise
            raise DktError(str(error), path=self._feats, utt=utt) from None

    def _check(self, utt: str, raw: np.ndarray) -> None:
        if raw.ndim != 2 or len(raw) == 0:
            raise DktError(
                f"features of shape {raw.shape}, expected at least one frame",
                path=self._feats,
                utt=utt,
                hint="remove the utterance from the data directory",
            )
        self._dim = self._dim or raw.shape[1]
        if raw.shape[1] != self._dim:
            raise DktError(
                f"features of dimension {raw.shape[1]}, those before have {self._dim}",
                path=self._feats,
                utt=utt,
            )
        if not np.isfinite(raw).all():
            raise DktError("the features hold a value that is not a number", path=self._feats, utt=utt)


class _NoCmvn:
    def __call__(self, utt: str, raw: np.ndarray) -> np.ndarray:
        return raw


class _Cmvn:
    def __init__(self, data: DataDir, norm_vars: bool) -> None:
        self.path = data.file("cmvn.scp", "steps/compute_cmvn_stats.sh")
        self.stats = MatrixTable(f"scp:{self.path}", dtype=np.float64)
        self.utt2spk = data.utt2spk
        self.norm_vars = norm_vars

    def __call__(self, utt: str, raw: np.ndarray) -> np.ndarray:
        speaker = self.utt2spk.get(utt)
        if speaker is None:
            raise DktError("has no speaker in utt2spk", path=self.path.with_name("utt2spk"), utt=utt)
        if speaker not in self.stats:
            raise DktError(
                f"there are no CMVN statistics of speaker '{speaker}'",
                path=self.path,
                utt=utt,
                hint="run steps/compute_cmvn_stats.sh on this data directory",
            )
        return apply_cmvn(raw, self.stats[speaker], self.norm_vars)


def _cmvn_parser(data: DataDir, options: FeatureOptions) -> _NoCmvn | _Cmvn:
    if options.cmvn_opts is None:
        return _NoCmvn()
    parsed = _parse(options.cmvn_opts, f"{data.path}: cmvn_opts", norm_means=True, norm_vars=False)
    if not parsed.norm_means:
        if parsed.norm_vars:
            raise DktError(
                f"'{options.cmvn_opts}' asks for variance without mean normalisation", path=data.path
            )
        return _NoCmvn()
    return _Cmvn(data, parsed.norm_vars)


def read_features(source: str, options: FeatureOptions, tally: Tally) -> Iterator[tuple[str, np.ndarray]]:
    """The features that a model reads, utterance by utterance.

    Args:
        source: a data directory, whose features go through the model's own pipeline; or an rspecifier of
            features that went through it already, as Kaldi's binaries take them.
        options: the model's pipeline.
        tally: where the utterances of a data directory that have no features are counted as dropped.

    Raises:
        DktError: the source is neither.
    """
    if Path(source).is_dir():
        reader = FeatureReader(DataDir(source), options)
        reader.drop_missing(tally)
        yield from reader
    elif ":" in source:
        logger.info("features of %s are taken as they are: no CMVN, no deltas", source)
        yield from read_matrices(source)
    else:
        raise DktError("is neither a data directory nor an rspecifier", path=source)
