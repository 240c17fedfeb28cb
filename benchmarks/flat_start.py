"""What pauses cost a monophone system, by the alignment that its training starts from.

Words spoken alone are joined to utterances with and without pauses. For each start the table has the share of
frames in silence, that of frames rightly in silence or speech, and the word error rate of other speakers:
means over several seeds of the training, of the word error rate the lowest and the highest too.

Usage: python benchmarks/flat_start.py [--fsdd <folder of the Free Spoken Digit Dataset>] [--utts N]
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from dkt.decoder.faster_decoder import Searcher
from dkt.decoder.mkgraph import mkgraph
from dkt.decoder.state_chain import StateChain, StateRow
from dkt.feat.extraction import FeatureExtractor, read_config
from dkt.feat.functions import cmvn_stats
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.fstext.fst import load_fst
from dkt.gmm import mono
from dkt.gmm.align import find_optional_silence
from dkt.gmm.flat_start import FlatStart, Speech
from dkt.gmm.gmm import load_gmm
from dkt.hmm.alignments import AlignmentDir
from dkt.score.compute_wer import WerStats
from dkt.util.data_dir import DataDir
from dkt.util.symbols import read_symbol_table
from dkt.util.table import MatrixWriter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "egs/digits/s5/local"))

import prepare_espeak  # noqa: E402
import prepare_fsdd  # noqa: E402
from digit_strings import SAMPLE_RATE, WORDS, to_int16  # noqa: E402
from prepare_dict import write_dict  # noqa: E402

Recordings = dict[str, list[tuple[str, np.ndarray]]]  # speaker: words and their samples

LMWTS = (10.0, 20.0, 30.0, 40.0)
LONGEST_PAUSE = 2.0  # seconds
# Where pauses are put, and the level of the noise in them (None: digital silence or noise, by utterance).
VARIANTS = {
    "no pauses": ((), 2.0),
    "at the ends, noise": (("ends",), 2.0),
    "everywhere, noise": (("ends", "between"), 2.0),
    "everywhere, zero": (("ends", "between"), 0.0),
    "everywhere, mixed": (("ends", "between"), None),
}


class EvenPath(FlatStart):
    """All states last equally long, with silence at both ends only."""

    def align(self, chain: StateChain, features: np.ndarray, utt: str) -> np.ndarray:
        """See ``FlatStart.align``."""
        ends = [chain.pauses.get(place) for place in (0, len(chain.states))]
        rows = [row for row in (ends[0], chain.states, ends[1]) if row is not None]
        row = StateRow(*(np.concatenate([getattr(r, of) for r in rows]) for of in ("labels", "loops")))
        return (row if len(row) <= len(features) else chain.states).spread(len(features)).astype(np.int32)


def random_start(trainer: mono.MonoTrainer) -> FlatStart:
    return FlatStart(Speech.UNKNOWN, np.zeros(1))


def even_start(trainer: mono.MonoTrainer) -> FlatStart:
    return EvenPath(Speech.UNKNOWN, np.zeros(1))


STARTS = {"random path (Kaldi)": random_start, "even, silence at the ends": even_start, "dkt": None}


@dataclass
class Part:
    """A data directory, and for each utterance which frames are speech."""

    path: Path
    is_speech: dict[str, np.ndarray]


def synthetic_words(num_readings: int) -> dict[str, Recordings]:
    """Digits of the voices of the recipe, each ``num_readings`` times."""
    corpus: dict[str, Recordings] = {}
    for split in ("train", "dev"):
        voices = list(prepare_espeak.VOICES[split])
        texts = tuple(word for word in WORDS for _ in range(num_readings))
        readings = [
            prepare_espeak.Reading(voice, texts, (7, len(split), index)) for index, voice in enumerate(voices)
        ]
        spoken = prepare_espeak.read_all_aloud(readings, 1)
        corpus[split] = {
            prepare_espeak.speaker_id(voice): list(zip(texts, samples, strict=True))
            for voice, samples in zip(voices, spoken, strict=True)
        }
    return corpus


def fsdd_words(folder: Path) -> dict[str, Recordings]:
    """The recordings of the data set."""
    found = prepare_fsdd.find_recordings(folder)
    splits = {"train": prepare_fsdd.SPEAKERS["train"], "dev": ("yweweler", "theo")}
    return {
        split: {
            speaker: [(WORDS[digit], prepare_fsdd.read_recording(path)) for digit, path in found[speaker]]
            for speaker in speakers
        }
        for split, speakers in splits.items()
    }


def make_utterance(
    words: Sequence[np.ndarray], variant: str, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Samples of the words with pauses, and where each word begins and ends."""
    where, level = VARIANTS[variant]
    level = float(rng.choice([0.0, 2.0, 10.0])) if level is None else level
    pieces: list[np.ndarray] = []
    spans: list[tuple[int, int]] = []
    for number in range(len(words) + 1):
        if number:
            begin = sum(map(len, pieces))
            spans.append((begin, begin + len(words[number - 1])))
            pieces.append(words[number - 1] - words[number - 1].mean())
        gap = rng.normal(0.0, 2.0, int(rng.uniform(0.05, 0.2) * SAMPLE_RATE))
        pause = rng.normal(0.0, 1.0, int(rng.uniform(0.0, LONGEST_PAUSE) * SAMPLE_RATE)) * level
        at_end = number in (0, len(words))
        taken = ("ends" in where) if at_end else ("between" in where and rng.random() < 0.5)
        pieces += [gap, pause] if taken else [gap]
    return to_int16(np.concatenate(pieces)), spans


