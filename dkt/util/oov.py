"""Words outside a vocabulary: how many there are, and what keeps them apart from the words they should be."""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.findings import VERBOSE, list_names, plural, some
from dkt.util.text import BYTE_ORDER_MARK, hidden_character, refused_character

logger = logging.getLogger(__name__)

#: The share of words outside the lexicon beyond which alignments teach noise.
DEFAULT_MAX_OOV = 0.1

_LOOK_ALIKES = str.maketrans("\u2019\u2018\u02bc\u00b4`\u2010\u2011\u2013", "'''''---")
_CAUSES_FROM, _CAUSES_TOLD = 0.01, 3


def _without_hidden(word: str) -> str:
    kept = (char for char in word if not (hidden_character(char) or refused_character(char)))
    return "".join(kept).replace(BYTE_ORDER_MARK, "").replace("\u200c", "").replace("\u200d", "")


def _without_punctuation(word: str) -> str:
    def is_mark(char: str) -> bool:
        return unicodedata.category(char)[0] in "PS"

    begin, end = 0, len(word)
    while begin < end and is_mark(word[begin]):
        begin += 1
    while begin < end and is_mark(word[end - 1]):
        end -= 1
    return word[begin:end]


def _reread(word: str) -> str:
    """What was UTF-8 and was taken for Latin-1 on the way."""
    try:
        return word.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return word


@dataclass(frozen=True)
class _Difference:
    """One way in which two spellings of a word differ.

    Attributes:
        name: as a message tells it.
        mend: what to do about it.
        plain: makes the spellings alike.
        hidden: nobody sees it.
    """

    name: str
    mend: str
    plain: Callable[[str], str]
    hidden: bool = False


# Those that change least come first.
_DIFFERENCES = (
    _Difference(
        "the Unicode form (NFC or NFD)",
        "bring both into one form: uconv -x any-nfc, or Python's unicodedata.normalize('NFC', line)",
        lambda word: unicodedata.normalize("NFC", word),
        hidden=True,
    ),
    _Difference(
        "full-width letters or other compatibility forms",
        "bring both into one form: uconv -x any-nfkc, or Python's unicodedata.normalize('NFKC', line)",
        lambda word: unicodedata.normalize("NFKC", word),
        hidden=True,
    ),
    _Difference(
        "characters that cannot be seen, such as a byte order mark",
        "remove them",
        _without_hidden,
        hidden=True,
    ),
    _Difference("letter case", "write both in the same letter case", str.casefold),
    _Difference("punctuation at the word", "part the punctuation from the words", _without_punctuation),
    _Difference(
        "the kind of apostrophe or hyphen",
        "write one kind in both",
        lambda word: word.translate(_LOOK_ALIKES),
    ),
    _Difference("an encoding that was taken for another one", "convert the text again", _reread),
)
_ALL = _Difference(
    "letter case, punctuation and Unicode form together",
    "write both in the same way",
    lambda word: _without_punctuation(
        _without_hidden(unicodedata.normalize("NFKC", word).casefold().translate(_LOOK_ALIKES))
    ),
)
_JOINED = _Difference(
    "the missing spaces between words", "part the words as the lexicon does", lambda word: word
)


@dataclass
class Cause:
    """Why words are outside the vocabulary.

    Attributes:
        name: what they differ in from words of the vocabulary.
        mend: what to do about it.
        example: such a word, and the word that it should be.
        count: how often such words stand in the text.
        hidden: nobody sees the difference.
    """

    name: str
    mend: str
    example: tuple[str, str]
    count: int = 0
    hidden: bool = False


def find_causes(unknown: Mapping[str, int], vocabulary: Collection[str]) -> list[Cause]:
    """What keeps words apart from those of a vocabulary, the commonest first.

    Args:
        unknown: words that are not in the vocabulary, and how often each stands in the text.
        vocabulary: the words.

    Returns:
        The causes; none for words that are like no word of the vocabulary.
    """
    causes: dict[str, Cause] = {}
    left = dict(sorted(unknown.items(), key=lambda item: (-item[1], item[0])))
    for difference in (*_DIFFERENCES, _ALL):
        if not left:
            break
        # Symbols such as <UNK> and #0 are not words.
        index = {difference.plain(word): word for word in vocabulary if not word.startswith(("<", "#"))}
        for word in list(left):
            plain = difference.plain(word)
            if plain and plain in index:
                example = (word, index[plain])
                cause = Cause(difference.name, difference.mend, example, hidden=difference.hidden)
                causes.setdefault(difference.name, cause).count += left.pop(word)
    known = set(vocabulary)
    for word, count in left.items():
        if len(word) > 1 and all(char in known for char in word):
            cause = Cause(_JOINED.name, _JOINED.mend, (word, " ".join(word)))
            causes.setdefault(_JOINED.name, cause).count += count
    return sorted(causes.values(), key=lambda cause: -cause.count)


