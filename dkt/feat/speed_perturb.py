"""Data directories with copies at other speeds, as Kaldi's ``utils/data/perturb_data_dir_speed_3way.sh``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.base.tally import Tally
from dkt.feat.data_copies import DataCopies, Naming
from dkt.feat.speed import change_speed, check_factor


def _naming(factor: str) -> Naming:
    """The names of utterances and speakers at another speed are those of Kaldi."""
    return Naming.of(f"sp{factor}", "", of_speakers=True)


def perturb_speed(
    source: str | Path, target: str | Path, factors: Sequence[str], max_dropped: float = 0.0
) -> None:
    """Write a data directory that holds the utterances of another as they are and at other speeds.

    The copies are other speakers: their pitch and formants are.

    Args:
        source: with ``wav.scp``, ``text`` and ``utt2spk``, and what else ``DataCopies.plan`` takes.
        target: the directory to write, with its recordings in ``wav``.
        factors: as written, for they become part of names.
        max_dropped: the share of utterances that may be unreadable.

    Raises:
        DktError: a factor is out of range or 1, too many recordings are unreadable, or as ``DataCopies``.
    """
    for factor in factors:
        check_factor(float(factor))
        if float(factor) == 1.0:
            raise DktError("a speed of 1 is that of the originals, which are there in any case")
    namings = [_naming(factor) for factor in factors]
    copies = DataCopies.plan(source, target, namings, include_original=True, same_times=False)
    _ = copies.data.text

    def at_other_speeds(_utt: str, samples: np.ndarray, _rate: int) -> list[np.ndarray]:
        return [change_speed(samples, float(factor)) for factor in factors]

    copies.write(at_other_speeds, Tally("perturb speed", max_dropped))
