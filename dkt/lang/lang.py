"""The lang directory: phones, words, topology and the lexicon FSTs, file for file as Kaldi's."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.errors import DktError
from dkt.fstext.fst import write_fst
from dkt.hmm.topo import make_topology
from dkt.lang.lexicon import Dictionary, Pronunciation, read_dictionary
from dkt.lang.lexicon_fst import add_disambig, make_lexicon_fst, mark_positions
from dkt.util.symbols import (
    BACKOFF,
    BOS,
    EOS,
    EPS,
    read_symbol_table,
    read_transcripts,
    transcripts_to_ints,
    write_symbol_table,
)
from dkt.util.text import write_lines

__all__ = ["LangOptions", "prepare_lang", "read_symbol_table", "read_transcripts", "transcripts_to_ints"]

logger = logging.getLogger(__name__)

_BOUNDARY = {"_B": "begin", "_E": "end", "_I": "internal", "_S": "singleton"}
_SUFFIXES = tuple(_BOUNDARY)
_MAX_STATES = 100


@dataclass(frozen=True)
class LangOptions:
    """Options of ``prepare_lang``, with the names and defaults of Kaldi's ``utils/prepare_lang.sh``."""

    position_dependent_phones: bool = True
    sil_prob: float = 0.5
    num_sil_states: int = 5
    num_nonsil_states: int = 3
    share_silence_phones: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.sil_prob < 1.0:
            raise DktError(f"--sil-prob is {self.sil_prob}, expected a probability from 0 to below 1")
        if not 1 <= self.num_nonsil_states <= _MAX_STATES:
            raise DktError(f"--num-nonsil-states is {self.num_nonsil_states}, expected 1 to {_MAX_STATES}")
        if self.num_sil_states == 2 or not 1 <= self.num_sil_states <= _MAX_STATES:
            raise DktError(f"--num-sil-states is {self.num_sil_states}, expected 1 or 3 to {_MAX_STATES}")


def prepare_lang(
    dict_dir: str | Path, oov_word: str, lang_dir: str | Path, options: LangOptions | None = None
) -> None:
    """Make a lang directory from a dictionary directory, as Kaldi's ``utils/prepare_lang.sh`` does.

    Args:
        dict_dir: the dictionary directory, see ``read_dictionary``.
        oov_word: the word of the lexicon that stands for all words outside it in training.
        lang_dir: the directory to write.
        options: see ``LangOptions``.

    Raises:
        DktError: the dictionary is wrong, ``oov_word`` is not in its lexicon, or a file cannot be written.
    """
    options = options or LangOptions()
    dictionary = read_dictionary(dict_dir)
    _check_oov_word(oov_word, dictionary)
    lang = Path(lang_dir)
    lexicon = mark_positions(dictionary.lexicon) if options.position_dependent_phones else dictionary.lexicon
    disambig_lexicon, num_disambig = add_disambig(lexicon)
    # One symbol more than the lexicon needs, for the end of the optional silence.
    disambig = [f"#{n}" for n in range(num_disambig + 2)]
    refuse_other_kinds(lang, Kind.LANG)
    _make_directories(lang)
    words = _write_words(lang, dictionary.words)
    phones = _write_phones(lang, dictionary, options, disambig)
    _write_align_lexicon(lang / "phones", lexicon, dictionary.optional_silence, phones, words)
    write_lines(lang / "oov.txt", [oov_word])
    write_lines(lang / "oov.int", [str(words[oov_word])])
    write_lines(lang / "phones" / "wdisambig_phones.int", [str(phones[BACKOFF])])
    write_lines(lang / "phones" / "wdisambig_words.int", [str(words[BACKOFF])])

    make_fst = partial(
        make_lexicon_fst,
        phones=phones,
        words=words,
        sil_phone=dictionary.optional_silence,
        sil_prob=options.sil_prob,
    )
    write_fst(make_fst(lexicon), lang / "L.fst")
    fst = make_fst(disambig_lexicon, sil_disambig=disambig[-1], word_disambig=BACKOFF)
    write_fst(fst, lang / "L_disambig.fst")
    logger.info(
        "%s: %d words, %d pronunciations, %d phones, %d disambiguation symbols",
        lang,
        len(dictionary.words),
        len(lexicon),
        len(phones) - len(disambig) - 1,
        len(disambig),
    )


def _check_oov_word(word: str, dictionary: Dictionary) -> None:
    if word not in dictionary.words:
        raise DktError(
            f"the OOV word '{word}' is not in the lexicon",
            path=dictionary.path,
            hint=f"add it with a noise phone as its pronunciation, for example '{word} SPN'",
        )


def _make_directories(lang: Path) -> None:
    try:
        if (lang / "phones").exists():
            shutil.rmtree(lang / "phones")
        (lang / "phones").mkdir(parents=True)
        # They are written last: should that fail, no old ones must be left beside the new words.
        for name in ("L.fst", "L_disambig.fst"):
            (lang / name).unlink(missing_ok=True)
    except OSError as error:
        raise DktError(f"cannot be written: {error.strerror}", path=lang) from None


def _write_words(lang: Path, lexicon_words: Sequence[str]) -> dict[str, int]:
    symbols = [EPS, *lexicon_words, BACKOFF, BOS, EOS]
    path = lang / "words.txt"
    if (lang / "G.fst").exists() and path.exists() and list(read_symbol_table(path)) != symbols:
        logger.warning("%s: G.fst was made for another words.txt: make it again with dkt format-lm", lang)
    return write_symbol_table(path, symbols)