def write_part(path: Path, speakers: Recordings, num_utts: int, variant: str) -> Part:
    """Write a data directory of MFCC with CMVN statistics."""
    extractor = FeatureExtractor("mfcc", read_config(ROOT / "egs/digits/s5/conf/mfcc.conf"))
    path.mkdir(parents=True)
    is_speech, lines, stats = {}, {}, {}
    with MatrixWriter(f"ark,scp:{path}/feats.ark,{path}/feats.scp") as writer:
        for order, speaker in enumerate(sorted(speakers)):
            for number in range(num_utts // len(speakers)):
                # The same words in all variants.
                rng = np.random.default_rng([order, number, num_utts])
                chosen = rng.integers(len(speakers[speaker]), size=rng.integers(3, 8))
                words = [speakers[speaker][index] for index in chosen]
                samples, spans = make_utterance([spoken for _, spoken in words], variant, rng)
                utt = f"{speaker}-{number:04d}"
                features = extractor.compute(samples.astype(np.float32), SAMPLE_RATE, str(path), utt)
                writer.write(utt, features.astype(np.float32))
                stats[speaker] = stats.get(speaker, 0) + cmvn_stats(features)
                lines[utt] = speaker, " ".join(word for word, _ in words)
                centres = np.arange(len(features)) * 80 + 100
                is_speech[utt] = np.any([(centres >= a) & (centres < b) for a, b in spans], axis=0)
    with MatrixWriter(f"ark,scp:{path}/cmvn.ark,{path}/cmvn.scp") as writer:
        for speaker in sorted(stats):
            writer.write(speaker, stats[speaker])
    (path / "utt2spk").write_text("".join(f"{utt} {lines[utt][0]}\n" for utt in sorted(lines)))
    (path / "text").write_text("".join(f"{utt} {lines[utt][1]}\n" for utt in sorted(lines)))
    return Part(path, is_speech)


def make_lang(folder: Path, text: Path) -> Path:
    """A lang directory of the digits with a unigram grammar."""
    write_dict(folder / "dict")
    lines = [line.split(maxsplit=1)[1] for line in text.read_text().splitlines()]
    (folder / "lm.txt").write_text("".join(f"{line}\n" for line in lines))
    command = [ROOT / "steps/prepare_lang.sh", "--order", "1", "dict", "<UNK>", "lm.txt", "lang"]
    subprocess.run([str(word) for word in command], cwd=folder, check=True, capture_output=True)
    return folder / "lang"


def train(train_part: Part, lang: Path, exp: Path, start: str, seed: int) -> tuple[float, float, float]:
    """Train from a start: percent of silence, of frames rightly speech or silence, and seconds taken."""
    begin = time.perf_counter()
    choose, options = STARTS[start], mono.MonoOptions(seed=seed)
    if choose is None:
        mono.train_mono(train_part.path, lang, exp, options)
    else:
        with mock.patch.object(mono.MonoTrainer, "_choose_start", choose):
            mono.train_mono(train_part.path, lang, exp, options)
    seconds = time.perf_counter() - begin
    is_silence = find_optional_silence(load_gmm(exp / "final.mdl")[0], lang)
    found, right = [], []
    for utt, ids in AlignmentDir(exp).transition_ids():
        found.append(is_silence[ids])
        right.append(is_silence[ids] != train_part.is_speech[utt])
    return 100 * float(np.concatenate(found).mean()), 100 * float(np.concatenate(right).mean()), seconds


def word_error_rate(dev: Path, lang: Path, exp: Path) -> float:
    """The lowest WER over the language-model weights, in percent."""
    mkgraph(lang, exp, exp / "graph")
    transitions, gmm = load_gmm(exp / "final.mdl")
    searcher = Searcher(load_fst(exp / "graph/HCLG.fst"), transitions.id2pdf, max_active=2000)
    words = {index: word for word, index in read_symbol_table(lang / "words.txt").items()}
    stats = {lmwt: WerStats() for lmwt in LMWTS}
    data = DataDir(dev)
    for utt, features in FeatureReader(data, FeatureOptions.of_gmm_dir(exp)):
        loglikes = gmm.loglikes(features)
        for lmwt, each in stats.items():
            found = searcher.search(loglikes, 1.0 / lmwt).words
            each.add(data.text[utt].split(), [words[index] for index in found])
    return min(each.wer for each in stats.values())


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fsdd", type=Path, help="real digits in place of synthetic ones")
    parser.add_argument(
        "--utts", type=int, default=300, help="utterances of training, and as many of dev (300)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind (3)")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS), metavar="START")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--readings", type=int, default=10, help="of each synthetic digit and voice (10)")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    corpus = fsdd_words(args.fsdd) if args.fsdd else synthetic_words(args.readings)
    heads = f"{'true':>7}{'silence':>9}{'right':>7}{'WER':>8}{'of seeds':>16}{'seconds':>9}"
    print(f"{'pauses':20} {'start':27}{heads}", flush=True)
    for variant in args.variants:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            train_part = write_part(root / "train", corpus["train"], args.utts, variant)
            dev = write_part(root / "dev", corpus["dev"], args.utts, variant)
            lang = make_lang(root, train_part.path / "text")
            true = 100 * float(np.mean(~np.concatenate(list(train_part.is_speech.values()))))
            for start in args.starts:
                rows = []
                for seed in range(args.seeds):
                    exp = root / f"{start.split()[0]}_{seed}"
                    figures = train(train_part, lang, exp, start, seed)
                    rows.append((*figures, word_error_rate(dev.path, lang, exp)))
                silence, right, seconds, wer = np.mean(rows, axis=0).tolist()
                wers = [row[-1] for row in rows]
                of_seeds = f"{min(wers):.2f} to {max(wers):.2f}"
                row = f"{variant:20} {start:27}{true:7.1f}{silence:9.1f}{right:7.1f}{wer:8.2f}{of_seeds:>16}"
                print(f"{row}{seconds:9.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
