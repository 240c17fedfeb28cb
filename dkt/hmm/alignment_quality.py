"""Can an alignment be right? Shares of silence, of long phones and of second tries, judged.

The limits were set by Kaldi's own alignments (speechocean762: 34 and 37 % silence, 1.3 and 0.1 % of the
phones over half a second in 15 and 1.5 % of the utterances, 8 % at their shortest), by digits and by yes/no
with words as phones, and by those of flat starts that failed on recordings with pauses.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.base.findings import Level, plural
from dkt.hmm.phone_segments import phones_and_lengths
from dkt.hmm.transition_model import TransitionModel
from dkt.util.text import fields, natural, read_lines

logger = logging.getLogger(__name__)

_LONG = 0.5  # seconds
_LONG_MEDIANS = 2  # where phones are whole words, long is what is so many times the median
#: Nothing is said of fewer utterances.
FEWEST_UTTS = 5
_FEWEST_PHONES = 20
_SILENCE_NAMES = ("SIL", "SILENCE", "SP", "PAU", "H#")
_NOISE_NAMES = ("SPN", "NSN", "LAU", "NOISE", "SPOKEN_NOISE", "LAUGHTER", "UNK", "OOV", "GBG", "NON", "EPS")
_HINT_PAUSES = (
    "quiet was probably given to phones: cut long pauses off the recordings (segments), look at the worst "
    "with dkt ali-to-phones, and see that transcripts and recordings belong together"
)


@dataclass(frozen=True)
class SilencePhones:
    """Which phones are not speech.

    Attributes:
        silence: those of the optional silence.
        others: all that are not speech, noises included.
        names: phone to name, as far as known.
    """

    silence: frozenset[int]
    others: frozenset[int]
    names: dict[int, str]

    @classmethod
    def of(cls, ali_dir: str | Path | None, lang: str | Path | None = None) -> SilencePhones:
        """As the lang directory tells; without one, as the names in ``phones.txt`` of the alignments tell.

        Raises:
            DktError: a file of them is malformed.
        """
        names: dict[int, str] = {}
        for directory in (lang, ali_dir):
            path = Path(directory or "") / "phones.txt"
            if directory and path.is_file() and not names:
                rows = [fields(line) for line in read_lines(path)]
                names = {int(row[1]): row[0] for row in rows if len(row) == 2 and natural(row[1])}
        silence, others = cls._of_lang(Path(lang)) if lang else (set(), set())
        if not silence:
            silence = {phone for phone, name in names.items() if _plain(name) in _SILENCE_NAMES}
        spoken = {_base(names[phone]) for phone in silence if phone in names}
        silence |= {phone for phone, name in names.items() if _base(name) in spoken}
        others |= {phone for phone, name in names.items() if not lang and _plain(name) in _NOISE_NAMES}
        return cls(frozenset(silence), frozenset(silence | others), names)

    @staticmethod
    def _of_lang(lang: Path) -> tuple[set[int], set[int]]:
        found = []
        for name in ("optional_silence.csl", "silence.csl"):
            path = lang / "phones" / name
            words = fields(" ".join(read_lines(path)).replace(":", " ")) if path.is_file() else []
            found.append({phone for phone in map(natural, words) if phone is not None})
        return found[0], found[1]


def _base(name: str) -> str:
    """A phone without the mark of its position in the word."""
    return re.sub(r"_[BESI]$", "", name)


def _plain(name: str) -> str:
    return _base(name).strip("<>[]!+()").upper()


@dataclass
class Verdict:
    """What cannot be right about an alignment.

    Attributes:
        level: a warning, or an error where it is absurd.
        fault: what was found.
        hint: what to do about it.
    """

    level: Level
    fault: str
    hint: str

    def __str__(self) -> str:
        return f"{self.fault} - {self.hint}"


@dataclass
class AlignmentQuality:
    """What alignments look like, collected utterance by utterance.

    Attributes:
        model: the model that made them.
        phones: which phones are not speech.
        frame_shift: seconds.
        num_retried: utterances that needed the second, wider beam; None if nobody knows.
    """

    model: TransitionModel
    phones: SilencePhones
    frame_shift: float = 0.01
    num_retried: int | None = None
    num_utts: int = 0
    num_frames: int = 0
    num_silence: int = 0
    longest: tuple[int, str, str] = (0, "", "")
    _lengths: list[np.ndarray] = field(default_factory=list)
    _longest_of_utt: list[int] = field(default_factory=list)
    _shortest: int = 0

    def __post_init__(self) -> None:
        self._no_speech = np.array(sorted(self.phones.others), dtype=np.int64)
        self._silence = np.array(sorted(self.phones.silence), dtype=np.int64)
        topology = self.model.topology
        self._least = np.zeros(max(topology.phones) + 1, dtype=np.int64)
        self._least[topology.phones] = [least_frames(topology.states(phone)) for phone in topology.phones]

    def add(self, utt: str, ids: np.ndarray) -> None:
        """Look at the transition-ids of an utterance; what is not a path through the HMMs is left out."""
        try:
            phones, lengths = phones_and_lengths(self.model, ids)
        except DktError:
            return
        self.num_utts += 1
        self.num_frames += len(ids)
        self.num_silence += int(lengths[np.isin(phones, self._silence)].sum())
        speech = ~np.isin(phones, self._no_speech)
        spoken, lengths = phones[speech], lengths[speech]
        self._lengths.append(lengths)
        self._longest_of_utt.append(int(lengths.max(initial=0)))
        self._shortest += int((lengths <= self._least[spoken]).sum())
        if len(lengths) and lengths.max() > self.longest[0]:
            place = int(lengths.argmax())
            phone = int(spoken[place])
            self.longest = (int(lengths[place]), self.phones.names.get(phone, f"phone {phone}"), utt)

    @property
    def lengths(self) -> np.ndarray:
        """The frames of every phone of speech."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *self._lengths])

    @property
    def silence_share(self) -> float:
        """The share of the frames that are of the optional silence."""
        return self.num_silence / max(self.num_frames, 1)

    def long_share(self, seconds: float) -> float:
        """The share of the phones of speech that last longer."""
        return float((self.lengths * self.frame_shift > seconds).mean()) if len(self.lengths) else 0.0

    def describe(self) -> str:
        """One line: silence, long phones, second tries."""
        if self.num_frames == 0:
            return "no frame is aligned"
        parts = [f"{100 * self.silence_share:.1f} % of the frames are silence"] if len(self._silence) else []
        frames, phone, utt = self.longest
        text = f"{100 * self.long_share(_LONG):.1f} % of the phones last over {_LONG:g} s"
        if frames:
            text += f" (the longest {frames * self.frame_shift:.2f} s, '{phone}' in {utt})"
        parts.append(text)
        if self.num_retried is not None:
            share = 100 * self.num_retried / max(self.num_utts, 1)
            utts = plural(self.num_utts, "utterance")
            parts.append(f"{self.num_retried} of {utts} ({share:.1f} %) needed the second try")
        return ", ".join(parts)

    def judge(self) -> list[Verdict]:
        """What cannot be right, the worst first; nothing is said of a handful of utterances."""
        lengths = self.lengths * self.frame_shift
        if self.num_utts < FEWEST_UTTS or self.num_frames == 0:
            return []
        verdicts = judge_silence(self.silence_share)
        if len(lengths) >= _FEWEST_PHONES and self.phones.names:
            verdicts += [*self._judge_long(lengths), *self._judge_short(), *self._judge_median(lengths)]
        verdicts += self._judge_retries()
        return sorted(verdicts, key=lambda verdict: verdict.level is not Level.ERROR)

    def _judge_long(self, lengths: np.ndarray) -> list[Verdict]:
        # A phone that is a whole word lasts as long as words do.
        limit = max(_LONG, _LONG_MEDIANS * float(np.median(lengths)))
        longest = np.array(self._longest_of_utt) * self.frame_shift
        share, of_utts = float((lengths > limit).mean()), float((longest > limit).mean())
        num_absurd = int((longest > 4 * limit).sum())
        absurd = num_absurd >= 3 and num_absurd >= 0.01 * self.num_utts
        if not (share > 0.04 or (share > 0.015 and of_utts > 0.3) or absurd):
            return []
        frames, phone, utt = self.longest
        num_utts = int((longest > limit).sum())
        fault = (
            f"{100 * share:.1f} % of the phones last over {limit:.2g} s, in {num_utts} of {self.num_utts} "
            f"utterances, the longest {frames * self.frame_shift:.2f} s ('{phone}' in {utt})"
        )
        return [Verdict(Level.ERROR if share > 0.3 else Level.WARNING, fault, _HINT_PAUSES)]

    def _judge_short(self) -> list[Verdict]:
        share = self._shortest / len(self.lengths)
        if share <= 0.5:
            return []
        fault = f"{100 * share:.1f} % of the phones are as short as their HMMs allow"
        hint = "is there less speech than the transcripts say, or is the frame shift wrong?"
        return [Verdict(Level.ERROR if share > 0.95 else Level.WARNING, fault, hint)]

    def _judge_median(self, lengths: np.ndarray) -> list[Verdict]:
        median = float(np.median(lengths))
        speech = {_base(name) for phone, name in self.phones.names.items() if phone not in self.phones.others}
        # Twenty words as phones may be digits and the like; more phones are those of a language.
        limit = 0.4 if len(speech) >= 24 else 1.0
        if median <= limit:
            return []
        fault = f"half of the phones last over {median:.2f} s"
        return [Verdict(Level.ERROR if median > 3.0 else Level.WARNING, fault, _HINT_PAUSES)]

    def _judge_retries(self) -> list[Verdict]:
        if not self.num_retried or self.num_retried <= 0.2 * self.num_utts:
            return []
        fault = (
            f"{self.num_retried} of {self.num_utts} utterances were aligned in the second try only, by the "
            "wider beam"
        )
        hint = "do transcripts and recordings belong together, and is the model of such data?"
        return [Verdict(Level.WARNING, fault, hint)]


