"""Sentences of a template grammar, of short English words many of which are easily confused."""

from __future__ import annotations

import numpy as np
from kaldi_corpus import SPLITS

# A word that stands more than once is drawn more often.
_WORDS = {
    "DET": "the the the a this that my your his her our every another",
    "ADJ":
    "big small old cold bold gold long wrong strong red dead bad sad mad wide white light bright right "
    "tight thick thin green clean cheap deep steep warm dark sharp hard soft lost last fast vast new "
    "blue true cool full dull plain great",
    "NOUN":
    "cat hat bat mat rat cap map tap cup cut coat boat goat note boot root suit fruit ship sheep sheet "
    "seat heat bell ball bowl bull pool tool tail nail mail sail well wall wheel hill bill pill pen pan "
    "pin fan van bed bread head thread bird word board cord card cart dog log frog fog book brook hook "
    "look lake cake bag back bank tank desk disk dish fish bush brush house mouse mouth month moon "
    "spoon stone bone phone road rope soap soup shop ship chip chair hair pear bear door floor store "
    "horse nurse purse bridge badge page cage garden carpet market basket pocket rocket ticket kitchen "
    "window shadow letter ladder river winter doctor farmer teacher picture mixture sugar butter button "
    "lemon melon table cable apple",
    "NAME": "tom tim jim kim pam sam dan ben ken jane john joan paul bill mark mike luke kate jack ruth",
    "PRON": "he she they we you i",
    "VERB":
    "saw sold told held felt built filled found bought brought caught kept left lost made paid read "
    "sent took shook broke woke moved proved used lit hit hid fed led shut cut put got forgot watched "
    "washed wanted needed painted carried married covered noticed finished opened followed borrowed",
    "INTR":
    "walked worked talked ran swam sang sat slept fell stood stayed waited rested lived arrived laughed",
    "PREP": "in on at by near under over with from for to into behind beside without",
    "ADV":
    "slowly lately quickly today away again often once first now then there here alone together "
    "yesterday tonight",
    "NUM": "two three four five six seven eight nine ten",
    "NOUNS":
    "cats hats boats goats ships sheep bells balls beds birds words cards books cakes bags dishes "
    "houses stones roads chairs doors horses pages tickets letters apples",
    "CONJ": "and but so when while before after because",
    "AUX": "will can could would should must",
    "INF":
    "see sell tell hold feel build fill find buy bring catch keep leave lose make pay read send take "
    "break wake move use hide lead",
}  # fmt: skip
WORDS = {kind: words.split() for kind, words in _WORDS.items()}
VOCABULARY = sorted({word for words in WORDS.values() for word in words})
MIN_WORDS, MAX_WORDS = 4, 9


def draw_sentence(rng: np.random.Generator) -> str:
    """One sentence of ``MIN_WORDS`` to ``MAX_WORDS`` words, in small letters."""
    while True:
        kinds = _draw_clause(rng)
        if rng.random() < 0.2:
            kinds = [*kinds, "CONJ", *_draw_clause(rng)]
        if MIN_WORDS <= len(kinds) <= MAX_WORDS:
            break
    return " ".join(WORDS[kind][int(rng.integers(len(WORDS[kind])))] for kind in kinds)


def _draw_clause(rng: np.random.Generator) -> list[str]:
    kind = rng.random()
    clause = _draw_subject(rng)
    if kind < 0.45:
        clause += ["VERB", *_draw_object(rng)]
    elif kind < 0.7:
        clause += ["INTR"]
    else:
        clause += ["AUX", "INF", *_draw_object(rng)]
    if rng.random() < 0.4:
        clause += ["PREP", *_draw_object(rng)]
    if rng.random() < 0.25:
        clause += ["ADV"]
    return clause


def _draw_subject(rng: np.random.Generator) -> list[str]:
    kind = rng.random()
    if kind < 0.15:
        return ["NAME"]
    if kind < 0.25:
        return ["PRON"]
    if kind < 0.35:
        return ["NUM", "NOUNS"]
    if kind < 0.42:
        return ["NUM", "ADJ", "NOUNS"]
    return ["DET", "ADJ", "NOUN"] if kind < 0.70 else ["DET", "NOUN"]


def _draw_object(rng: np.random.Generator) -> list[str]:
    while (drawn := _draw_subject(rng)) == ["PRON"]:
        pass
    return drawn


def draw_texts(rng: np.random.Generator, num_lm: int, num_utts: dict[str, int]) -> dict[str, list[str]]:
    """Sentences of the language model (``lm``) and of every split; one of dev or test stands nowhere else."""
    texts: dict[str, list[str]] = {}
    seen: set[str] = set()
    for part, count in {"lm": num_lm, **{split: num_utts[split] for split in SPLITS}}.items():
        texts[part] = []
        while len(texts[part]) < count:
            sentence = draw_sentence(rng)
            if part in ("dev", "test") and sentence in seen:
                continue
            seen.add(sentence)
            texts[part].append(sentence)
    return texts
