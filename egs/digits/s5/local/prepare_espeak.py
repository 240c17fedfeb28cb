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
import logging
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import espeak_ng
import numpy as np
from digit_strings import (
    SAMPLE_RATE,
    SPLITS,
    WORDS,
    Deck,
    Utterance,
    add_corpus_arguments,
    draw_length,
    prepare_corpus,
    run_script,
    share_out,
    to_int16,
    utterance_id,
)
from resample import resample

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.bin.common.options import Number
from dkt.feat import noise

logger = logging.getLogger("prepare_espeak")

# What makes the task easy or hard. Few voices to train on and noise at low ratios make it hard; without
# noise a voice is either recognised perfectly or not at all.
NUM_TRAIN, NUM_DEV, NUM_TEST = 700, 150, 150
VOICES = {
    "train": {"en-us+m3": "m", "en+f2": "f", "en-us+Andy": "m", "en-us+linda": "f", "en+m7": "m"},
    "dev": {"en+f3": "f", "en+edward": "m", "en-us+rob": "m"},
    "test": {"en+belinda": "f", "en+adam": "m", "en-us+boris": "m", "en-us+quincy": "m"},
}
BABBLE_VOICES = ("en-us+m5", "en-us+f1", "en+max", "en+f5", "en-us-nyc", "en-us+sandro")
SNR_DB = (0.0, 20.0)
NOISES = ("white", "pink", "hum", "speech_shaped", "babble")
SPEECH_RATE = (130, 180)  # words per minute
PITCH = (40, 60)  # 0 to 100
PITCH_RANGE = (30, 70)  # 0 to 100
WORD_GAP = (0, 8)  # in 10 ms
PADDING = (0.1, 0.3)  # seconds of noise alone before and after the words
LEVEL = 1500.0  # RMS of a finished utterance, of 32767
PEAK = 30000.0  # no sample is above it

BABBLE_TEXT = (
    "Every morning the old ferry crosses the river with bicycles, baskets of apples and a sleepy dog. "
    "Nobody remembers who painted it green, but the captain says it has always been lucky. "
    "When the wind turns north, people on the far bank light their stoves and listen for its bell. "
    "In summer the children swim beside it, shouting questions that the engine swallows."
)

# The voices of a split are spoken in so many processes, one voice after another. What eSpeak NG returns
# depends on what it said before, so this number, unlike --nj, is part of what the corpus is.
NUM_SESSIONS = 2


@dataclass(frozen=True)
class Reading:
    """What one voice is to say, one text per utterance, and the seed of its way of saying it."""

    voice: str
    texts: tuple[str, ...]
    seed: tuple[int, ...]


def read_aloud(session: Sequence[Reading]) -> list[list[np.ndarray]]:
    """Synthesise reading after reading; it must run in a fresh process to be reproducible.

    Returns:
        int16 arrays at ``SAMPLE_RATE``, one for each text of each reading.

    Raises:
        DktError: see ``espeak_ng.Synthesiser``.
    """
    rngs = [np.random.default_rng(reading.seed) for reading in session]
    synthesiser = espeak_ng.Synthesiser(seed=int(rngs[0].integers(1, 2**31)))
    spoken = []
    for reading, rng in zip(session, rngs, strict=True):
        synthesiser.set_voice(reading.voice)
        spoken.append([_say(synthesiser, text, rng) for text in reading.texts])
    return spoken


def _say(synthesiser: espeak_ng.Synthesiser, text: str, rng: np.random.Generator) -> np.ndarray:
    bounds = (SPEECH_RATE, PITCH, PITCH_RANGE, WORD_GAP)
    settings = [int(rng.integers(low, high + 1)) for low, high in bounds]
    return to_int16(resample(synthesiser.synthesise(text, *settings), synthesiser.rate, SAMPLE_RATE))