@dataclass
class OovCount:
    """How many words of a text are outside a vocabulary.

    Attributes:
        path: the text.
        vocabulary: the words.
        num_words: the words of the text.
        unknown: how often each word outside the vocabulary stands there.
        oov_word: the word of the vocabulary that stands for those outside it; empty if there is none.
        num_written: how often that word itself stands in the text: somebody has put it for others before.
    """

    path: str | Path
    vocabulary: Collection[str]
    num_words: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    oov_word: str = ""
    num_written: int = 0

    @classmethod
    def of(
        cls,
        transcripts: Iterable[Sequence[str]],
        vocabulary: Collection[str],
        path: str | Path,
        oov_word: str | None = None,
    ) -> OovCount:
        """Count the words of transcripts; ``oov_word`` is that of the lang directory's ``oov.txt``."""
        count = cls(path, vocabulary, oov_word=oov_word or "")
        words = Counter(word for transcript in transcripts for word in transcript)
        count.num_words = words.total()
        count.unknown = Counter({word: number for word, number in words.items() if word not in vocabulary})
        count.num_written = words[oov_word] if oov_word and oov_word in vocabulary else 0
        return count

    @property
    def num_unknown(self) -> int:
        """Words of the text that are outside the vocabulary, those included that the OOV word stands for."""
        return self.unknown.total() + self.num_written

    @property
    def share(self) -> float:
        """The share of them, from 0 to 1; 0 for an empty text."""
        return self.num_unknown / max(self.num_words, 1)

    def figures(self) -> str:
        """How many of how many."""
        words = plural(self.num_words, "word")
        share = f"{self.num_unknown} of {words} ({100 * self.share:.2f} %)"
        return f"{share} are out of vocabulary{self._written()}"

    def _written(self) -> str:
        return (
            f", {self.num_written} of them already written as '{self.oov_word}'" if self.num_written else ""
        )

    def describe(self, mapped: bool = False) -> str:
        """How many, the commonest of them, and what keeps them apart from words of the vocabulary.

        Args:
            mapped: whether they count as the OOV word.
        """
        words = plural(self.num_words, "word")
        text = f"{self.num_unknown} of {words} ({100 * self.share:.2f} %) are not in the lexicon"
        text += f" and count as '{self.oov_word}'" if mapped and self.oov_word and self.unknown else ""
        text += self._written()
        if not self.unknown:
            return text
        text += f"; the most frequent: {some(self.by_frequency(), VERBOSE)}"
        for cause in self.causes()[:_CAUSES_TOLD] if self.share >= _CAUSES_FROM else ():
            wrong, right = cause.example
            text += f"; {cause.count} differ from words of it in {cause.name} ('{wrong}' for '{right}')"
        return text

    def by_frequency(self) -> list[str]:
        """The unknown words, each with its count, the most frequent first."""
        frequent = sorted(self.unknown.items(), key=lambda item: (-item[1], item[0]))
        return [f"{word} ({count})" for word, count in frequent]

    def causes(self) -> list[Cause]:
        """What keeps them apart from words of the vocabulary."""
        return find_causes(self.unknown, self.vocabulary)

    def mend(self) -> str:
        """What to do about them."""
        if not self.unknown and self.num_written:
            return (
                f"write the words themselves in the place of '{self.oov_word}', and put them into the lexicon"
            )
        mends = dict.fromkeys(cause.mend for cause in self.causes()[:_CAUSES_TOLD])
        return ", and ".join(mends) or "add them to the lexicon and prepare the lang directory again"

    def check(self, max_oov: float) -> None:
        """Stop where there are too many.

        Raises:
            DktError: the share is over ``max_oov``.
        """
        if self.share > max_oov:
            list_names(logger, "out of vocabulary", self.by_frequency())
            raise DktError(
                f"{self.describe()}; the limit is {100 * max_oov:g} %",
                path=self.path,
                hint=f"{self.mend()}, or allow it with --max-oov",
            )
