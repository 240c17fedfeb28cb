"""A lexicon of what eSpeak NG itself says, by phones that are named as in the CMU dictionary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import espeak_ng

from dkt.base.errors import DktError

# A pronunciation that is rarer than this among those of a word is left out.
MIN_SHARE = 0.15

# R-coloured vowels (AAR, AOR, EHR, IHR, UHR) stay phones of their own: half of the voices say no R there.
_SAME = "b d f g k l m n p r s t v w z"
_PHONES = {
    **{phoneme: phoneme.upper() for phoneme in _SAME.split()},
    "3:": "ER", "3": "ER", "@": "AX", "a#": "AX", "@2": "AX", "I": "IH", "I2": "IH", "I#": "IH", "i": "IY",
    "i:": "IY", "u:": "UW", "U": "UH", "E": "EH", "V": "AH", "a": "AE", "aa": "AE", "O:": "AO", "O2": "AO",
    "0": "AA", "A:": "AA", "A@": "AAR", "O@": "AOR", "o@": "AOR", "e@": "EHR", "U@": "UHR", "i@3": "IHR",
    "i@": "IHR", "oU": "OW", "aI": "AY", "aU": "AW", "eI": "EY", "OI": "OY", "@L": "AX L", "t#": "T",
    "t2": "T", "?": "T", "r-": "R", "n-": "N", "tS": "CH", "dZ": "JH", "D": "DH", "T": "TH", "S": "SH",
    "Z": "ZH", "N": "NG", "h": "HH", "j": "Y", "aI@": "AY AX", "aI3": "AY ER", "VR": "AH R",
}  # fmt: skip
_MARKS = "',%=|"
_PAUSES = ("", ":", ";", "!")


def phones_of(phonemes: Iterable[str]) -> str:
    """The phones of a word, with blanks between them.

    Raises:
        DktError: a phoneme has no phone here.
    """
    phones = []
    for marked in phonemes:
        phoneme = marked.strip(_MARKS)
        if phoneme in _PAUSES:
            continue
        if phoneme not in _PHONES:
            raise DktError(
                f"eSpeak NG says the phoneme '{phoneme}', which has no phone in the recipe",
                hint="pip install 'dkt[synthetic]' for the version that it is written for",
            )
        phones.append(_PHONES[phoneme])
    return " ".join(phones)


def make_lexicon(
    vocabulary: Sequence[str], sentences: Sequence[str], languages: Sequence[str]
) -> dict[str, list[str]]:
    """Pronunciations of every word, alone and in sentences, without accents; it must run in a fresh process.

    Args:
        vocabulary: the words, in small letters; the lexicon has them in capitals.
        sentences: of these words.
        languages: voices of eSpeak NG; a lexicon holds what any of them says.

    Raises:
        DktError: see ``espeak_ng.Synthesiser`` and ``phones_of``.
    """
    synthesiser = espeak_ng.Synthesiser(seed=1)
    said: dict[str, Counter[str]] = {word: Counter() for word in vocabulary}
    for language in languages:
        synthesiser.set_voice(language)
        for sentence in sentences:
            words, spoken = sentence.split(), synthesiser.phonemes(sentence)
            if len(words) == len(spoken):  # it says some pairs of words as one
                for word, phonemes in zip(words, spoken, strict=True):
                    said[word][phones_of(phonemes)] += 1
        for word in vocabulary:
            said[word][" ".join(map(phones_of, synthesiser.phonemes(word)))] += 1
    lexicon = {}
    for word, counts in said.items():
        enough = [phones for phones, count in counts.items() if count >= MIN_SHARE * counts.total()]
        lexicon[word.upper()] = sorted(enough) or [counts.most_common(1)[0][0]]
    return lexicon
