"""Corpora that recipes make themselves, written as Kaldi data and dictionary directories."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.bin.common.options import Number

logger = logging.getLogger(__name__)

SAMPLE_RATE = 8000
SPLITS = ("train", "dev", "test")
OOV_WORD, OOV_PHONE, SILENCE_PHONE = "<UNK>", "SPN", "SIL"

_FULL_SCALE = 32767
# What a corpus consists of, relative to its data directory.
_PRODUCTS = (*SPLITS, "local/audio", "local/dict", "local/lm_train.txt")


@dataclass(frozen=True)
class Utterance:
    """One utterance of a corpus.

    Args:
        utt: utterance id, which begins with ``spk``.
        spk: speaker id.
        words: the transcript.
        samples: int16 ``(num_samples,)`` at ``SAMPLE_RATE``.
        tables: further Kaldi tables of the data directory and this utterance's entry
            (``{"utt2snr": "12.5"}``).
    """

    utt: str
    spk: str
    words: Sequence[str]
    samples: np.ndarray
    tables: Mapping[str, str] = field(default_factory=dict)


def share_out(num_utts: int, speakers: Sequence[str]) -> dict[str, int]:
    """How many of ``num_utts`` utterances each speaker says: equal shares, the first speakers one more."""
    each, rest = divmod(num_utts, len(speakers))
    return {spk: each + (index < rest) for index, spk in enumerate(speakers)}


def utterance_id(spk: str, index: int) -> str:
    """The id of a speaker's ``index``-th utterance, which sorts by speaker first as Kaldi asks."""
    return f"{spk}-{index:05d}"


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Round to 16 bits; what is out of range takes the nearest value in it."""
    return np.clip(np.rint(samples), -_FULL_SCALE - 1, _FULL_SCALE).astype(np.int16)


def prepare_corpus(
    data_dir: Path,
    corpus: str,
    parameters: Mapping[str, Any],
    read_split: Callable[[str], Iterable[Utterance]],
    genders: Mapping[str, str],
    write_lang: Callable[[Path], None],
) -> None:
    """Write a corpus as Kaldi data directories, or nothing where the same corpus stands already.

    Written are ``{train,dev,test}``, ``local/audio``, ``local/dict``, ``local/lm_train.txt`` and last the
    stamp ``.done-<corpus>-<hash of the parameters>``. All of it is built aside and moved into place at the
    end, so that an interrupted run leaves nothing that could be taken for a corpus.

    Args:
        data_dir: where to write.
        corpus: the name of the corpus.
        parameters: everything that the corpus depends on, such as JSON can hold.
        read_split: the utterances of a split, in any order.
        genders: ``m`` or ``f`` of every speaker.
        write_lang: writes ``local/dict`` and ``local/lm_train.txt`` into the directory that it is given,
            which holds the splits already.

    Raises:
        DktError: another corpus is there, or the utterances do not make a data directory.
    """
    described = json.dumps(parameters, sort_keys=True, indent=1)
    stamp = data_dir / f".done-{corpus}-{hashlib.sha256(described.encode()).hexdigest()[:12]}"
    if stamp.exists():
        logger.info("%s is there already, nothing to do", stamp)
        return
    _refuse_other_corpus(data_dir)
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=data_dir) as building:
        work_dir = Path(building)
        speakers: dict[str, str] = {}
        for split in SPLITS:
            for spk in _write_split(data_dir, work_dir, split, read_split(split), genders):
                if speakers.setdefault(spk, split) != split:
                    raise DktError(f"speaker {spk} is in {speakers[spk]} and in {split}")
        write_lang(work_dir)
        for product in _PRODUCTS:
            (data_dir / product).parent.mkdir(exist_ok=True)
            (work_dir / product).replace(data_dir / product)
        (work_dir / "stamp").write_text(described + "\n", encoding="utf-8")
        (work_dir / "stamp").replace(stamp)


def _refuse_other_corpus(data_dir: Path) -> None:
    present = [stamp.name for stamp in sorted(data_dir.glob(".done-*"))]
    present += [product for product in _PRODUCTS if (data_dir / product).exists()]
    if present:
        raise DktError(
            f"{', '.join(present)} of another corpus, or of this one with other parameters, is there",
            path=data_dir,
            hint="remove the directory or choose another one",
        )


def _write_split(
    data_dir: Path, work_dir: Path, split: str, utterances: Iterable[Utterance], genders: Mapping[str, str]
) -> list[str]:
    import soundfile

    audio = Path("local/audio") / split
    (work_dir / audio).mkdir(parents=True)
    tables: dict[str, dict[str, str]] = {name: {} for name in ("wav.scp", "text", "utt2spk")}
    num_samples = 0
    for utterance in utterances:
        wav = audio / f"{utterance.utt}.wav"
        soundfile.write(work_dir / wav, utterance.samples, SAMPLE_RATE, subtype="PCM_16")
        num_samples += len(utterance.samples)
        entries = {
            "wav.scp": str(data_dir / wav),
            "text": " ".join(utterance.words),
            "utt2spk": utterance.spk,
            **utterance.tables,
        }
        for name, entry in entries.items():
            tables.setdefault(name, {})[utterance.utt] = entry
    tables |= _speaker_tables(tables["utt2spk"], genders)
    (work_dir / split).mkdir()
    for name, table in tables.items():
        _write_table(work_dir / split / name, table)
    logger.info(
        "%s: %d utterances of %d speakers, %.2f hours",
        split, len(tables["utt2spk"]), len(tables["spk2utt"]), num_samples / SAMPLE_RATE / 3600,
    )  # fmt: skip
    return list(tables["spk2utt"])


def _speaker_tables(utt2spk: Mapping[str, str], genders: Mapping[str, str]) -> dict[str, dict[str, str]]:
    spk2utt: dict[str, list[str]] = {}
    for utt in sorted(utt2spk):
        if not utt.startswith(utt2spk[utt]):
            raise DktError(f"the id should begin with the speaker {utt2spk[utt]}", utt=utt)
        spk2utt.setdefault(utt2spk[utt], []).append(utt)
    if list(spk2utt) != sorted(spk2utt):
        raise DktError(f"utterances sort otherwise than their speakers {', '.join(sorted(spk2utt))}")
    return {
        "spk2utt": {spk: " ".join(utts) for spk, utts in spk2utt.items()},
        "spk2gender": {spk: genders[spk] for spk in spk2utt},
    }


def _write_table(path: Path, table: Mapping[str, str]) -> None:
    # Python compares strings by code point, which is the C locale's order of their UTF-8 bytes.
    lines = [f"{key} {table[key]}\n" for key in sorted(table)]
    path.write_text("".join(lines), encoding="utf-8")


def write_dict(dict_dir: Path, lexicon: Mapping[str, Sequence[str]]) -> None:
    """Write lexicon.txt and the lists of phones into ``dict_dir``, which is made if it is not there.

    Args:
        dict_dir: where to write.
        lexicon: the pronunciations of every word, phones with blanks between them.
    """
    entries = sorted((word, phones) for word, several in lexicon.items() for phones in several)
    phones = sorted({phone for _, pronunciation in entries for phone in pronunciation.split()})
    silences = [SILENCE_PHONE, OOV_PHONE]
    files = {
        "lexicon.txt": [f"{word} {phones}" for word, phones in sorted([(OOV_WORD, OOV_PHONE), *entries])],
        "silence_phones.txt": silences,
        "optional_silence.txt": [SILENCE_PHONE],
        "nonsilence_phones.txt": phones,
        "extra_questions.txt": [" ".join(silences), " ".join(phones)],
    }
    dict_dir.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (dict_dir / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def add_corpus_arguments(
    parser: argparse.ArgumentParser, num_train: int, num_dev: int, num_test: int
) -> None:
    """Add the arguments that every corpus takes, with its default numbers of utterances."""
    parser.add_argument(
        "--seed", type=Number(ranges.SEED), default=0, help="seed of everything drawn at random"
    )
    for split, default in zip(SPLITS, (num_train, num_dev, num_test), strict=True):
        parser.add_argument(
            f"--num-{split}",
            type=Number(ranges.whole(1, 1_000_000)),
            default=default,
            help=f"number of {split} utterances",
        )
    parser.add_argument("data_dir", type=Path, metavar="data-dir", help="where to write the data directories")


def run_script(name: str, run: Callable[[], None]) -> int:
    """Run a script of the recipe; the exit status is 1, after one line on stderr, for bad input."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=f"%(levelname)s ({name}) %(message)s")
    try:
        run()
    except ModuleNotFoundError as error:
        print(f"ERROR ({name}) {error} - pip install 'dkt[standalone]'", file=sys.stderr)
    except (DktError, OSError) as error:
        print(f"ERROR ({name}) {error}", file=sys.stderr)
    else:
        return 0
    return 1
