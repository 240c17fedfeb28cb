"""Data directories made of copies of the recordings of another, named as ``utils/copy_data_dir.sh`` does."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
import soundfile

from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.errors import DktError
from dkt.base.files import BACKUP, free_name, replace_file
from dkt.base.findings import plural, some
from dkt.base.tally import Tally
from dkt.feat.wave import Recordings
from dkt.util.data_dir import DataDir, misplaced
from dkt.util.fix_data import Table
from dkt.util.scripts import file_of
from dkt.util.text import Content, fields, read_keyed_lines, refused_character, write_lines

logger = logging.getLogger(__name__)

_SAMPLE_RANGE = (-32768, 32767)
_REPORT_EVERY = 500

#: Gives the samples of the copies of an utterance, one array per naming, or says why there are none.
Maker = Callable[[str, np.ndarray, int], Sequence[np.ndarray] | str]

_OF_UTTERANCES = ("text", "utt2lang")
_OF_SPEAKERS = ("spk2gender",)
# What is true of a copy as long as nothing has moved in time, nor in frequency.
_OF_THE_SAME_TIMES = ("utt2dur", "utt2num_frames", "vad.scp", "utt2warp")
_SPEAKERS_OF_THE_SAME_TIMES = ("spk2warp",)
# What an earlier directory of this name may have had: it would be of other recordings.
_OF_OTHERS = (
    *("feats.scp", "cmvn.scp", "segments", "reco2dur", "reco2file_and_channel", "utt2uniq", "utt2snr"),
    *("utt2noise", *_OF_UTTERANCES, *_OF_SPEAKERS, *_OF_THE_SAME_TIMES, *_SPEAKERS_OF_THE_SAME_TIMES),
)


@dataclass(frozen=True)
class Naming:
    """What stands around the names of originals in those of their copies, dashes included.

    Attributes:
        utt_prefix, utt_suffix: of utterances.
        spk_prefix, spk_suffix: of speakers; empty where a copy keeps its speaker.
    """

    utt_prefix: str = ""
    utt_suffix: str = ""
    spk_prefix: str = ""
    spk_suffix: str = ""

    @classmethod
    def of(cls, prefix: str, suffix: str, of_speakers: bool) -> Self:
        """``<prefix>-<utterance>`` or ``<utterance>-<suffix>``, as ``augment_data_dir.py`` names copies.

        Raises:
            DktError: both are given, or one cannot be part of a name.
        """
        if prefix and suffix:
            raise DktError("both a prefix and a suffix are given: choose one of them")
        for affix in (prefix, suffix):
            if affix and (fields(affix) != [affix] or refused_character(affix)):
                raise DktError(f"'{affix}' cannot be part of an utterance-id: it holds white space")
        before, after = f"{prefix}-" if prefix else "", f"-{suffix}" if suffix else ""
        return cls(before, after, *((before, after) if of_speakers else ("", "")))

    def utt(self, name: str) -> str:
        """The name of the copy of an utterance."""
        return f"{self.utt_prefix}{name}{self.utt_suffix}"

    def speaker(self, name: str) -> str:
        """The name of the speaker of the copies of a speaker's utterances."""
        return f"{self.spk_prefix}{name}{self.spk_suffix}"


_ORIGINAL = Naming()


def utterance_file(name: str) -> str:
    """The name that a file of an utterance has: a slash in an id would lead to another directory."""
    return name.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")


