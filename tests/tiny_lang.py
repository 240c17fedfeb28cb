"""A lang directory of four phones and four words, two of which sound the same."""

from __future__ import annotations

from pathlib import Path

import kaldifst

from dkt.fstext.fst import FstArrays
from dkt.hmm.topology import HmmState, HmmTopology

PHONES = ["<eps>", "SIL", "A", "B", "C", "#0", "#1", "#2"]
WORDS = ["<eps>", "YES", "NO", "TWO", "TOO", "#0", "<s>", "</s>"]
LEXICON = {"YES": "A B", "NO": "C", "TWO": "A", "TOO": "A"}
DISAMBIG = {"TWO": "#1", "TOO": "#2"}
NO_SIL, SIL = 0.5, 1.0


def tiny_topology() -> HmmTopology:
    """Kaldi's topologies: five states for silence, three in a row for the other phones."""
    silence = [HmmState(0, 0, [(0, 0.25), (1, 0.25), (2, 0.25), (3, 0.25)])]
    silence += [HmmState(i, i, [(1, 0.25), (2, 0.25), (3, 0.25), (4, 0.25)]) for i in (1, 2, 3)]
    silence += [HmmState(4, 4, [(4, 0.75), (5, 0.25)]), HmmState()]
    speech = [HmmState(i, i, [(i, 0.75), (i + 1, 0.25)]) for i in range(3)] + [HmmState()]
    return HmmTopology([silence, speech], {1: 0, 2: 1, 3: 1, 4: 1})


def _lexicon(with_disambig: bool) -> str:
    """Kaldi's lexicon FST: silence may stand at the start and after every word."""
    lines = [f"0 1 0 0 {NO_SIL}", f"0 1 1 0 {SIL}", "2 1 1 0"]
    num_states = 3
    for word, pron in LEXICON.items():
        phones = pron.split() + ([DISAMBIG[word]] if with_disambig and word in DISAMBIG else [])
        state, olabel = 1, WORDS.index(word)
        for phone in phones[:-1]:
            lines.append(f"{state} {num_states} {PHONES.index(phone)} {olabel}")
            state, olabel, num_states = num_states, 0, num_states + 1
        for destination, cost in ((1, NO_SIL), (2, SIL)):
            lines.append(f"{state} {destination} {PHONES.index(phones[-1])} {olabel} {cost}")
    return "\n".join([*lines, "1 0", ""])


def save_text_fst(path: Path, text: str) -> None:
    """Compile an FST from OpenFst's text form and write it."""
    FstArrays.from_kaldifst(kaldifst.compile(text, acceptor=False)).save(path, "vector")


def write_tiny_lang(path: Path) -> None:
    """Write the directory, with a bigram-free grammar in which NO is likely and TOO unlikely."""
    (path / "phones").mkdir(parents=True)
    (path / "words.txt").write_text("".join(f"{w} {i}\n" for i, w in enumerate(WORDS)))
    (path / "phones.txt").write_text("".join(f"{p} {i}\n" for i, p in enumerate(PHONES)))
    (path / "phones" / "disambig.int").write_text("5\n6\n7\n")
    (path / "phones" / "silence.csl").write_text("1\n")
    (path / "phones" / "word_boundary.int").write_text("1 nonword\n")
    save_text_fst(path / "L.fst", _lexicon(False))
    save_text_fst(path / "L_disambig.fst", _lexicon(True))
    grammar = {"YES": 1.5, "NO": 0.7, "TWO": 1.6, "TOO": 2.5}
    loops = [f"0 0 {WORDS.index(w)} {WORDS.index(w)} {cost}" for w, cost in grammar.items()]
    save_text_fst(path / "G.fst", "\n".join([*loops, "0 2.0", ""]))
