#!/usr/bin/env python3
"""Prepare a corpus of connected digits from the Free Spoken Digit Dataset.

The data set (github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0) holds single digits of six
speakers; recordings of one speaker are joined to strings of digits, with short gaps of quiet background.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "local/corpora"))
from digit_strings import WORDS, Deck, draw_length, join_recordings, write_lang
from kaldi_corpus import (
    SAMPLE_RATE,
    SPLITS,
    Utterance,
    add_corpus_arguments,
    prepare_corpus,
    run_script,
    share_out,
    utterance_id,
)

from dkt.base.errors import DktError

logger = logging.getLogger("prepare_fsdd")

NUM_TRAIN, NUM_DEV, NUM_TEST = 1500, 200, 200
SPEAKERS = {"train": ("george", "jackson", "lucas", "nicolas"), "dev": ("yweweler",), "test": ("theo",)}
# The data set's metadata.py calls all six male.
GENDERS = {spk: "m" for speakers in SPEAKERS.values() for spk in speakers}

_EXTENSIONS = ("flac", "wav")
_NAME = re.compile(r"(?P<digit>\d)_(?P<spk>[^_]+)_(?P<index>\d+)")
_LAYOUT = "it should hold recordings/{digit}_{speaker}_{index}.wav or .flac"


def find_recordings(corpus_dir: Path) -> dict[str, list[tuple[int, Path]]]:
    """The recordings of every speaker of the recipe, as pairs of digit and file, in a fixed order.

    Raises:
        DktError: there is no such corpus, or a speaker lacks a digit.
    """
    directory = corpus_dir / "recordings"
    if not directory.is_dir():
        raise DktError("no such directory", path=directory, hint=f"check --corpus-dir: {_LAYOUT}")
    by_extension = {extension: sorted(directory.glob(f"*.{extension}")) for extension in _EXTENSIONS}
    paths = next((paths for paths in by_extension.values() if paths), None)
    if paths is None:
        raise DktError("no recordings there", path=directory, hint=f"check --corpus-dir: {_LAYOUT}")
    keyed = []
    for path in paths:
        match = _NAME.fullmatch(path.stem)
        if match is None:
            raise DktError("not the name of a recording", path=path, hint=_LAYOUT)
        keyed.append((match["spk"], int(match["digit"]), int(match["index"]), path))
    recordings = {
        spk: [(digit, path) for owner, digit, _, path in sorted(keyed) if owner == spk] for spk in GENDERS
    }
    for spk, of_speaker in recordings.items():
        missing = sorted(set(range(10)) - {digit for digit, _ in of_speaker})
        if missing:
            raise DktError(
                f"speaker {spk} has no recording of {', '.join(WORDS[digit] for digit in missing)}",
                path=directory,
                hint="is the copy of the data set complete?",
            )
    return recordings


def read_recording(path: Path) -> np.ndarray:
    """The samples of a recording, int16 ``(num_samples,)``.

    Raises:
        DktError: it cannot be read, is empty or is not 8 kHz mono.
    """
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise DktError(f"cannot be read as audio: {error.error_string}", path=path) from error
    if rate != SAMPLE_RATE or samples.shape[1] != 1:
        raise DktError(
            f"expected {SAMPLE_RATE} Hz mono, found {rate} Hz, {samples.shape[1]} channels", path=path
        )
    if len(samples) == 0:
        raise DktError("the recording is empty", path=path)
    return samples[:, 0]


def read_split(
    split: str, num_utts: int, seed: int, recordings: dict[str, list[tuple[int, Path]]]
) -> Iterator[Utterance]:
    """The utterances of a split, joined from each speaker's recordings in turn."""
    for speaker_index, (spk, count) in enumerate(share_out(num_utts, SPEAKERS[split]).items()):
        rng = np.random.default_rng((seed, SPLITS.index(split), speaker_index))
        deck = Deck([(digit, read_recording(path)) for digit, path in recordings[spk]], rng)
        for index in range(count):
            drawn = deck.draw(draw_length(rng))
            words = [WORDS[digit] for digit, _ in drawn]
            samples = join_recordings([samples for _, samples in drawn], rng)
            yield Utterance(utterance_id(spk, index), spk, words, samples)


def prepare(args: argparse.Namespace) -> None:
    """Prepare the corpus that the arguments describe."""
    recordings = find_recordings(args.corpus_dir)
    num_utts = {split: getattr(args, f"num_{split}") for split in SPLITS}
    paths = sorted(path for of_speaker in recordings.values() for _, path in of_speaker)
    listing = "".join(f"{path.name} {path.stat().st_size}\n" for path in paths)
    parameters = {
        "seed": args.seed,
        "num_utts": num_utts,
        "speakers": SPEAKERS,
        "recordings": hashlib.sha256(listing.encode()).hexdigest(),
    }
    prepare_corpus(
        args.data_dir,
        "fsdd",
        parameters,
        lambda split: read_split(split, num_utts[split], args.seed, recordings),
        GENDERS,
        write_lang,
    )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--corpus-dir", type=Path, required=True, help="the data set, which holds recordings/"
    )
    add_corpus_arguments(parser, NUM_TRAIN, NUM_DEV, NUM_TEST)
    args = parser.parse_args()
    return run_script("prepare_fsdd.py", lambda: prepare(args))


if __name__ == "__main__":
    sys.exit(main())