def _expand(group: Iterable[str], silence: set[str], options: LangOptions) -> list[str]:
    """All forms of the phones: with each mark of a position, and without one for silence between words."""
    if not options.position_dependent_phones:
        return list(group)
    return [
        phone + suffix for phone in group for suffix in (("", *_SUFFIXES) if phone in silence else _SUFFIXES)
    ]


def _write_phones(
    lang: Path, dictionary: Dictionary, options: LangOptions, disambig: list[str]
) -> dict[str, int]:
    """Write ``phones.txt``, ``topo`` and the lists of ``phones/``; returns the symbol table."""
    silence_set = set(chain(*dictionary.silence_phones))
    silence = _expand(chain(*dictionary.silence_phones), silence_set, options)
    nonsilence = _expand(chain(*dictionary.nonsilence_phones), silence_set, options)
    table = write_symbol_table(lang / "phones.txt", [EPS, *silence, *nonsilence, *disambig])
    groups = dictionary.silence_phones
    if options.share_silence_phones:
        groups = [list(chain(*groups))]
    sets = [_expand(group, silence_set, options) for group in [*groups, *dictionary.nonsilence_phones]]
    # A shared silence model keeps its states apart and is never split by the tree.
    roots = [["shared", "split", *phones] for phones in sets]
    if options.share_silence_phones:
        roots[0][:2] = ["not-shared", "not-split"]

    directory = lang / "phones"
    lists = {
        "silence": silence,
        "nonsilence": nonsilence,
        "optional_silence": [dictionary.optional_silence],
        "disambig": disambig,
        "context_indep": silence,
    }
    for name, phones in lists.items():
        _write_both(directory / name, [[phone] for phone in phones], table)
        write_lines(directory / f"{name}.csl", [":".join(str(table[phone]) for phone in phones)])
    _write_both(directory / "sets", sets, table)
    _write_both(directory / "roots", roots, table, first=2)
    write_lines(directory / "wdisambig.txt", [BACKOFF])
    _write_questions(directory, dictionary, options, table)
    _write_word_boundary(directory, dictionary, options, [*silence, *nonsilence], table)
    topo = make_topology(
        [table[phone] for phone in nonsilence],
        [table[phone] for phone in silence],
        num_nonsil_states=options.num_nonsil_states,
        num_sil_states=options.num_sil_states,
    )
    write_lines(lang / "topo", topo)
    return table


def _write_both(
    stem: Path,
    rows: Iterable[Sequence[str]],
    table: Mapping[str, int],
    first: int = 0,
    last: int | None = None,
) -> None:
    """Write rows as ``.txt``, and as ``.int`` with the fields from ``first`` to before ``last`` numbered."""
    rows = list(rows)
    write_lines(stem.with_suffix(".txt"), [" ".join(row) for row in rows])
    numbered = []
    for row in rows:
        end = len(row) if last is None else last
        numbered.append(" ".join([*row[:first], *(str(table[s]) for s in row[first:end]), *row[end:]]))
    write_lines(stem.with_suffix(".int"), numbered)


def _write_questions(
    directory: Path, dictionary: Dictionary, options: LangOptions, table: Mapping[str, int]
) -> None:
    silence = list(chain(*dictionary.silence_phones))
    nonsilence = list(chain(*dictionary.nonsilence_phones))
    rows = [_expand(question, set(silence), options) for question in dictionary.extra_questions]
    lines = [" ".join(row) for row in rows]
    if options.position_dependent_phones:
        by_position = [[phone + suffix for phone in nonsilence] for suffix in _SUFFIXES]
        by_position += [[phone + suffix for phone in silence] for suffix in ("", *_SUFFIXES)]
        rows += by_position
        # Kaldi's script leaves a space at the end of these lines.
        lines += ["".join(f"{phone} " for phone in row) for row in by_position]
    write_lines(directory / "extra_questions.txt", lines)
    write_lines(
        directory / "extra_questions.int", [" ".join(str(table[phone]) for phone in row) for row in rows]
    )


def _write_word_boundary(
    directory: Path,
    dictionary: Dictionary,
    options: LangOptions,
    phones: Iterable[str],
    table: Mapping[str, int],
) -> None:
    """Without marks of positions, only a word_boundary.txt that the dictionary brings is taken over."""
    rows = dictionary.word_boundary
    if options.position_dependent_phones:
        rows = [[phone, _BOUNDARY.get(phone[-2:], "nonword")] for phone in phones]
    if rows:
        _write_both(directory / "word_boundary", rows, table, last=1)


def _write_align_lexicon(
    directory: Path,
    lexicon: Iterable[Pronunciation],
    optional_silence: str,
    phones: Mapping[str, int],
    words: Mapping[str, int],
) -> None:
    rows = {(entry.word, entry.word, *entry.phones) for entry in lexicon}
    rows.add((EPS, EPS, optional_silence))
    ordered = sorted(rows, key=" ".join)
    write_lines(directory / "align_lexicon.txt", [" ".join(row) for row in ordered])
    numbered = [
        " ".join(str(index) for index in (*map(words.get, row[:2]), *map(phones.get, row[2:])))
        for row in ordered
    ]
    write_lines(directory / "align_lexicon.int", numbered)
