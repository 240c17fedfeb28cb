"""The files of a data directory, read to their end however damaged: each fault is a finding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.findings import Findings, Level, plural
from dkt.base.ranges import real_number
from dkt.util.data_dir import misplaced
from dkt.util.text import (
    BYTE_ORDER_MARK,
    Content,
    fields,
    parse_keyed_lines,
    refusal,
    refused_character,
    unpack,
)

#: What is wrong with the fields of a line, or None.
LineRule = Callable[[list[str]], str | None]


@dataclass
class KeyedFile:
    """A file of lines ``<key> <rest>``.

    Attributes:
        path: the file.
        lines: key to all fields of its (first) line, in the order of the file.
        entries: of a script file, key to the rest of the line as it stands, if there is any.
        faults: fault to the keys or line numbers that have it.
        hints: what to do about a fault, where there is something to say.
        odd: the faults that are characters that no text may hold.
    """

    path: Path
    lines: dict[str, list[str]] = field(default_factory=dict)
    entries: dict[str, str] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    hints: dict[str, str] = field(default_factory=dict)
    odd: set[str] = field(default_factory=set)

    @property
    def content(self) -> Content:
        """Where in a line the characters have to be those of words: names of files are as they are."""
        names_files = self.path.suffix == ".scp" or self.path.name == "reco2file_and_channel"
        return Content.SCRIPT if names_files else Content.WORDS

    def blame(self, fault: str, name: str, hint: str | None = None) -> None:
        """Note a fault of one key or line."""
        self.faults.setdefault(fault, []).append(name)
        if hint:
            self.hints[fault] = hint


def _number(text: str) -> float:
    """The number of a text; NaN, which fails every comparison, where there is none."""
    try:
        return real_number(text)
    except ValueError:
        return math.nan


def _num_fields(count: int, form: str) -> LineRule:
    return lambda line: None if len(line) == count else f"expected '{form}'"


def _at_least_two(form: str) -> LineRule:
    return lambda line: None if len(line) >= 2 else f"expected '{form}'"


def _value(valid: Callable[[str], bool], expected: str) -> LineRule:
    return lambda line: None if len(line) == 2 and valid(line[1]) else f"expected {expected}"


def _wav(line: list[str]) -> str | None:
    if len(line) < 2:
        return "expected '<recording> <file>'"
    # Nothing expands a tilde that is not part of a command.
    return "a tilde stands for the home directory: write the path out" if line[1].startswith("~") else None


def _segment(line: list[str]) -> str | None:
    if len(line) != 4 or not _number(line[3]) > _number(line[2]):
        return "expected '<utterance> <recording> <start> <end>', the end after the start"
    return None


def _channel(line: list[str]) -> str | None:
    if len(line) == 3 and line[2] in ("A", "B"):
        return None
    return "expected '<recording> <file> <channel>', the channel A or B"


def _is_count(text: str) -> bool:
    return _number(text) > 0 and _number(text).is_integer()


_WARP = _value(lambda text: 0.5 < _number(text) < 1.5, "one warping factor between 0.5 and 1.5")
_DURATION = _value(lambda text: _number(text) > 0, "one duration above 0")

#: What a line of each file looks like (``utils/validate_data_dir.sh``).
RULES: dict[str, LineRule] = {
    "utt2spk": _num_fields(2, "<utterance> <speaker>"),
    "spk2utt": _at_least_two("<speaker> <utterance>..."),
    "wav.scp": _wav,
    "segments": _segment,
    "reco2file_and_channel": _channel,
    "feats.scp": _at_least_two("<utterance> <file>"),
    "cmvn.scp": _at_least_two("<speaker> <file>"),
    "vad.scp": _at_least_two("<utterance> <file>"),
    "spk2gender": _value(lambda text: text in ("m", "f"), "m or f"),
    "spk2warp": _WARP,
    "utt2warp": _WARP,
    "utt2dur": _DURATION,
    "reco2dur": _DURATION,
    "utt2num_frames": _value(_is_count, "one number of frames above 0"),
}


def _decoded(data: bytes, file: KeyedFile) -> list[str]:
    """The lines; those that are not UTF-8 are read as Latin-1 so that the check can go on."""
    try:
        return data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        lines = []
        for number, line in enumerate(data.split(b"\n"), 1):
            try:
                lines.append(line.decode("utf-8"))
            except UnicodeDecodeError:
                lines.append(line.decode("latin-1"))
                file.blame("not UTF-8", _place(number, fields(lines[-1])), "convert it: iconv -t UTF-8")
        return lines


def _place(number: int, line: list[str]) -> str:
    return f"line {number}" + (f": {line[0]}" if line else "")


def _read_line(file: KeyedFile, number: int, text: str, rule: LineRule | None) -> None:
    char = refused_character(text, file.content)
    if char == BYTE_ORDER_MARK:
        # Whoever looks at the file does not see it: without it the other checks find what he would look for.
        text = text.replace(char, "")
    line = fields(text)
    if "\r" in text:
        fault = "with a carriage return, expected Unix line ends"
        file.blame(fault, _place(number, line), "convert the file with dos2unix")
    if char is not None:
        fault, hint = refusal(char, file.path)
        file.blame(f"with {fault}", _place(number, line), hint)
        file.odd.add(f"with {fault}")
    if not line:
        file.blame("empty", _place(number, line))
    elif line[0] in file.lines:
        file.blame("with a duplicate key", _place(number, line))
    else:
        file.lines[line[0]] = line
        if file.path.suffix == ".scp" and len(line) > 1:
            file.entries.update(parse_keyed_lines([text], file.path))
        wrong = rule(line) if rule else None
        if wrong:
            file.blame(f"wrong: {wrong}", _place(number, line))


def read_keyed_file(
    path: Path, damage: Level, findings: Findings, order: Level, characters: Level
) -> KeyedFile | None:
    """Read a file of a data directory whatever is wrong with it.

    Noted are lines that are not UTF-8, empty, or not of the file's form, duplicate keys, carriage
    returns, characters that no text may hold, and keys that are not in C order, by which Kaldi's tools find
    them.

    Args:
        path: the file; its name decides what a line should be.
        damage: how bad damage to it is. A missing last newline is only warned of.
        findings: where faults are noted, under the file's name.
        order: how bad it is that keys are not in C order.
        characters: how bad characters are that no text may hold.

    Returns:
        The file; None if it cannot be read.
    """
    try:
        data = unpack(path.read_bytes(), path)
    except OSError as error:
        findings.add(damage, path.name, f"cannot be read: {error.strerror}", path=path)
        return None
    except DktError as error:
        findings.add(damage, path.name, str(error))
        return None
    file = KeyedFile(path)
    lines = _decoded(data, file)
    if lines[-1]:
        findings.warn(path.name, "the last line does not end in a newline", path=path)
    else:
        lines.pop()
    for number, text in enumerate(lines, 1):
        _read_line(file, number, text, RULES.get(path.name))
    if not file.lines:
        findings.add(damage, path.name, "is empty", path=path)
    for fault, places in file.faults.items():
        level = characters if fault in file.odd else damage
        message = f"{plural(len(places), 'line')} {fault}"
        findings.add(level, path.name, message, path=path, names=places, hint=file.hints.get(fault))
    _check_order(file, findings, order)
    return file


def _check_order(file: KeyedFile, findings: Findings, level: Level) -> None:
    wrong = misplaced(file.lines)
    if wrong:
        message = f"{plural(len(wrong), 'key')} not in C order"
        findings.add(
            level,
            file.path.name,
            message,
            path=file.path,
            names=[f"{key} after {previous}" for previous, key in wrong],
            hint=f"dkt fix-data {file.path.parent} sorts it",
        )


def compare_keys(
    file: KeyedFile, expected: Iterable[str], where: str, noun: str, levels: tuple[Level, Level], to: Findings
) -> None:
    """Note which keys a file lacks and which it has beyond those expected.

    Args:
        file: the file.
        expected: the keys it should have.
        where: where those stand.
        noun: what they are: ``"utterance"``.
        levels: how bad it is that keys are missing, and that there are more.
        to: where it is noted.
    """
    wanted = set(expected)
    missing = sorted(wanted.difference(file.lines))
    more = [key for key in file.lines if key not in wanted]
    for names, level, what in (
        (missing, levels[0], f"of {where} missing"),
        (more, levels[1], f"not in {where}"),
    ):
        if names:
            to.add(level, file.path.name, f"{plural(len(names), noun)} {what}", path=file.path, names=names)
