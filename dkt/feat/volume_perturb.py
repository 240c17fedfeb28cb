"""Data directories at other volumes, as Kaldi's ``utils/data/perturb_data_dir_volume.sh``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.base.ranges import VOLUME
from dkt.base.tally import Tally
from dkt.feat.data_copies import DataCopies, Naming
from dkt.feat.draws import generator_of
from dkt.util.text import read_keyed_lines, write_lines


def perturb_volume(
    source: str | Path,
    target: str | Path,
    naming: Naming,
    *,
    include_original: bool = False,
    scales: tuple[float, float] = (0.125, 2.0),
    seed: int = 0,
    reco2vol: str | Path | None = None,
    write_reco2vol: str | Path | None = None,
    max_dropped: float = 0.0,
) -> None:
    """Write a data directory with the recordings of another, each scaled by a factor of its own.

    The factor is drawn uniformly for each recording, by seed and name alone: the utterances of a recording
    have the same, and other recordings make no difference. What becomes too loud for 16 bits is clipped.

    Args:
        source: with ``wav.scp`` and ``utt2spk``, and what else ``DataCopies.plan`` takes.
        target: the directory to write, with its recordings in ``wav``.
        naming: of the scaled utterances; where nothing is before or behind their names, they keep them.
        include_original: whether the utterances as they were are in it too.
        scales: the least and the largest factor.
        seed: of the draws.
        reco2vol: a file of lines ``<recording> <factor>`` to take instead; every recording has to be in it.
        write_reco2vol: where to write such lines.
        max_dropped: the share of utterances that may be unreadable.

    Raises:
        DktError: the factors are impossible or missing, too many recordings are unreadable, or as
            ``DataCopies``.
    """
    for scale in scales:
        VOLUME.check(scale, "scale")
    if scales[0] > scales[1]:
        raise DktError(f"--scale-low {scales[0]:g} is above --scale-high {scales[1]:g}")
    copies = DataCopies.plan(source, target, [naming], include_original)
    names = sorted(copies.data.wav_scp)
    if reco2vol:
        factors = _read_factors(reco2vol, names)
    else:
        factors = {name: float(generator_of(seed, name).uniform(*scales)) for name in names}
    if write_reco2vol:
        write_lines(write_reco2vol, [f"{name} {factor!r}" for name, factor in sorted(factors.items())])

    def scaled(utt: str, samples: np.ndarray, _rate: int) -> Sequence[np.ndarray]:
        return [samples * np.float64(factors[copies.recordings.recording_of(utt)])]

    copies.write(scaled, Tally("perturb volume", max_dropped))


def _read_factors(path: str | Path, names: Sequence[str]) -> dict[str, float]:
    factors = {}
    for name, text in read_keyed_lines(path).items():
        try:
            factors[name] = VOLUME.parse(text)
        except ValueError as error:
            raise DktError(str(error), path=path, utt=name) from None
    missing = [name for name in names if name not in factors]
    if missing:
        raise DktError(
            "has no volume", path=path, utt=missing[0], hint="every recording of wav.scp needs one"
        )
    return factors
