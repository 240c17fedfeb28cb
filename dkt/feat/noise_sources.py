"""Where noise comes from: recordings of it, other speakers of the same data, and a generator of numbers."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from dkt.base.errors import DktError
from dkt.base.ranges import SNR
from dkt.feat import noise
from dkt.feat.wave import Recordings
from dkt.util.data_dir import DataDir
from dkt.util.scripts import file_of
from dkt.util.text import read_keyed_lines

# As wav-reverberate has it, --noise-channel.
_CHANNEL = 0
# Samples that are kept in memory, as noises are drawn again and again.
_KEPT = 1 << 26
# Recordings, or places in one, that are tried until one is not silent.
_TRIES = 100
_RANGE = re.compile(r"([^:]+?)\.\.([^:]+)")


@dataclass(frozen=True)
class SnrChoice:
    """Signal-to-noise ratios to draw from, in dB.

    Attributes:
        values: one of these; of a range its ends.
        is_range: any between the two.
    """

    values: tuple[float, ...]
    is_range: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """A list as Kaldi's, ``20:10:0``, or a range, ``0..20``.

        Raises:
            ValueError: it is neither.
        """
        if match := _RANGE.fullmatch(text.strip()):
            low, high = map(SNR.parse, match.groups())
            if low > high:
                raise ValueError(f"expected the lower end of the range first, got '{text}'")
            return cls((low, high), True)
        return cls(tuple(map(SNR.parse, text.split(":"))))

    def draw(self, rng: np.random.Generator) -> float:
        """One of them."""
        if self.is_range:
            return float(rng.uniform(self.values[0], self.values[-1]))
        return self.values[rng.integers(len(self.values))]


@dataclass(frozen=True)
class Sound:
    """A piece of noise.

    Attributes:
        name: of the recording, or of the kind.
        samples: ``(num_samples,)``, at any level above zero.
    """

    name: str
    samples: np.ndarray


class Background(Protocol):
    """A kind of noise that sounds all along an utterance."""

    def draw(self, utt: str, size: int, rate: int, count: int, rng: np.random.Generator) -> list[Sound]:
        """``count`` noises of ``size`` samples at ``rate`` Hz for an utterance."""


@dataclass(frozen=True)
class Generated:
    """Noise of a kind that is made of random numbers.

    Attributes:
        name: of the kind.
        make: gives so many samples.
    """

    name: str
    make: Callable[[int, np.random.Generator], np.ndarray]

    def draw(self, utt: str, size: int, rate: int, count: int, rng: np.random.Generator) -> list[Sound]:
        """As ``Background``."""
        # Pink noise is without 0 Hz: of a single sample nothing would be left.
        return [Sound(self.name, _loud(self.make(max(size, 2), rng)[:size], rng)) for _ in range(count)]


def _loud(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return samples if samples.any() else noise.white(len(samples), rng)


class _Sounds:
    """Recordings by their names, those read last in memory."""

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings
        self._kept: OrderedDict[str, tuple[np.ndarray, int]] = OrderedDict()
        self._size = 0

    def read(self, name: str) -> tuple[np.ndarray, int]:
        """Samples and their rate, as ``Recordings.read``."""
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        samples, rate = self._recordings.read(name)
        self._kept[name] = samples, rate
        self._size += len(samples)
        while self._size > _KEPT and len(self._kept) > 1:
            _, (old, _) = self._kept.popitem(last=False)
            self._size -= len(old)
        return samples, rate


class NoiseDir:
    """The recordings of a Kaldi data directory of noises.

    Args:
        directory: with ``wav.scp``, perhaps ``segments``.

    Raises:
        DktError: it is no such directory, or a file that it names is not there.
    """

    def __init__(self, directory: str | Path) -> None:
        data = DataDir(directory)
        self._path = data.path / "wav.scp"
        segments = data.path / "segments"
        recordings = Recordings(data.wav_scp, segments if segments.exists() else None, _CHANNEL)
        self._names = sorted(recordings)
        if not self._names:
            raise DktError("is empty: there is no noise in it", path=self._path)
        for name, entry in data.wav_scp.items():
            file = file_of(entry)
            if file is not None and not Path(file).is_file():
                raise DktError("does not exist", path=file, utt=name, hint=f"mend {self._path}")
        self._sounds = _Sounds(recordings)

    def draw(self, utt: str, size: int, rate: int, count: int, rng: np.random.Generator) -> list[Sound]:
        """As ``Background``: from a place drawn at random on, and from the beginning again where one ends.

        Raises:
            DktError: a noise cannot be read or has another rate, or none can be heard.
        """
        return [self._draw(lambda samples: _piece(samples, size, rng), rate, rng) for _ in range(count)]

    def draw_whole(self, rate: int, rng: np.random.Generator) -> Sound:
        """A whole recording; raises DktError as ``draw``."""
        return self._draw(lambda samples: samples, rate, rng)

    def _draw(self, cut: Callable[[np.ndarray], np.ndarray], rate: int, rng: np.random.Generator) -> Sound:
        for _ in range(_TRIES):
            name = self._names[rng.integers(len(self._names))]
            samples, own_rate = self._sounds.read(name)
            if own_rate != rate:
                raise DktError(
                    f"the noise has {own_rate} Hz, the speech {rate} Hz",
                    path=self._path,
                    utt=name,
                    hint=f"resample it in wav.scp, for example with 'sox FILE -r {rate} -t wav - |'",
                )
            if not np.isfinite(samples).all():
                raise DktError("the noise has samples that are not numbers", path=self._path, utt=name)
            samples = cut(samples)
            if samples.any():
                return Sound(name, samples)
        raise DktError(
            f"no sound in {_TRIES} noises drawn at random, '{name}' the last",
            path=self._path,
            hint="take out those that are silent",
        )


class Babble:
    """What other speakers of the data say, several at a time.

    Args:
        data: the data.
        recordings: its recordings.

    Raises:
        DktError: there is only one speaker.
    """

    def __init__(self, data: DataDir, recordings: Recordings) -> None:
        self._speakers = data.utt2spk
        if len(data.spk2utt) < 2:
            raise DktError(
                f"{len(data.spk2utt)} speaker, babble is what others say",
                path=data.path / "utt2spk",
                hint="give a directory of other speech, as --bg-noise-dir",
            )
        self._names = sorted(utt for utt in recordings if utt in self._speakers)
        unique = data.path / "utt2uniq"
        # Its copy at another speed, of another speaker by name, would say what the utterance says.
        self._unique = read_keyed_lines(unique) if unique.is_file() else {}
        # Not those that the pass over the data reads: of its own it has one at a time in memory.
        self._sounds = _Sounds(Recordings(recordings.wav_scp, recordings.segments_path))

    def draw(self, utt: str, size: int, rate: int, count: int, rng: np.random.Generator) -> list[Sound]:
        """As ``Background``: of different utterances; those that cannot be read or heard are passed over.

        Raises:
            DktError: none can be found.
        """
        found: dict[str, Sound] = {}
        for _ in range(_TRIES):
            name = self._names[rng.integers(len(self._names))]
            piece = None
            if name not in found and self._is_other(name, utt):
                piece = self._piece(name, size, rate, rng)
            if piece is not None:
                found[name] = Sound(name, piece)
            if len(found) == count:
                break
        if not found:
            raise DktError(f"no utterance of another speaker at {rate} Hz was found for babble", utt=utt)
        return list(found.values())

    def _is_other(self, name: str, utt: str) -> bool:
        return self._speakers[name] != self._speakers[utt] and (
            self._unique.get(name, name) != self._unique.get(utt, utt)
        )

    def _piece(self, name: str, size: int, rate: int, rng: np.random.Generator) -> np.ndarray | None:
        try:
            samples, own_rate = self._sounds.read(name)
            if len(samples) == 0:
                return None
        except DktError:
            # It is counted when its own turn comes.
            return None
        if own_rate != rate or not np.isfinite(samples).all():
            return None
        piece = _piece(samples, size, rng)
        return piece if piece.any() else None


def _piece(samples: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """``size`` samples from a place drawn at random on, around the end."""
    start = int(rng.integers(len(samples)))
    return np.take(samples, np.arange(start, start + size), mode="wrap")


#: The kinds that need no recordings of noise.
GENERATED_KINDS = ("white", "pink", "babble")


def generated(kinds: Sequence[str], data: DataDir, recordings: Recordings) -> list[Background]:
    """Noises of these kinds, for an utterance of the data each.

    Raises:
        DktError: a kind is not known, or cannot be had of these data.
    """
    found: list[Background] = []
    for kind in kinds:
        match kind:
            case "white":
                found.append(Generated(kind, noise.white))
            case "pink":
                found.append(Generated(kind, noise.pink))
            case "babble":
                found.append(Babble(data, recordings))
            case _:
                raise DktError(f"there is no noise of the kind '{kind}': {', '.join(GENERATED_KINDS)}")
    return found
