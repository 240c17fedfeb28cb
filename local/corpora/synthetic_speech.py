"""Synthetic speech in noise: texts that eSpeak NG reads aloud, mixed with noise drawn at random."""

from __future__ import annotations

import argparse
import functools
import logging
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

import espeak_ng
import numpy as np
from kaldi_corpus import (
    SAMPLE_RATE,
    SPLITS,
    Utterance,
    add_corpus_arguments,
    run_script,
    to_int16,
    utterance_id,
)
from resample import resample

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.bin.common.options import Number
from dkt.feat import noise

logger = logging.getLogger(__name__)

BABBLE_VOICES = ("en-us+m5", "en-us+f1", "en+max", "en+f5", "en-us-nyc", "en-us+sandro")
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

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """What one voice is to say and how.

    Args:
        voice: as of ``espeak_ng.Synthesiser.set_voice``.
        texts: one per utterance.
        seed: seed of its rate, its pitch and its pauses.
        pronounce: turns the texts into phonemes, as of ``espeak_ng.Synthesiser.synthesise``, in the process
            that reads them; None for the voice's own pronunciation.
    """

    voice: str
    texts: tuple[str, ...]
    seed: tuple[int, ...]
    pronounce: Callable[[espeak_ng.Synthesiser, Sequence[str]], list[str]] | None = None


def run_preparation(
    script: str,
    description: str | None,
    sizes: tuple[int, int, int],
    prepare: Callable[[argparse.Namespace], None],
) -> int:
    """Run the script of a recipe that prepares synthetic speech, from the command line.

    Args:
        script: its name, for messages.
        description: what it does, for its help.
        sizes: utterances of train, dev and test by default.
        prepare: prepares what the arguments describe.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_corpus_arguments(parser, *sizes)
    parser.add_argument(
        "--nj", type=Number(ranges.JOBS), default=2, help="number of processes that synthesise"
    )
    args = parser.parse_args()
    return run_script(script, lambda: prepare(args))


def read_aloud(session: Sequence[Reading], espeak_data: str | None = None) -> list[list[np.ndarray]]:
    """Synthesise reading after reading; it must run in a fresh process to be reproducible.

    Args:
        session: the readings.
        espeak_data: see ``espeak_ng.Synthesiser``.

    Returns:
        int16 arrays at ``SAMPLE_RATE``, one for each text of each reading.

    Raises:
        DktError: see ``espeak_ng.Synthesiser``.
    """
    rngs = [np.random.default_rng(reading.seed) for reading in session]
    synthesiser = espeak_ng.Synthesiser(int(rngs[0].integers(1, 2**31)), espeak_data)
    spoken = []
    for reading, rng in zip(session, rngs, strict=True):
        synthesiser.set_voice(reading.voice)
        texts: Sequence[str] = reading.texts
        if reading.pronounce is not None:
            texts = reading.pronounce(synthesiser, texts)
        spoken.append([_say(synthesiser, text, rng) for text in texts])
    return spoken


def _say(synthesiser: espeak_ng.Synthesiser, text: str, rng: np.random.Generator) -> np.ndarray:
    bounds = (SPEECH_RATE, PITCH, PITCH_RANGE, WORD_GAP)
    settings = [int(rng.integers(low, high + 1)) for low, high in bounds]
    return to_int16(resample(synthesiser.synthesise(text, *settings), synthesiser.rate, SAMPLE_RATE))


def read_sessions(
    sessions: Sequence[Sequence[Reading]], num_jobs: int, espeak_data: str | None = None
) -> Iterator[list[list[np.ndarray]]]:
    """What ``read_aloud`` returns for each session, in order, from up to ``num_jobs`` processes at a time."""
    with ThreadPoolExecutor(num_jobs) as threads:
        read = functools.partial(_read_in_fresh_process, espeak_data=espeak_data)
        for session, spoken in zip(sessions, threads.map(read, sessions), strict=True):
            for reading, samples in zip(session, spoken, strict=True):
                logger.info("voice %s: %d utterances synthesised", reading.voice, len(samples))
            yield spoken


def _read_in_fresh_process(session: Sequence[Reading], espeak_data: str | None) -> list[list[np.ndarray]]:
    voices = ", ".join(reading.voice for reading in session)
    return in_fresh_process(f"one of the voices {voices}", read_aloud, session, espeak_data)


def in_fresh_process(what: str, call: Callable[..., T], *arguments: Any) -> T:
    """What ``call(*arguments)`` returns in a process of its own: eSpeak NG keeps a state, and may crash.

    Raises:
        DktError: it crashed with ``what``.
    """
    # Spawned, not forked: nothing of the parent's state is in it, and its crash is an error, not a hang.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        try:
            return process.submit(call, *arguments).result()
        except BrokenProcessPool as error:
            raise DktError(f"eSpeak NG crashed with {what}") from error


def speaker_id(voice: str) -> str:
    """A voice's name as a speaker id (``en-us+Andy``: ``en_us_andy``)."""
    return voice.lower().replace("-", "_").replace("+", "_")