def judge_silence(share: float) -> list[Verdict]:
    """What cannot be right about the share of the frames that are silence, or are to be it."""
    if share <= 0.85:
        return []
    fault = f"{100 * share:.1f} % of the frames are silence"
    hint = "do the transcripts belong to the recordings? Cut long pauses off (segments)"
    return [Verdict(Level.ERROR if share > 0.98 else Level.WARNING, fault, hint)]


def least_frames(states: Collection) -> int:
    """The fewest frames that a phone of these states, the end included, can last."""
    states = list(states)
    least = {0: 0}
    queue = [0]
    while queue:
        state = queue.pop(0)
        for destination, _ in states[state].transitions:
            if destination not in least:
                least[destination] = least[state] + 1
                queue.append(destination)
    return least.get(len(states) - 1, 1)


def judge_and_tell(
    quality: AlignmentQuality, what: str | Path, oov: str = "", allow_implausible: bool = False
) -> None:
    """Log the line of figures, and what is implausible about them as warnings.

    Args:
        quality: of the alignments.
        what: the data, as they should read in the log.
        oov: how many words are outside the lexicon, as it should read at the end of the line.
        allow_implausible: what is absurd is only warned of, too.

    Raises:
        DktError: the alignments are absurd.
    """
    logger.info("alignment: %s: %s%s", what, quality.describe(), f", {oov}" if oov else "")
    absurd = None
    for verdict in quality.judge():
        if verdict.level is Level.ERROR and not allow_implausible and absurd is None:
            absurd = verdict
        else:
            logger.warning("alignment: %s: %s", what, verdict)
    if absurd is not None:
        raise DktError(
            f"the alignment cannot be right: {absurd.fault}",
            path=what,
            hint=f"{absurd.hint}; --allow-implausible lets it pass",
        )