def read_all_aloud(readings: Sequence[Reading], num_jobs: int) -> Iterator[list[np.ndarray]]:
    """What ``read_aloud`` returns for each reading, in order, from up to ``num_jobs`` processes at a time."""
    bounds = [len(readings) * session // NUM_SESSIONS for session in range(NUM_SESSIONS + 1)]
    sessions = [readings[start:end] for start, end in itertools.pairwise(bounds) if end > start]
    with ThreadPoolExecutor(num_jobs) as threads:
        for session, spoken in zip(sessions, threads.map(_read_in_fresh_process, sessions), strict=True):
            for reading, samples in zip(session, spoken, strict=True):
                logger.info("voice %s: %d utterances synthesised", reading.voice, len(samples))
                yield samples


def _read_in_fresh_process(session: Sequence[Reading]) -> list[list[np.ndarray]]:
    # Spawned, not forked: nothing of the parent's state is in it, and its crash is an error, not a hang.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        try:
            return process.submit(read_aloud, session).result()
        except BrokenProcessPool as error:
            voices = ", ".join(reading.voice for reading in session)
            raise DktError(f"eSpeak NG crashed with one of the voices {voices}") from error


def speaker_id(voice: str) -> str:
    """A voice's name as a speaker id (``en-us+Andy``: ``en_us_andy``)."""
    return voice.lower().replace("-", "_").replace("+", "_")


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


def babble_talkers(num_jobs: int, seed: int) -> np.ndarray:
    """float64 ``(num_talkers, num_samples)``: continuous speech of voices that are nobody's in the corpus."""
    readings = [
        Reading(voice, (BABBLE_TEXT,), (seed, len(SPLITS), index))
        for index, voice in enumerate(BABBLE_VOICES)
    ]
    talkers = [spoken[0] for spoken in read_all_aloud(readings, num_jobs)]
    shortest = min(map(len, talkers))
    return np.stack([talker[:shortest] for talker in talkers]).astype(np.float64)


def add_noise(
    speech: np.ndarray, talkers: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, str, float]:
    """Pad an utterance and add noise of a kind and at a ratio drawn at random.

    Args:
        speech: int16 ``(num_samples,)``.
        talkers: see ``babble_talkers``.
        rng: draws everything.

    Returns:
        int16 samples at ``LEVEL``, the kind of noise, the ratio in dB.
    """
    before, after = (round(SAMPLE_RATE * rng.uniform(*PADDING)) for _ in range(2))
    padded = np.pad(speech.astype(np.float64), (before, after))
    kind = NOISES[rng.integers(len(NOISES))]
    snr_db = rng.uniform(*SNR_DB)
    added = noise.make_noise(kind, len(padded), SAMPLE_RATE, talkers, rng)
    mixed = noise.mix(padded, added, snr_db)
    gain = min(LEVEL / np.sqrt(np.mean(mixed**2)), PEAK / np.max(np.abs(mixed)))
    return to_int16(mixed * gain), kind, snr_db


def read_split(
    split: str, num_utts: int, seed: int, num_jobs: int, talkers: np.ndarray
) -> Iterator[Utterance]:
    """The utterances of a split, synthesised and mixed."""
    readings = plan_split(split, num_utts, seed)
    for reading, spoken in zip(readings, read_all_aloud(readings, num_jobs), strict=True):
        spk = speaker_id(reading.voice)
        rng = np.random.default_rng((*reading.seed, 2))
        for index, (text, speech) in enumerate(zip(reading.texts, spoken, strict=True)):
            samples, kind, snr_db = add_noise(speech, talkers, rng)
            tables = {"utt2noise": kind, "utt2snr": f"{snr_db:.2f}"}
            yield Utterance(utterance_id(spk, index), spk, text.split(), samples, tables)


def prepare(args: argparse.Namespace) -> None:
    """Prepare the corpus that the arguments describe."""
    espeak_ng.check_installed()
    num_utts = {split: getattr(args, f"num_{split}") for split in SPLITS}
    parameters = {
        "seed": args.seed, "num_utts": num_utts, "voices": VOICES, "babble": [BABBLE_VOICES, BABBLE_TEXT],
        "snr_db": SNR_DB, "noises": NOISES, "speech_rate": SPEECH_RATE, "pitch": PITCH,
        "pitch_range": PITCH_RANGE, "word_gap": WORD_GAP, "padding": PADDING, "level": LEVEL, "peak": PEAK,
        "num_sessions": NUM_SESSIONS,
    }  # fmt: skip
    talkers = functools.cache(lambda: babble_talkers(args.nj, args.seed))
    prepare_corpus(
        args.data_dir,
        "espeak",
        parameters,
        lambda split: read_split(split, num_utts[split], args.seed, args.nj, talkers()),
        {speaker_id(voice): gender for voices in VOICES.values() for voice, gender in voices.items()},
    )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_corpus_arguments(parser, NUM_TRAIN, NUM_DEV, NUM_TEST)
    parser.add_argument(
        "--nj", type=Number(ranges.JOBS), default=2, help="number of processes that synthesise"
    )
    args = parser.parse_args()
    return run_script("prepare_espeak.py", lambda: prepare(args))


if __name__ == "__main__":
    sys.exit(main())