def babble_readings(seed: int) -> list[Reading]:
    """Continuous speech of voices that are nobody's in the corpus."""
    return [
        Reading(voice, (BABBLE_TEXT,), (seed, len(SPLITS), index))
        for index, voice in enumerate(BABBLE_VOICES)
    ]


def babble_talkers(spoken: Iterable[Sequence[np.ndarray]]) -> np.ndarray:
    """The talkers that babble is made of, of one length.

    Args:
        spoken: of each of ``babble_readings`` what was read.

    Returns:
        float64 ``(num_talkers, num_samples)``.
    """
    talkers = [samples for (samples,) in spoken]
    shortest = min(map(len, talkers))
    return np.stack([talker[:shortest] for talker in talkers]).astype(np.float64)


def add_noise(
    speech: np.ndarray, talkers: np.ndarray, snr_bounds: tuple[float, float], rng: np.random.Generator
) -> tuple[np.ndarray, str, float]:
    """Pad an utterance and add noise of a kind and at a ratio drawn at random.

    Args:
        speech: int16 ``(num_samples,)``.
        talkers: see ``babble_talkers``.
        snr_bounds: of the signal-to-noise ratio, dB.
        rng: draws everything.

    Returns:
        int16 samples at ``LEVEL``, the kind of noise, the ratio in dB.
    """
    before, after = (round(SAMPLE_RATE * rng.uniform(*PADDING)) for _ in range(2))
    padded = np.pad(speech.astype(np.float64), (before, after))
    kind = NOISES[rng.integers(len(NOISES))]
    snr_db = rng.uniform(*snr_bounds)
    added = noise.make_noise(kind, len(padded), SAMPLE_RATE, talkers, rng)
    mixed = noise.mix(padded, added, snr_db)
    gain = min(LEVEL / np.sqrt(np.mean(mixed**2)), PEAK / np.max(np.abs(mixed)))
    return to_int16(mixed * gain), kind, snr_db


def mix_readings(
    readings: Sequence[Reading],
    spoken: Iterable[Sequence[np.ndarray]],
    talkers: np.ndarray,
    snr_bounds: tuple[float, float],
) -> Iterator[Utterance]:
    """The utterances of readings: what was ``spoken`` of each, in noise, words in capitals."""
    for reading, samples_of in zip(readings, spoken, strict=True):
        spk = speaker_id(reading.voice)
        rng = np.random.default_rng((*reading.seed, 2))
        for index, (text, speech) in enumerate(zip(reading.texts, samples_of, strict=True)):
            samples, kind, snr_db = add_noise(speech, talkers, snr_bounds, rng)
            tables = {"utt2noise": kind, "utt2snr": f"{snr_db:.2f}"}
            yield Utterance(utterance_id(spk, index), spk, text.upper().split(), samples, tables)


def parameters_of_synthesis() -> dict[str, Any]:
    """All that is set here and that a corpus depends on, such as JSON can hold."""
    return {
        "babble": [BABBLE_VOICES, BABBLE_TEXT], "noises": NOISES, "speech_rate": SPEECH_RATE, "pitch": PITCH,
        "pitch_range": PITCH_RANGE, "word_gap": WORD_GAP, "padding": PADDING, "level": LEVEL, "peak": PEAK,
    }  # fmt: skip
