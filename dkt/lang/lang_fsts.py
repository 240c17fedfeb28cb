"""The FSTs of a lang directory, looked at before a graph is made of them: L takes phones, G words."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.fstext.fst import FstArrays, load_fst
from dkt.util.symbols import BACKOFF, read_symbol_table


def load_lexicon_and_grammar(lang_dir: Path) -> tuple[FstArrays, FstArrays]:
    """Read ``L_disambig.fst`` and ``G.fst``.

    Raises:
        DktError: one is missing or broken, has labels that ``phones.txt`` or ``words.txt`` lack, or is
            another FST under that name.
    """
    phones, words = (read_symbol_table(lang_dir / name) for name in ("phones.txt", "words.txt"))
    places = lang_dir / "L_disambig.fst", lang_dir / "G.fst"
    lexicon, grammar = map(load_fst, places)
    _check_labels(lexicon, places[0], phones.values(), words.values(), "phones.txt")
    _check_labels(grammar, places[1], words.values(), words.values(), "words.txt")
    _check_grammar(grammar, places[1], words.get(BACKOFF, 0))
    _check_lexicon(lexicon, places[0])
    return lexicon, grammar


def _check_labels(
    fst: FstArrays, path: Path, inputs: Collection[int], outputs: Collection[int], table: str
) -> None:
    for side, known, name in (("ilabel", inputs, table), ("olabel", outputs, "words.txt")):
        missing = np.setdiff1d(fst.arcs[side], [0, *known])
        if len(missing):
            kind = "input" if side == "ilabel" else "output"
            raise DktError(
                f"{len(missing)} {kind} labels are not in {name}, the first {missing[0]}",
                path=path,
                hint="take L_disambig.fst, G.fst, phones.txt and words.txt of one lang directory",
            )


def _check_grammar(fst: FstArrays, path: Path, backoff: int) -> None:
    taken = fst.arcs[(fst.arcs["ilabel"] != 0) & (fst.arcs["ilabel"] != backoff)]
    # A few words may be written as others; a lexicon or a graph has nothing but such arcs.
    if (taken["ilabel"] == taken["olabel"]).sum() < 0.5 * len(taken):
        raise DktError(
            "not a grammar: most of its arcs take one label and give another",
            path=path,
            hint="make it with dkt format-lm, or Kaldi's arpa2fst",
        )


def _check_lexicon(fst: FstArrays, path: Path) -> None:
    taken = fst.arcs[fst.arcs["ilabel"] != 0]
    if len(taken) > 1 and (taken["ilabel"] == taken["olabel"]).all():
        raise DktError(
            "not a lexicon: every arc gives the label that it takes",
            path=path,
            hint="make it with dkt prepare-lang, or Kaldi's prepare_lang.sh",
        )
