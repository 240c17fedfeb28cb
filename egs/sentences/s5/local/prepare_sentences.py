#!/usr/bin/env python3
"""Prepare a corpus of synthetic English sentences with accents, in light noise, with no download.

The speech is that of eSpeak NG, which is GPL-3: it is used at run time only, and nothing of it, its audio
included, is part of dkt. Voices and accents are drawn, other ones for train, dev and test: an accent
is a set of phonemes that a speaker says in place of others, of which the lexicon knows nothing. Sentences are
drawn from a template grammar; those of dev and test are not in the text of the language model.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "local/corpora"))
import espeak_ng
from accents import RULES, Accent
from drawn_voices import LANGUAGES, Voice, draw_voices, write_espeak_data
from kaldi_corpus import (
    SPLITS,
    Utterance,
    prepare_corpus,
    share_out,
    write_dict,
)
from pronunciations import make_lexicon
from sentence_grammar import VOCABULARY, draw_texts
from synthetic_speech import (
    Reading,
    babble_readings,
    babble_talkers,
    in_fresh_process,
    mix_readings,
    parameters_of_synthesis,
    read_sessions,
    run_preparation,
    speaker_id,
)

# What makes the task easy or hard: the accents, above all.
NUM_TRAIN, NUM_DEV, NUM_TEST = 450, 240, 240
NUM_VOICES = {"train": 40, "dev": 20, "test": 20}
NUM_LM_SENTENCES = 3000
ACCENT_SHARE = 0.3
FORMANT_SPREAD = 0.05
SNR_DB = (8.0, 28.0)


def plan_split(split: str, texts: list[str], voices: list[Voice], seed: int) -> list[Reading]:
    """What each of the voices of a split reads, and with which accent."""
    left = iter(texts)
    readings = []
    for index, (voice, count) in enumerate(share_out(len(texts), [voice.name for voice in voices]).items()):
        key = (seed, SPLITS.index(split), index, 1)
        accent = Accent((*key, 7), ACCENT_SHARE)
        readings.append(Reading(voice, tuple(itertools.islice(left, count)), key, accent))
    return readings


def read_all_aloud(
    readings: dict[str, list[Reading]], voices: dict[str, list[Voice]], seed: int, num_jobs: int
) -> tuple[dict[str, list[list[np.ndarray]]], np.ndarray]:
    """What is spoken of the readings of every split, and the talkers of the babble: a process each."""
    drawn = [voice for of_split in voices.values() for voice in of_split]
    with tempfile.TemporaryDirectory(prefix="dkt-espeak-") as scratch:
        data = Path(scratch) / "espeak-ng-data"
        write_espeak_data(espeak_ng.data_folder(), data, drawn)
        sessions = [*readings.values(), babble_readings(seed)]
        *spoken, babble = read_sessions(sessions, num_jobs, str(data))
    return dict(zip(readings, spoken, strict=True)), babble_talkers(babble)


def write_lang(work_dir: Path, sentences: list[str]) -> None:
    """Write the dictionary, and the text of the language model."""
    lexicon = in_fresh_process("the words of the lexicon", make_lexicon, VOCABULARY, sentences, LANGUAGES)
    write_dict(work_dir / "local/dict", lexicon)
    lines = "".join(f"{sentence.upper()}\n" for sentence in sentences)
    (work_dir / "local/lm_train.txt").write_text(lines, encoding="utf-8")


def prepare(args: argparse.Namespace) -> None:
    """Prepare the corpus that the arguments describe."""
    espeak_ng.check_installed()
    num_utts = {split: getattr(args, f"num_{split}") for split in SPLITS}
    voices = draw_voices(args.seed, NUM_VOICES, FORMANT_SPREAD)
    texts = draw_texts(np.random.default_rng((args.seed, 99)), NUM_LM_SENTENCES, num_utts)
    readings = {split: plan_split(split, texts[split], voices[split], args.seed) for split in SPLITS}
    spoken = functools.cache(lambda: read_all_aloud(readings, voices, args.seed, args.nj))

    def read_split(split: str) -> Iterator[Utterance]:
        samples, talkers = spoken()
        return mix_readings(readings[split], samples[split], talkers, SNR_DB)

    parameters = {
        "seed": args.seed, "num_utts": num_utts, "texts": texts, "snr_db": SNR_DB, "rules": RULES,
        "accent_share": ACCENT_SHARE, **parameters_of_synthesis(),
        "voices": [voice.variant for split in SPLITS for voice in voices[split]],
    }  # fmt: skip
    prepare_corpus(
        args.data_dir,
        "sentences",
        parameters,
        read_split,
        {speaker_id(voice.name): voice.gender for split in SPLITS for voice in voices[split]},
        functools.partial(write_lang, sentences=texts["lm"]),
    )


if __name__ == "__main__":
    sys.exit(run_preparation("prepare_sentences.py", __doc__, (NUM_TRAIN, NUM_DEV, NUM_TEST), prepare))
