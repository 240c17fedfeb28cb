#!/usr/bin/env python3
"""Prepare a corpus of synthetic connected digits in noise, with no download.

The voices are those of eSpeak NG, which is GPL-3: it is used at run time only, and nothing of it, its audio
included, is part of dkt. The speech is made digit string by digit string, with a few voices for training and
others for dev and test; to each utterance noise is added at a signal-to-noise ratio drawn at random.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "local/corpora"))
import espeak_ng
from digit_strings import WORDS, Deck, draw_length, write_lang
from kaldi_corpus import SPLITS, Utterance, prepare_corpus, share_out
from synthetic_speech import (
    Reading,
    babble_readings,
    babble_talkers,
    mix_readings,
    parameters_of_synthesis,
    read_sessions,
    run_preparation,
    speaker_id,
)

# What makes the task easy or hard. Few voices to train on and noise at low ratios make it hard; without
# noise a voice is either recognised perfectly or not at all.
NUM_TRAIN, NUM_DEV, NUM_TEST = 700, 150, 150
VOICES = {
    "train": {"en-us+m3": "m", "en+f2": "f", "en-us+Andy": "m", "en-us+linda": "f", "en+m7": "m"},
    "dev": {"en+f3": "f", "en+edward": "m", "en-us+rob": "m"},
    "test": {"en+belinda": "f", "en+adam": "m", "en-us+boris": "m", "en-us+quincy": "m"},
}
SNR_DB = (0.0, 20.0)
# The voices of a split are spoken in so many processes, one voice after another. What eSpeak NG returns
# depends on what it said before, so this number, unlike --nj, is part of what the corpus is.
NUM_SESSIONS = 2


def read_all_aloud(readings: Sequence[Reading], num_jobs: int) -> Iterator[list[np.ndarray]]:
    """What is spoken of each reading, in order, in ``NUM_SESSIONS`` processes."""
    bounds = [len(readings) * session // NUM_SESSIONS for session in range(NUM_SESSIONS + 1)]
    sessions = [readings[start:end] for start, end in itertools.pairwise(bounds) if end > start]
    return itertools.chain.from_iterable(read_sessions(sessions, num_jobs))


def plan_split(split: str, num_utts: int, seed: int) -> list[Reading]:
    """The digit strings of every voice of a split."""
    readings = []
    for index, (voice, count) in enumerate(share_out(num_utts, list(VOICES[split])).items()):
        key = (seed, SPLITS.index(split), index)
        rng = np.random.default_rng(key)
        deck = Deck(WORDS * 50, rng)
        texts = tuple(" ".join(deck.draw(draw_length(rng))) for _ in range(count))
        readings.append(Reading(voice, texts, (*key, 1)))
    return readings


def prepare(args: argparse.Namespace) -> None:
    """Prepare the corpus that the arguments describe."""
    espeak_ng.check_installed()
    num_utts = {split: getattr(args, f"num_{split}") for split in SPLITS}
    parameters = {
        "seed": args.seed, "num_utts": num_utts, "voices": VOICES, "snr_db": SNR_DB,
        "num_sessions": NUM_SESSIONS, **parameters_of_synthesis(),
    }  # fmt: skip
    talkers = functools.cache(lambda: babble_talkers(read_all_aloud(babble_readings(args.seed), args.nj)))

    def read_split(split: str) -> Iterator[Utterance]:
        readings = plan_split(split, num_utts[split], args.seed)
        return mix_readings(readings, read_all_aloud(readings, args.nj), talkers(), SNR_DB)

    prepare_corpus(
        args.data_dir,
        "espeak",
        parameters,
        read_split,
        {speaker_id(voice): gender for voices in VOICES.values() for voice, gender in voices.items()},
        write_lang,
    )


if __name__ == "__main__":
    sys.exit(run_preparation("prepare_espeak.py", __doc__, (NUM_TRAIN, NUM_DEV, NUM_TEST), prepare))