@dataclass(frozen=True)
class DataCopies:
    """A data directory that is to hold copies of the utterances of another, and perhaps these too.

    The copies are 16-bit wav files, cut by ``segments`` where there are any, so that every program that reads
    wav files reads the directory.

    Attributes:
        data: the other directory.
        recordings: its recordings.
        out: the directory to write, with recordings in ``wav``.
        namings: of the copies of each utterance.
        include_original: whether the originals are in it.
        tables: its tables, by file, of all that there may be.
    """

    data: DataDir
    recordings: Recordings
    out: Path
    namings: tuple[Naming, ...]
    include_original: bool
    tables: dict[str, Table]

    @classmethod
    def plan(
        cls,
        source: str | Path,
        target: str | Path,
        namings: Sequence[Naming],
        include_original: bool,
        same_times: bool = True,
    ) -> Self:
        """See that the directory can be made; nothing is written.

        Args:
            source: with ``wav.scp`` and ``utt2spk``, and whatever of ``text``, ``segments``, ``spk2gender``,
                ``utt2uniq``, ``utt2lang``, ``utt2dur``, ``utt2num_frames`` and ``vad.scp`` there is.
            target: the directory to write.
            namings: of the copies.
            include_original: whether the originals are to be in it.
            same_times: whether a copy lasts as long as its original, so that durations are its own.

        Raises:
            DktError: a file is missing or malformed, the target is the source, holds something else or the
                recordings of the source, two utterances would have the same name, or an utterance would not
                stand with its speaker.
        """
        data, out = DataDir(source), Path(target)
        if out.resolve() == data.path.resolve():
            raise DktError("is the directory to perturb", path=out, hint="write into a directory of its own")
        refuse_other_kinds(out, Kind.DATA)
        data.check_sorted()
        every = (*((_ORIGINAL,) if include_original else ()), *namings)
        _check_names(data, out, every)
        _refuse_own_recordings(data, out)
        segments = data.path / "segments"
        recordings = Recordings(data.wav_scp, segments if segments.exists() else None)
        tables = _make_tables(data, every, same_times)
        return cls(data, recordings, out, tuple(namings), include_original, tables)

    def write(self, make: Maker, tally: Tally, more: Mapping[str, Table] | None = None) -> None:
        """Make and write the copies, and then the tables, as far as there are recordings.

        Args:
            make: gives the samples, in 16-bit units, of the copies of an utterance.
            tally: counts what cannot be read or made.
            more: further tables of the copies, by file, which ``make`` may fill.

        Raises:
            DktError: too much is lost, or a file cannot be written; there is no ``wav.scp`` then.
        """
        waves = (self.out / "wav").resolve()
        waves.mkdir(parents=True, exist_ok=True)
        # Without wav.scp it is not a data directory: a run that fails leaves none that would pass for whole.
        (self.out / "wav.scp").unlink(missing_ok=True)
        _back_up(self.out, set(_OF_OTHERS) - set(self.tables) - set(more or ()))
        wav_scp = self._write_copies(make, waves, tally)
        _write_tables({**self.tables, **(more or {})}, self.out, wav_scp)

    def _write_copies(self, make: Maker, waves: Path, tally: Tally) -> Table:
        wav_scp: Table = {}
        clipped = _Clipped()
        for utt in sorted(set(self.data.utt2spk) - set(self.recordings)):
            tally.drop(utt, "it has no recording")
        for utt in self.recordings:
            if utt not in self.data.utt2spk:
                tally.drop(utt, "it has no speaker")
                continue
            try:
                samples, rate = self.recordings.read(utt)
            except DktError as error:
                tally.drop(utt, str(error))
                continue
            if fault := _fault(samples):
                tally.drop(utt, fault)
                continue
            versions = {}
            if self.include_original and self.recordings.segments is not None:
                versions[utt] = samples
            elif self.include_original:
                wav_scp[utt] = self.recordings.path_of(utt)
            made = make(utt, samples, rate)
            if isinstance(made, str):
                tally.drop(utt, made)
            else:
                versions |= {n.utt(utt): copy for n, copy in zip(self.namings, made, strict=True)}
                tally.done()
            for name, version in versions.items():
                path = waves / f"{utterance_file(name)}.wav"
                _write_wave(path, clipped.to_int16(version), rate, utt)
                wav_scp[name] = str(path)
            if tally.num_done % _REPORT_EVERY == 0:
                logger.info("%d of %d utterances", tally.num_done, len(self.recordings))
        self.recordings.tell_cut()
        tally.finish(str(self.data.path))
        clipped.tell()
        return wav_scp


def _fault(samples: np.ndarray) -> str | None:
    """Why nothing can be made of samples, or None."""
    if len(samples) == 0:
        return "it has no samples"
    return None if np.isfinite(samples).all() else "it has samples that are not numbers"


class _Clipped:
    """Counts the samples that do not fit in 16 bits."""

    def __init__(self) -> None:
        self.samples = self.copies = 0

    def to_int16(self, samples: np.ndarray) -> np.ndarray:
        rounded = samples.round()
        beyond = int(((rounded < _SAMPLE_RANGE[0]) | (rounded > _SAMPLE_RANGE[1])).sum())
        self.samples += beyond
        self.copies += beyond > 0
        return np.clip(rounded, *_SAMPLE_RANGE).astype(np.int16)

    def tell(self) -> None:
        logger.info("%s clipped, in %d utterances", plural(self.samples, "sample"), self.copies)


