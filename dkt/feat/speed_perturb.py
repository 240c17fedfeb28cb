"""Data directories with copies at other speeds, as Kaldi's ``utils/data/perturb_data_dir_speed_3way.sh``."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.errors import DktError
from dkt.base.files import replace_file
from dkt.base.findings import some
from dkt.base.tally import Tally
from dkt.feat.speed import change_speed, check_factor
from dkt.feat.wave import Recordings
from dkt.util.data_dir import DataDir
from dkt.util.text import read_keyed_lines, write_lines

logger = logging.getLogger(__name__)

_SAMPLE_RANGE = (-32768, 32767)
_REPORT_EVERY = 500


def prefix(factor: str) -> str:
    """What Kaldi puts before the names of utterances and speakers at another speed."""
    return f"sp{factor}-"


def utterance_file(name: str) -> str:
    """The name that a file of an utterance has: a slash in an id would lead to another directory."""
    return name.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")


def perturb_speed(
    source: str | Path, target: str | Path, factors: Sequence[str], max_dropped: float = 0.0
) -> None:
    """Write a data directory that holds the utterances of another as they are and at other speeds.

    The copies are other speakers: their pitch and formants are. They are written as 16-bit wav files, cut by
    ``segments`` where there are any, so that every program that reads wav files reads the directory.

    Args:
        source: with ``wav.scp``, ``text`` and ``utt2spk``, perhaps ``segments`` and ``spk2gender``.
        target: the directory to write, with its recordings in ``wav``.
        factors: as written, for they become part of names.
        max_dropped: the share of utterances that may be unreadable.

    Raises:
        DktError: a factor is out of range or 1, a file is missing or malformed, too many recordings are
            unreadable, or the target is the source.
    """
    for factor in factors:
        check_factor(float(factor))
        if float(factor) == 1.0:
            raise DktError("a speed of 1 is that of the originals, which are there in any case")
    data, out = DataDir(source), Path(target)
    if out.resolve() == data.path.resolve():
        raise DktError("is the directory to perturb", path=out, hint="write into a directory of its own")
    refuse_other_kinds(out, Kind.DATA)
    again = {name for factor in factors for name in data.utt2spk if prefix(factor) + name in data.utt2spk}
    if again:
        raise DktError(
            f"has copies at these speeds already: {some(sorted(again))}",
            path=data.path,
            hint="begin with the directory that they were made of",
        )
    data.check_sorted()
    segments = data.path / "segments"
    recordings = Recordings(data.wav_scp, segments if segments.exists() else None)
    # Before the work rather than at its end.
    tables = _make_tables(data, factors)
    waves = (out / "wav").resolve()
    waves.mkdir(parents=True, exist_ok=True)
    # Without wav.scp it is not a data directory: a run that fails leaves none that would pass for whole.
    (out / "wav.scp").unlink(missing_ok=True)
    wav_scp = _write_copies(data, recordings, waves, factors, Tally("perturb speed", max_dropped))
    _write_tables(tables, out, wav_scp)


def _write_copies(
    data: DataDir, recordings: Recordings, waves: Path, factors: Sequence[str], tally: Tally
) -> dict[str, str]:
    wav_scp: dict[str, str] = {}
    num_clipped = 0
    for utt in sorted(set(data.utt2spk) - set(recordings)):
        tally.drop(utt, "it has no recording")
    for utt in recordings:
        if utt not in data.utt2spk:
            tally.drop(utt, "it has no speaker")
            continue
        try:
            samples, rate = recordings.read(utt)
        except DktError as error:
            tally.drop(utt, str(error))
            continue
        versions = {utt: samples} if recordings.segments is not None else {}
        versions |= {prefix(factor) + utt: change_speed(samples, float(factor)) for factor in factors}
        for name, version in versions.items():
            num_clipped += int((np.abs(version) > _SAMPLE_RANGE[1] + 1).sum())
            path = waves / f"{utterance_file(name)}.wav"
            _write_wave(path, np.clip(version.round(), *_SAMPLE_RANGE).astype(np.int16), rate, utt)
            wav_scp[name] = str(path)
        wav_scp.setdefault(utt, recordings.path_of(utt))
        tally.done()
        if tally.num_done % _REPORT_EVERY == 0:
            logger.info("%d of %d utterances at %d speeds", tally.num_done, len(recordings), 1 + len(factors))
    recordings.tell_cut()
    tally.finish(str(data.path))
    logger.info("%d samples clipped", num_clipped)
    return wav_scp


def _write_wave(path: Path, samples: np.ndarray, rate: int, utt: str) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV")
    try:
        replace_file(path, buffer.getvalue())
    except DktError as error:
        raise DktError(str(error), utt=utt) from None
    except OSError as error:  # a name that is too long for a file
        raise DktError(f"cannot be written: {error.strerror}", path=path, utt=utt) from None


def _make_tables(data: DataDir, factors: Sequence[str]) -> dict[str, dict[str, str]]:
    """The tables of the originals and their copies, by file."""
    prefixes = ["", *map(prefix, factors)]
    tables: dict[str, dict[str, str]] = {
        "utt2spk": {p + utt: p + speaker for p in prefixes for utt, speaker in data.utt2spk.items()},
        "text": {p + utt: words for p in prefixes for utt, words in data.text.items()},
    }
    if (data.path / "spk2gender").exists():
        genders = read_keyed_lines(data.path / "spk2gender")
        tables["spk2gender"] = {p + speaker: gender for p in prefixes for speaker, gender in genders.items()}
    return tables


def _write_tables(tables: dict[str, dict[str, str]], out: Path, wav_scp: dict[str, str]) -> None:
    """Write them, as far as there are recordings."""
    for name in ("utt2spk", "text"):
        tables[name] = {utt: value for utt, value in tables[name].items() if utt in wav_scp}
    speakers: dict[str, list[str]] = {}
    for utt, speaker in sorted(tables["utt2spk"].items()):
        speakers.setdefault(speaker, []).append(utt)
    tables["spk2utt"] = {speaker: " ".join(utts) for speaker, utts in speakers.items()}
    for name, table in [*tables.items(), ("wav.scp", wav_scp)]:
        write_lines(out / name, [f"{key} {value}".rstrip() for key, value in sorted(table.items())])
