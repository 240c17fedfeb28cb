"""Mending a data directory as Kaldi's ``utils/fix_data_dir.sh``: sorted, without what other files lack."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.files import BACKUP, free_name
from dkt.base.findings import plural, some
from dkt.base.ranges import real_number
from dkt.util.data_dir import misplaced
from dkt.util.object_io import replace_file
from dkt.util.text import BYTE_ORDER_MARK, fields, natural, parse_keyed_lines, unpack

logger = logging.getLogger(__name__)

# What an utterance needs to have, in each of these files that is there.
_NEEDED = ("feats.scp", "text", "segments", "utt2lang")
_COUNTS = ("utt2dur", "utt2num_frames")
_OF_UTTERANCES = (*_NEEDED, "vad.scp", "utt2uniq", "utt2warp", *_COUNTS)
_NEEDED_OF_SPEAKERS = ("cmvn.scp", "spk2gender")
_OF_SPEAKERS = (*_NEEDED_OF_SPEAKERS, "spk2warp")
_OF_RECORDINGS = ("wav.scp", "reco2file_and_channel", "reco2dur")

Table = dict[str, str]


@dataclass
class FixReport:
    """What was mended.

    Attributes:
        num_before, num_after: utterances of ``utt2spk``.
        changes: file to what was done to it.
    """

    num_before: int = 0
    num_after: int = 0
    changes: dict[str, list[str]] = field(default_factory=dict)

    def note(self, name: str, change: str) -> None:
        """Note a change of a file."""
        self.changes.setdefault(name, []).append(change)


def fix_data(
    directory: str | Path, utt_extra_files: Sequence[str] = (), spk_extra_files: Sequence[str] = ()
) -> FixReport:
    """Sort the files of a data directory in C order, take out what is not in all of them, make ``spk2utt``.

    Identical lines are left once; empty lines, byte order marks and carriage returns go. An utterance stays
    that ``utt2spk`` and, as far as they are there, ``feats.scp``, ``text``, ``segments`` (or ``wav.scp``),
    ``utt2lang``, ``utt2dur`` and ``utt2num_frames`` have, with a recording, and a speaker that ``cmvn.scp``
    and ``spk2gender`` have. Files that change are kept in ``.backup``, under the first number that is free:
    the original stays. A second call changes nothing.

    Args:
        directory: with ``utt2spk``.
        utt_extra_files, spk_extra_files: further files there whose keys are utterances and speakers.

    Raises:
        DktError: a file cannot be read or written, or is empty, a line is none of its file, a key has two
            different lines, no utterance is left, or speakers are not the beginnings of utterance-ids.
            Nothing is changed then.
    """
    data, report = Path(directory), FixReport()
    if not (data / "utt2spk").is_file():
        raise DktError("does not exist", path=data / "utt2spk", hint="prepare the data directory")
    others = {path.name for path in data.glob("*.scp")} - {*_OF_UTTERANCES, *_OF_SPEAKERS, *_OF_RECORDINGS}
    of_utts = [*_OF_UTTERANCES, *sorted(others), *utt_extra_files]
    of_speakers = [*_OF_SPEAKERS, *spk_extra_files]
    names = ["utt2spk", *of_utts, *of_speakers, *_OF_RECORDINGS]
    tables = {name: _read(data / name, report) for name in names if (data / name).is_file()}
    before = {name: set(table) for name, table in tables.items()}
    _check_fields(data, tables)
    _intersect(tables)
    if not tables["utt2spk"]:
        raise DktError("no utterance is in all files", path=data, hint="do their utterance-ids agree?")
    _check_speakers(data, tables["utt2spk"])
    report.num_before, report.num_after = len(before["utt2spk"]), len(tables["utt2spk"])
    _filter(tables, of_utts, of_speakers)
    tables["spk2utt"] = _spk2utt(tables["utt2spk"])
    for name, keys in before.items():
        gone = sorted(keys - set(tables[name]))
        if gone:
            rest = f"all in {BACKUP}/{free_name(data / name, BACKUP).name}"
            report.note(name, f"{plural(len(gone), 'line')} left out ({some(gone, rest)})")
    _write(data, tables, report)
    return report


def _read(path: Path, report: FixReport) -> Table:
    """The lines of a file by their keys, in C order."""
    try:
        text = unpack(path.read_bytes(), path).decode("utf-8")
    except OSError as error:
        raise DktError(f"cannot be read: {error.strerror}", path=path) from None
    except UnicodeDecodeError:
        raise DktError(
            "is not UTF-8", path=path, hint="convert it, for example with iconv -t UTF-8"
        ) from None
    if BYTE_ORDER_MARK in text:
        report.note(path.name, "byte order mark removed")
    lines = text.replace(BYTE_ORDER_MARK, "").split("\n")
    if any(line.endswith("\r") for line in lines):
        report.note(path.name, "carriage returns removed")
    table: Table = {}
    lines = [line for line in lines if fields(line)]
    for line in lines:
        ((key, rest),) = parse_keyed_lines([line], path).items()
        if table.setdefault(key, rest) != rest:
            hint = "only identical lines can be left out: remove the wrong one"
            raise DktError(f"duplicate key, with '{table[key]}' and '{rest}'", path=path, utt=key, hint=hint)
    if len(lines) > len(table):
        report.note(path.name, f"{plural(len(lines) - len(table), 'identical line')} left out")
    if misplaced(table):
        report.note(path.name, "sorted")
    return dict(sorted(table.items()))


def _check_fields(data: Path, tables: dict[str, Table]) -> None:
    """What keys are taken from has to be there: speakers and recordings."""
    forms: dict[str, tuple[str, Callable[[list[str]], bool]]] = {
        "utt2spk": ("<utterance> <speaker>", lambda words: len(words) == 1),
        # The channel is extract-segments's.
        "segments": (
            "<utterance> <recording> <start> <end> [<channel>]",
            lambda words: len(words) == 3 or (len(words) == 4 and natural(words[3]) is not None),
        ),
        "utt2dur": ("<utterance> <seconds>", _is_number),
        "utt2num_frames": ("<utterance> <number>", _is_number),
    }
    for name, (form, fits) in forms.items():
        for utt, rest in tables.get(name, {}).items():
            if not fits(fields(rest)):
                raise DktError(f"expected '{form}', found '{utt} {rest}'", path=data / name, utt=utt)
    for name in ("utt2spk", *_NEEDED, *_COUNTS, *_NEEDED_OF_SPEAKERS, "wav.scp", "reco2dur"):
        if tables.get(name) == {}:
            raise DktError(
                "is empty, no utterance would be left", path=data / name, hint="remove it or make it again"
            )
    if "segments" in tables and "wav.scp" not in tables:
        raise DktError("does not exist, but segments does", path=data / "wav.scp", hint="add it")


def _keep(table: Table, wanted: Callable[[str], bool]) -> Table:
    return {key: rest for key, rest in table.items() if wanted(key)}


def _intersect(tables: dict[str, Table]) -> None:
    """Leave in ``utt2spk`` and ``segments`` what all files have."""
    speakers_of = tables["utt2spk"]
    utts = set(speakers_of)
    if "segments" in tables:
        recordings = tables["wav.scp"]
        segments = tables["segments"]
        utts &= {utt for utt, rest in segments.items() if fields(rest)[0] in recordings}
    else:
        for name in ("wav.scp", "reco2dur"):
            utts &= set(tables.get(name, utts))
    for name in _NEEDED:
        utts &= set(tables.get(name, utts))
    for name in _COUNTS:
        utts &= {utt for utt, rest in tables[name].items() if float(rest) > 0} if name in tables else utts
    for name in _NEEDED_OF_SPEAKERS:
        keys = set(tables.get(name, ()))
        # CMVN statistics may be of utterances.
        of_utts = not keys & set(speakers_of.values()) and keys & utts
        if name in tables:
            utts = {utt for utt in utts if (utt if of_utts else speakers_of[utt]) in keys}
    tables["utt2spk"] = _keep(speakers_of, utts.__contains__)


def _is_number(words: list[str]) -> bool:
    try:
        real_number(" ".join(words))
    except ValueError:
        return False
    return True


def _check_speakers(data: Path, utt2spk: Table) -> None:
    for previous, speaker in misplaced(utt2spk.values()):
        raise DktError(
            f"sorted by utterance, speaker '{speaker}' comes after '{previous}'",
            path=data / "utt2spk",
            hint="begin utterance-ids with the speaker-id, and a character such as '-'",
        )


def _filter(tables: dict[str, Table], of_utts: Iterable[str], of_speakers: Iterable[str]) -> None:
    """Leave in the other files what belongs to the utterances of ``utt2spk``."""
    utts = set(tables["utt2spk"])
    speakers = set(tables["utt2spk"].values())
    segments = tables.get("segments", {})
    recordings = {fields(rest)[0] for utt, rest in segments.items() if utt in utts} if segments else utts
    keys = dict.fromkeys(of_utts, utts)
    keys |= dict.fromkeys(of_speakers, speakers | utts) | dict.fromkeys(_OF_RECORDINGS, recordings)
    for name in tables.keys() & keys.keys():
        tables[name] = _keep(tables[name], keys[name].__contains__)


def _spk2utt(utt2spk: Table) -> Table:
    speakers: dict[str, list[str]] = {}
    for utt, speaker in utt2spk.items():
        speakers.setdefault(speaker, []).append(utt)
    return {speaker: " ".join(utts) for speaker, utts in sorted(speakers.items())}


def _write(data: Path, tables: dict[str, Table], report: FixReport) -> None:
    """Write the files that change, the old ones kept: each is old or new, never half, whoever kills it."""
    changed: dict[Path, bytes] = {}
    for name, table in sorted(tables.items()):
        path = data / name
        content = "".join(f"{key} {rest}".rstrip() + "\n" for key, rest in table.items()).encode()
        old = path.read_bytes() if path.is_file() else None
        if old == content:
            continue
        changed[path] = content
        if name == "spk2utt":
            report.note(name, "made" if old is None else "made again")
        elif name not in report.changes:
            report.note(name, "white space and empty lines put in order")
    try:
        for path in changed:
            if path.is_file():
                (data / BACKUP).mkdir(exist_ok=True)
                shutil.copy2(path, free_name(path, BACKUP))
    except OSError as error:
        raise DktError(f"cannot be written: {error.strerror}", path=data / BACKUP) from None
    for path, content in changed.items():
        replace_file(path, content)
