"""Recognises the recordings of a data directory with the package vosk, as a user of it would.

vosk_words.py <vosk-model> <data-dir> <utterances> <best paths> <least expected errors>
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import soundfile
from vosk import KaldiRecognizer, Model, SetLogLevel

# Bytes of audio at a time, as from a telephone.
PIECE = 4000


def words(model: Model, samples: bytes, rate: int, best_path: bool) -> str:
    """What is said in 16-bit samples."""
    recogniser = KaldiRecognizer(model, rate)
    recogniser.SetMaxAlternatives(int(best_path))
    results = []
    for begin in range(0, len(samples), PIECE):
        # True at the end of an utterance, as vosk finds it.
        if recogniser.AcceptWaveform(samples[begin : begin + PIECE]):
            results.append(json.loads(recogniser.Result()))
    results.append(json.loads(recogniser.FinalResult()))
    texts = [result["alternatives"][0]["text"] if best_path else result["text"] for result in results]
    return " ".join(" ".join(texts).split())


def main(model_dir: str, data: str, number: str, best: str, expected: str) -> None:
    """Write the words of the first recordings, which are files, in both ways."""
    SetLogLevel(-1)
    model = Model(model_dir)
    lines = (Path(data) / "wav.scp").read_text().splitlines()[: int(number)]
    with Path(best).open("w") as best_path, Path(expected).open("w") as least_errors:
        for line in lines:
            utt, path = line.split(maxsplit=1)
            samples, rate = soundfile.read(path, dtype="int16")
            for out, is_best in ((best_path, True), (least_errors, False)):
                print(utt, words(model, samples.tobytes(), rate, is_best), file=out)


main(*sys.argv[1:])
