"""A Kaldi dictionary directory: the phones and the lexicon that a lang directory is made from."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.findings import VERBOSE, list_names, some
from dkt.base.ranges import real_number
from dkt.util.symbols import EPS, RESERVED
from dkt.util.text import fields, read_lines

logger = logging.getLogger(__name__)

# "#..." would read as a disambiguation symbol and "_B" as a mark of the position in the word.
_FORBIDDEN_PHONE = re.compile(r"#.*|.*_[BESI]|<eps>")


@dataclass(frozen=True)
class Pronunciation:
    """One way to say a word, with its probability in (0, 1]."""

    word: str
    prob: float
    phones: tuple[str, ...]


@dataclass(frozen=True)
class Dictionary:
    """The content of a dictionary directory.

    Attributes:
        path: the directory.
        silence_phones: silence and noise phones; the phones of one inner list share a root of the tree.
        nonsilence_phones: the real phones, grouped likewise (the stresses or tones of one base phone).
        optional_silence: the phone that may stand between words.
        extra_questions: sets of phones for questions of the tree beside the automatic ones.
        lexicon: the pronunciations in the order of the file.
        word_boundary: phones that bear marks of their own of the position in the word, with that position.
    """

    path: Path
    silence_phones: list[list[str]]
    nonsilence_phones: list[list[str]]
    optional_silence: str
    extra_questions: list[list[str]]
    lexicon: list[Pronunciation]
    word_boundary: list[list[str]]

    @property
    def phones(self) -> list[str]:
        """All phones, silence phones first."""
        return list(chain(*self.silence_phones, *self.nonsilence_phones))

    @property
    def words(self) -> list[str]:
        """The words of the lexicon, each once, in the order of their bytes."""
        return sorted({entry.word for entry in self.lexicon})


def read_dictionary(dict_dir: str | Path) -> Dictionary:
    """Read and check a dictionary directory, by the rules of Kaldi's ``utils/validate_dict_dir.pl``.

    It holds ``silence_phones.txt``, ``nonsilence_phones.txt``, ``optional_silence.txt``, maybe
    ``extra_questions.txt`` and ``word_boundary.txt``, and ``lexicon.txt`` (``<word> <phone> ...``) or
    ``lexiconp.txt`` (``<word> <probability> <phone> ...``), which is taken where both are there.

    Raises:
        DktError: a file is missing or malformed, or the files do not agree; the file and the line are named.
    """
    path = Path(dict_dir)
    if not path.is_dir():
        raise DktError("no such dictionary directory", path=path)
    silence = _read_phones(path / "silence_phones.txt")
    nonsilence = _read_phones(path / "nonsilence_phones.txt")
    phones = _check_disjoint(silence, nonsilence, path)
    dictionary = Dictionary(
        path=path,
        silence_phones=silence,
        nonsilence_phones=nonsilence,
        optional_silence=_read_optional_silence(path / "optional_silence.txt", set(chain(*silence))),
        extra_questions=_read_questions(path / "extra_questions.txt", phones),
        lexicon=_read_lexicons(path, phones),
        word_boundary=_read_word_boundary(path / "word_boundary.txt", phones),
    )
    _check_distinguishable(dictionary)
    _report_unused(dictionary)
    _refuse_unsupported(path)
    return dictionary


def read_lexicon(path: str | Path, phones: set[str], *, with_probs: bool) -> list[Pronunciation]:
    """Read and check a lexicon.

    Args:
        path: ``lexicon.txt``, or ``lexiconp.txt`` with a probability in the second field.
        phones: the phones that pronunciations may use.
        with_probs: whether the second field is the probability of the pronunciation.

    Raises:
        DktError: the file is missing or empty, or a line is empty, names a reserved symbol, has no
            pronunciation, a wrong probability or an unknown phone, or repeats an earlier line.
    """
    lexicon: list[Pronunciation] = []
    first_line: dict[tuple[str, tuple[str, ...]], int] = {}
    for number, line in enumerate(read_lines(path), 1):
        entry = _parse_entry(line, path, number, with_probs)
        for phone in entry.phones:
            if phone not in phones:
                raise DktError(
                    f"line {number}: word '{entry.word}' has the phone '{phone}', which is in neither "
                    "silence_phones.txt nor nonsilence_phones.txt",
                    path=path,
                    hint="correct the pronunciation, or add the phone",
                )
        previous = first_line.setdefault((entry.word, entry.phones), number)
        if previous != number:
            raise DktError(
                f"line {number} gives word '{entry.word}' the same pronunciation as line {previous}",
                path=path,
                hint="delete one of them",
            )
        lexicon.append(entry)
    if not lexicon:
        raise DktError("the lexicon is empty", path=path)
    return lexicon


def _parse_entry(line: str, path: str | Path, number: int, with_probs: bool) -> Pronunciation:
    parts = fields(line)
    if not parts:
        raise DktError(f"line {number} is empty, expected a word and its phones", path=path)
    word, rest = parts[0], parts[1:]
    if word in RESERVED:
        raise DktError(
            f"line {number}: '{word}' is a reserved symbol and cannot be a word",
            path=path,
            hint="delete the line",
        )
    prob = 1.0
    if with_probs:
        prob = _parse_prob(rest[0] if rest else "", path, number)
        rest = rest[1:]
    if not rest:
        raise DktError(
            f"line {number}: word '{word}' has an empty pronunciation",
            path=path,
            hint="add its phones, or delete the line",
        )
    return Pronunciation(word, prob, tuple(rest))


def _parse_prob(text: str, path: str | Path, number: int) -> float:
    try:
        prob = real_number(text)
    except ValueError:
        prob = 0.0
    if not 0.0 < prob <= 1.0:
        raise DktError(
            f"line {number}: expected a pronunciation probability above 0 and up to 1 in the second field, "
            f"found '{text}'",
            path=path,
        )
    return prob


def _read_lexicons(path: Path, phones: set[str]) -> list[Pronunciation]:
    plain_path, probs_path = path / "lexicon.txt", path / "lexiconp.txt"
    if not probs_path.exists():
        if not plain_path.exists():
            raise DktError("neither lexicon.txt nor lexiconp.txt is there", path=path)
        return read_lexicon(plain_path, phones, with_probs=False)
    lexicon = read_lexicon(probs_path, phones, with_probs=True)
    if plain_path.exists():
        plain = read_lexicon(plain_path, phones, with_probs=False)
        if [(e.word, e.phones) for e in plain] != [(e.word, e.phones) for e in lexicon]:
            raise DktError(
                "lexicon.txt and lexiconp.txt do not hold the same pronunciations in the same order",
                path=path,
                hint="delete the one that is out of date",
            )
    return lexicon


def _read_phones(path: Path) -> list[list[str]]:
    groups = _read_groups(path)
    if not groups:
        raise DktError("the list of phones is empty", path=path)
    seen: set[str] = set()
    for phone in chain(*groups):
        if _FORBIDDEN_PHONE.fullmatch(phone):
            raise DktError(
                f"phone '{phone}' has a reserved form: a phone may not begin with '#', end in _B, _E, _I or "
                f"_S, or be {EPS}",
                path=path,
                hint="rename the phone",
            )
        if phone in seen:
            raise DktError(f"phone '{phone}' is a duplicate", path=path)
        seen.add(phone)
    return groups


def _read_groups(path: Path) -> list[list[str]]:
    groups = [fields(line) for line in read_lines(path)]
    for number, group in enumerate(groups, 1):
        if not group:
            raise DktError(f"line {number} is empty, expected phones", path=path)
    return groups


def _read_optional_silence(path: Path, silence: set[str]) -> str:
    found = list(chain(*_read_groups(path)))
    if len(found) != 1:
        raise DktError(f"expected one phone, found {len(found)}", path=path)
    if found[0] not in silence:
        raise DktError(f"phone '{found[0]}' is not in silence_phones.txt", path=path)
    return found[0]


def _read_questions(path: Path, phones: set[str]) -> list[list[str]]:
    if not path.exists():
        return []
    questions = _read_groups(path)
    for number, question in enumerate(questions, 1):
        for phone in question:
            if phone not in phones:
                raise DktError(
                    f"line {number}: phone '{phone}' is in neither silence_phones.txt nor "
                    "nonsilence_phones.txt",
                    path=path,
                )
    return questions


def _read_word_boundary(path: Path, phones: set[str]) -> list[list[str]]:
    rows = _read_groups(path) if path.exists() else []
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or row[0] not in phones:
            raise DktError(f"line {number}: expected '<phone> <position>'", path=path)
    return rows


def _check_disjoint(silence: list[list[str]], nonsilence: list[list[str]], path: Path) -> set[str]:
    both = sorted(set(chain(*silence)) & set(chain(*nonsilence)))
    if both:
        raise DktError(
            f"phone '{both[0]}' is in silence_phones.txt and in nonsilence_phones.txt",
            path=path,
            hint="a phone belongs in one of them",
        )
    return set(chain(*silence, *nonsilence))


def _check_distinguishable(dictionary: Dictionary) -> None:
    """Phones that share a root can be told apart by extra questions only: without one they are one phone."""
    questions = [frozenset(question) for question in dictionary.extra_questions]
    for group in dictionary.nonsilence_phones:
        for first, second in combinations(group, 2):
            if not any((first in question) != (second in question) for question in questions):
                raise DktError(
                    f"phones '{first}' and '{second}' share a line of nonsilence_phones.txt, but no question "
                    "of extra_questions.txt tells them apart",
                    path=dictionary.path,
                    hint="add a question that holds one of them, or put them on lines of their own",
                )


def _report_unused(dictionary: Dictionary) -> None:
    used = set(chain(*(entry.phones for entry in dictionary.lexicon)))
    unused = sorted(set(chain(*dictionary.nonsilence_phones)) - used)
    if unused:
        logger.warning(
            "%s: %d phones that no word uses: %s", dictionary.path, len(unused), some(unused, VERBOSE)
        )
        list_names(logger, "no word uses", unused)


def _refuse_unsupported(path: Path) -> None:
    if (path / "nonterminals.txt").exists():
        raise DktError(
            "nonterminals.txt is there, but nonterminal symbols of grammars are not offered",
            path=path,
            hint="delete it, or use Kaldi's utils/prepare_lang.sh",
        )
    if (path / "lexiconp_silprob.txt").exists():
        logger.warning(
            "%s: lexiconp_silprob.txt is not used: silence is as probable after every word (--sil-prob)", path
        )
