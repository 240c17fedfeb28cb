"""What features take from other directories than the data directory: fMLLR transforms and i-vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.feat.functions import append_ivectors, apply_transform
from dkt.util.table import MatrixTable, RealTable
from dkt.util.text import natural, read_lines


@dataclass(frozen=True)
class SpeakerInputs:
    """Where they are.

    Attributes:
        transform_dir: a directory with ``trans.1`` ... (``trans.JOB`` of Kaldi's fMLLR systems).
        ivectors: a directory with ``ivector_online.scp`` and ``ivector_period``; or an rspecifier of vectors
            (one per utterance or speaker) or matrices (one i-vector per frame).
    """

    transform_dir: str | None = None
    ivectors: str | None = None

    def check(self) -> None:
        """Raise DktError unless they can be expected there; none is read."""
        if self.transform_dir is not None:
            _transform_files(self.transform_dir)
        if self.ivectors is not None and not Path(self.ivectors).is_dir():
            _check_rspecifier(self.ivectors)


def _transform_files(directory: str) -> list[Path]:
    files = sorted(Path(directory).glob("trans.*"), key=lambda path: (len(path.name), path.name))
    files = [path for path in files if natural(path.suffix[1:]) is not None]
    if not files:
        raise DktError(
            "holds no trans.1", path=directory, hint="give the directory of an fMLLR alignment or decoding"
        )
    return files


def _check_rspecifier(source: str) -> None:
    if ":" not in source:
        raise DktError("is neither a directory of i-vectors nor an rspecifier", path=source)


class SpeakerTransforms:
    """The transforms of a directory, by speaker or, as ``--per-utt`` alignment leaves them, by utterance.

    Args:
        directory: with ``trans.1`` and so on.

    Raises:
        DktError: there is no transform, or one stands in two files.
    """

    def __init__(self, directory: str) -> None:
        self.where = str(Path(directory) / "trans.*")
        files = _transform_files(directory)
        self._transforms: dict[str, np.ndarray] = {}
        for path in files:
            table = MatrixTable(f"ark:{path}")
            for key in table:
                if key in self._transforms:
                    raise DktError("stands in two files of the directory", path=path, utt=key)
                if not np.isfinite(table[key]).all():
                    raise DktError("the transform holds a value that is not a number", path=path, utt=key)
                self._transforms[key] = table[key]

    def missing(self, utt: str, speaker: str) -> str | None:
        """Why an utterance cannot be transformed; None if it can."""
        if speaker in self._transforms or utt in self._transforms:
            return None
        return f"no transform of speaker '{speaker}' in {self.where}"

    def apply(self, utt: str, speaker: str, features: np.ndarray) -> np.ndarray:
        """Features ``(T, F)`` to ``(T, D)`` under the transform of the speaker."""
        key = speaker if speaker in self._transforms else utt
        return apply_transform(features, self._transforms[key])


class Ivectors:
    """I-vectors, by utterance or by speaker.

    Args:
        source: a directory of ``ivector_online.scp``, or an rspecifier.

    Raises:
        DktError: it is neither, or holds nothing.
    """

    def __init__(self, source: str) -> None:
        self.where = source
        self.period = 1
        rspecifier = source
        if Path(source).is_dir():
            self.period = _read_period(Path(source) / "ivector_period")
            rspecifier = f"scp:{Path(source) / 'ivector_online.scp'}"
        else:
            _check_rspecifier(source)
        self._table = RealTable(rspecifier)
        first = next(iter(self._table), None)
        if first is None:
            raise DktError("holds no i-vector", path=source)
        self.dim = int(self._table[first].shape[-1])

    def missing(self, utt: str, speaker: str) -> str | None:
        """Why an utterance has no i-vector; None if it has."""
        if utt in self._table or speaker in self._table:
            return None
        return f"no i-vector in {self.where}"

    def append(self, utt: str, speaker: str, features: np.ndarray) -> np.ndarray:
        """Features ``(T, F)`` to ``(T, F + I)``.

        Raises:
            DktError: an i-vector of another dimension or one that is not a number.
        """
        ivectors = self._table[utt if utt in self._table else speaker]
        if ivectors.shape[-1] != self.dim or not np.isfinite(ivectors).all():
            raise DktError(
                f"i-vectors of shape {ivectors.shape}, expected finite numbers of dimension {self.dim}",
                path=self.where,
                utt=utt,
            )
        try:
            return append_ivectors(features, ivectors, self.period)
        except DktError as error:
            raise DktError(str(error), path=self.where, utt=utt) from None


def _read_period(path: Path) -> int:
    text = " ".join(read_lines(str(path))).strip()
    period = natural(text)
    if not period:
        raise DktError(f"expected a number of frames above 0, found '{text}'", path=path)
    return period