def _check_names(data: DataDir, out: Path, namings: Sequence[Naming]) -> None:
    """No name twice, and every utterance beside those of its speaker."""
    speakers: Table = {}
    for naming in namings:
        again = [naming.utt(utt) for utt in data.utt2spk if naming.utt(utt) in speakers]
        if again:
            raise DktError(
                f"has utterances of these names already: {some(sorted(again))}",
                path=data.path,
                hint="begin with the directory that they were made of, or choose another prefix or suffix",
            )
        speakers |= {naming.utt(utt): naming.speaker(speaker) for utt, speaker in data.utt2spk.items()}
    for previous, speaker in misplaced(speakers[utt] for utt in sorted(speakers)):
        raise DktError(
            f"sorted by utterance, speaker '{speaker}' would come after '{previous}'",
            path=out / "utt2spk",
            hint="give speakers the prefix too (--modify-spk-id true), or utterances alone a suffix",
        )


def _refuse_own_recordings(data: DataDir, out: Path) -> None:
    """A copy must not take the place of the recording that it, or another, is made of."""
    waves = (out / "wav").resolve()
    for recording, entry in data.wav_scp.items():
        file = file_of(entry)
        if file is not None and Path(file).resolve().parent == waves:
            raise DktError(
                f"'{file}' is where the copies would be written",
                path=data.path / "wav.scp",
                utt=recording,
                hint="write into another directory",
            )


def _make_tables(data: DataDir, namings: Sequence[Naming], same_times: bool) -> dict[str, Table]:
    """The tables of the directory, by file, whether or not there will be recordings of all that they have."""
    tables: dict[str, Table] = {
        "utt2spk": {n.utt(utt): n.speaker(speaker) for n in namings for utt, speaker in data.utt2spk.items()}
    }
    speakers = data.spk2utt
    for name in _OF_UTTERANCES + (_OF_THE_SAME_TIMES if same_times else ()):
        if table := _read_if_there(data.path / name):
            tables[name] = {
                n.utt(u): value for n in namings for u, value in table.items() if u in data.utt2spk
            }
    for name in _OF_SPEAKERS + (_SPEAKERS_OF_THE_SAME_TIMES if same_times else ()):
        if table := _read_if_there(data.path / name):
            tables[name] = {
                n.speaker(s): value for n in namings for s, value in table.items() if s in speakers
            }
    unique = _read_if_there(data.path / "utt2uniq")
    if unique or any(n.utt("") for n in namings):
        tables["utt2uniq"] = {n.utt(utt): unique.get(utt, utt) for n in namings for utt in data.utt2spk}
    return tables


def _read_if_there(path: Path) -> Table:
    content = Content.SCRIPT if path.suffix == ".scp" else Content.WORDS
    return read_keyed_lines(path, content) if path.is_file() else {}


def _back_up(out: Path, names: set[str]) -> None:
    """Move what an earlier directory has left to its ``.backup``, as Kaldi's scripts do with features."""
    for name in sorted(names):
        if (out / name).is_file():
            (out / BACKUP).mkdir(exist_ok=True)
            place = free_name(out / name, BACKUP)
            (out / name).replace(place)
            logger.info("%s is of other recordings: moved to %s", out / name, place)


def _write_wave(path: Path, samples: np.ndarray, rate: int, utt: str) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV")
    try:
        replace_file(path, buffer.getvalue())
    except DktError as error:
        raise DktError(str(error), utt=utt) from None
    except OSError as error:  # a name that is too long for a file
        raise DktError(f"cannot be written: {error.strerror}", path=path, utt=utt) from None


def _write_tables(tables: Mapping[str, Table], out: Path, wav_scp: Table) -> None:
    """Write what there are recordings of; ``wav.scp`` comes last."""
    utt2spk = {utt: speaker for utt, speaker in sorted(tables["utt2spk"].items()) if utt in wav_scp}
    spk2utt: dict[str, list[str]] = {}
    for utt, speaker in utt2spk.items():
        spk2utt.setdefault(speaker, []).append(utt)
    chosen = {
        name: {
            key: value
            for key, value in table.items()
            if key in (spk2utt if name.startswith("spk") else utt2spk)
        }
        for name, table in tables.items()
    }
    chosen["spk2utt"] = {speaker: " ".join(utts) for speaker, utts in spk2utt.items()}
    for name, table in chain(chosen.items(), [("wav.scp", wav_scp)]):
        write_lines(out / name, [f"{key} {value}".rstrip() for key, value in sorted(table.items())])
