"""The range of every number of the configurations, the options and Kaldi's option files, in one place.

Bounds are those of the formula where it has some (a probability, a count), else the largest value that
somebody could mean: a slip of the keyboard is told before anything is read rather than after a night.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from dkt.base.errors import DktError

_WHOLE = re.compile(r"[+-]?[0-9]+", re.ASCII)
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)
# Python does not turn longer texts into integers, and no range is as wide.
_MOST_DIGITS = 300
_LARGE = 10**15
# Of a value as it is shown: YAML's aliases make lists of lists that would fill the memory.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring = 1, 80


class Check(Protocol):
    """What stands in the annotation of a field: looks at its value before anything is done with it."""

    def check(self, value: object, name: str) -> None:
        """Raise DktError, which names ``name``, if the value is impossible."""


@dataclass(frozen=True)
class Range:
    """The numbers that are allowed; NaN and infinity never are.

    Attributes:
        low, high: the bounds.
        whole: integers only.
        above: ``low`` itself is not allowed.
        below: ``high`` itself is not allowed.
        unit: for people, as ``frames``.
    """

    low: float
    high: float
    whole: bool = False
    above: bool = False
    below: bool = False
    unit: str = ""

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return False
        if self.whole and not isinstance(value, int):
            return False
        over = value > self.low if self.above else value >= self.low
        return over and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        kind = "an integer" if self.whole else "a number"
        low, high = (
            f"{bound:.0f}" if bound == int(bound) else f"{bound:g}" for bound in (self.low, self.high)
        )
        if self.above:
            text = f"{kind} above {low}, {'below' if self.below else 'at most'} {high}"
        else:
            text = f"{kind} from {low} to {'below ' if self.below else ''}{high}"
        return f"{text} ({self.unit})" if self.unit else text

    def check(self, value: object, name: str) -> None:
        """Raise DktError, which names ``name`` and the range, if ``value`` is outside."""
        if value not in self:
            raise DktError(f"'{name}' is {shown(value)}, expected {self}")

    def parse(self, text: str) -> float:
        """The number that ``text`` is; an ``int`` where the range is of integers.

        Raises:
            ValueError: it is none, or outside; the message tells what was expected.
        """
        text = text.strip()
        try:
            value: float = whole_number(text) if self.whole else real_number(text)
        except ValueError:
            value = math.nan
        if value not in self:
            raise ValueError(f"expected {self}, got '{text[:_MOST_DIGITS]}'")
        return value


def whole_number(text: str) -> int:
    """The integer that a text is in plain decimal digits, whoever wrote it: an option, a file.

    Python's own ``int`` takes ``1_0`` for 10, and the digits of any script.

    Raises:
        ValueError: it is something else, or of hundreds of digits.
    """
    if len(text) >= _MOST_DIGITS or not _WHOLE.fullmatch(text):
        raise ValueError(f"expected an integer, found '{text[:_MOST_DIGITS]}'")
    return int(text)


def real_number(text: str) -> float:
    """The finite number that a text is in plain decimal digits: ``16``, ``1.5``, ``.5`` or ``1e-3``.

    Raises:
        ValueError: it is something else, as ``1_0``, ``nan`` or ``1e999``.
    """
    if len(text) >= _MOST_DIGITS or not _REAL.fullmatch(text) or not math.isfinite(value := float(text)):
        raise ValueError(f"expected a number, found '{text[:_MOST_DIGITS]}'")
    return value


def shown(value: object) -> str:
    """A value as errors show it: in one short line, however large or deep it is."""
    if isinstance(value, int) and abs(value) >= _LARGE:
        # Python refuses to write out thousands of digits.
        return f"{'-' if value < 0 else ''}10^{math.floor(value.bit_length() * math.log10(2))} or so"
    return _SHORT.repr(value)


def whole(low: int, high: int, unit: str = "") -> Range:
    """Integers from ``low`` to ``high``."""
    return Range(low, high, whole=True, unit=unit)


def positive(high: float, unit: str = "") -> Range:
    """Numbers above 0, at most ``high``."""
    return Range(0.0, high, above=True, unit=unit)


def real(low: float, high: float, unit: str = "") -> Range:
    """Numbers from ``low`` to ``high``."""
    return Range(low, high, unit=unit)


#: As far as a signed integer of Kaldi's reaches.
MAX_INT = 2**31 - 1
_HUGE = 1.0e9

SHARE = real(0.0, 1.0)
#: A relative improvement; below 0 any loss will do, as for a schedule that is never to end early.
IMPROVEMENT = real(-1.0e6, 1.0)
#: A probability, or a share, that leaves something over.
NOT_ALL = Range(0.0, 1.0, below=True)
#: A factor that makes smaller, or leaves as it is.
REDUCTION = positive(1.0)
#: Of random draws. NumPy takes none below 0.
SEED = whole(0, 2**32 - 1)
JOBS = whole(1, 10_000)
#: Of a bootstrap; fewer tell nothing of the tails.
REPLICATIONS = whole(100, 1_000_000)
THREADS = whole(1, 1024)
VERBOSITY = whole(-10, 10)
SECONDS_A_FRAME = Range(0.0, 10.0, above=True, below=True, unit="seconds")
#: Of a data directory: who writes 10 means milliseconds.
FRAME_SHIFT = Range(0.0, 1.0, above=True, below=True, unit="seconds")
COUNT = whole(0, MAX_INT)
#: Ids of phones, words and the like; 0 is epsilon.
ID = whole(1, MAX_INT)

# Networks.
LAYERS = whole(1, 100)
UNITS = whole(1, 16_384)
#: 0 stands for no clipping.
CLIP = real(0.0, 1.0e6)
DELAY = whole(0, 1000, unit="frames")
CONTEXT = whole(0, 100, unit="frames")
DIMENSION = whole(1, 100_000)

# Training.
LEARN_RATE = positive(1000.0)
EPOCHS = whole(1, 10_000)
EPOCHS_OR_NONE = whole(0, 10_000)
MASKS = whole(0, 100)
MASK_WIDTH = whole(0, 10_000)
AVERAGE = Range(0.0, 10_000.0, unit="epochs")
PENALTY = real(0.0, 1000.0)
STREAMS = whole(1, 10_000)
CHUNK = whole(1, 100_000, unit="frames")
CHUNK_CONTEXT = whole(0, 10_000, unit="frames")
BATCH_FRAMES = whole(1, 10_000_000, unit="frames")
#: Batch normalisation has no variance on a single frame.
MINIBATCH = whole(2, 10_000_000, unit="frames")
TEMPERATURE = real(0.01, 1000.0)
#: Of a schedule: temperatures and shares.
SCHEDULED = real(0.0, 1000.0)
TOP_K = whole(1, 1_000_000)

# Decoding and lattices.
BEAM = positive(_HUGE)
#: 0 stands for no second try.
RETRY_BEAM = real(0.0, _HUGE)
MAX_ACTIVE = whole(2, MAX_INT)
MIN_ACTIVE = whole(0, MAX_INT)
PRUNE_INTERVAL = whole(1, 1_000_000, unit="frames")
#: 0 stands for no limit.
MAX_MEM = whole(0, 2**53, unit="bytes")
ACOUSTIC_SCALE = real(1.0e-6, 1000.0)
COST_SCALE = real(0.0, 1000.0)
WORD_PENALTY = real(-1000.0, 1000.0)
LM_WEIGHT = real(0.001, 1000.0)

# Gaussians and priors.
SILENCE_FACTOR = positive(1.0e6)
MONO_ITERS = whole(2, 10_000)
ITERATION = whole(1, 10_000)
GAUSSIANS = whole(1, 10_000_000)
POWER = real(0.0, 10.0)
STATES = whole(1, 100)
PRIOR_SCALE = real(0.0, 1000.0)
WEIGHT = real(0.0, 1.0e6)
#: Negative posteriors are those of discriminative training.
FACTOR = real(-1.0e10, 1.0e10)
LABELS = whole(0, 1_000_000)
FRAME_COUNT = Range(0.0, 1.0e12, above=True, unit="frames")
RAND_PRUNE = real(0.0, 1.0e6)
COMPRESSION_METHOD = whole(1, 7)
#: Factors outside leave no speech to learn from.
SPEED = real(0.5, 2.0)
#: Of samples; 1 leaves them as they are.
VOLUME = positive(1000.0)
SNR = real(-100.0, 100.0, unit="dB")
#: That sound at the same time.
NOISES = whole(1, 100)
#: Of each utterance.
REPLICATIONS_OF_DATA = whole(1, 1000)

# Recordings.
#: -1 stands for recordings that have only one.
CHANNEL = whole(-1, 1023)
DURATION = real(0.0, 1.0e6, unit="seconds")
#: Of the mel filters, as Kaldi's validate_data_dir.sh takes it.
WARP = Range(0.5, 1.5, above=True, below=True)

#: The numbers of Kaldi's option files and option strings, by the names of the options.
KALDI: Mapping[str, Range] = {
    # add-deltas, splice-feats, apply-cmvn and apply-cmvn-online
    "delta-order": whole(0, 10),
    "delta-window": whole(1, 100, unit="frames"),
    "left-context": CONTEXT,
    "right-context": CONTEXT,
    "skip-dims": whole(0, 100_000),
    "cmn-window": whole(1, 1_000_000, unit="frames"),
    "speaker-frames": whole(1, 1_000_000, unit="frames"),
    "global-frames": whole(1, 1_000_000, unit="frames"),
    # compute-fbank-feats and compute-mfcc-feats
    "sample-frequency": real(100.0, 1.0e6, unit="Hz"),
    "frame-length": Range(0.0, 10_000.0, above=True, unit="ms"),
    "frame-shift": Range(0.0, 10_000.0, above=True, unit="ms"),
    "dither": real(0.0, 32_768.0),
    "preemphasis-coefficient": SHARE,
    "blackman-coeff": SHARE,
    "num-mel-bins": whole(3, 1000),
    "low-freq": real(0.0, 1.0e6, unit="Hz"),
    "high-freq": real(-1.0e6, 1.0e6, unit="Hz"),
    "vtln-low": real(0.0, 1.0e6, unit="Hz"),
    "vtln-high": real(-1.0e6, 1.0e6, unit="Hz"),
    "energy-floor": real(0.0, 1.0e10),
    "num-ceps": whole(1, 1000),
    "cepstral-lifter": real(0.0, 1000.0),
    "max-feature-vectors": whole(-1, MAX_INT),
}


def kaldi_number(name: str, text: str) -> float:
    """The value ``text`` of Kaldi's option ``name``, without dashes before it.

    Raises:
        ValueError: not a number, or outside the range of the option; the message tells what was expected.
    """
    return KALDI[name].parse(text)


def check_name(value: object, name: str) -> None:
    """Raise DktError if a file's name is a command, standard input or no name at all."""
    text = str(value).strip()
    if not text or text == "-" or text.startswith("|") or text.endswith("|"):
        raise DktError(
            f"'{name}' is '{text[:100]}', expected the name of a file",
            hint="no command is run here: write what it prints to a file, and name that",
        )
    if "\0" in text:
        raise DktError(f"'{name}' is '{text[:100]}', expected the name of a file: none holds a zero byte")


class OneOf:
    """One of some words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def check(self, value: object, name: str) -> None:
        """Raise DktError, which lists them, if it is another one."""
        if value not in self.words:
            raise DktError(f"'{name}' is {shown(value)}, known are {', '.join(self.words)}")


@dataclass(frozen=True)
class FileName:
    """A file that a configuration names: neither a command nor standard input.

    Attributes:
        several: names with white space between them.
    """

    several: bool = False

    def check(self, value: object, name: str) -> None:
        """Raise DktError if it is something else than a file's name."""
        for word in str(value).split() if self.several else [value]:
            check_name(word, name)
