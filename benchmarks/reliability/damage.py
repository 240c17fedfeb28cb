"""Damaged files: bits that flip, ends that are missing, blocks of zeros, other bytes altogether."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import lab
from trial import call, complaint

#: Files that dkt alone reads, and the call that reads them: every damage shows, or changes nothing.
OWN = {
    "exp/dnn/final.pt": "forward",
    "exp/soft_train/*": "train-lstm",
    "data/train_fbank/.packed/*/*": "train-dnn",
}
#: Kaldi's files, which have no place for a checksum: numbers may change, but no damage ends a call badly.
KALDIS = {
    "exp/mono/final.mdl": ("latgen", "align", "ali-to-pdf", "hmm-info"),
    "exp/mono/tree": ("tree-info", "mkgraph", "align"),
    "exp/mono/graph/HCLG.fst": ("latgen", "decode-faster-mapped"),
    "exp/mono/graph/words.txt": ("decode-scan",),
    "exp/lat.ark": ("lattice-best-path", "lattice-copy", "lattice-depth"),
    "exp/loglikes.ark": ("latgen",),
    "exp/ali_train/ali.1.gz": ("check", "train-dnn"),
    "exp/ali_train/num_jobs": ("check", "train-dnn"),
    "exp/dnn/final.mdl": ("latgen",),
    "data/train_fbank/feats.scp": ("check", "train-dnn"),
    "data/train_fbank/cmvn.scp": ("check", "train-dnn"),
    "data/train_fbank/utt2spk": ("check", "train-dnn"),
    "data/test/text": ("compute-wer",),
    "data/test/wav.scp": ("compute-mfcc-feats",),
    "data/test/test0-00.wav": ("compute-fbank-feats",),
    "data/lang/L_disambig.fst": ("mkgraph",),
    "data/lang/L.fst": ("align",),
    "data/lang/topo": ("train-mono",),
    "data/lang/phones.txt": ("align", "show-transitions"),
    "data/lang/lm.arpa.gz": ("format-lm",),
    "data/local/dict/lexicon.txt": ("prepare-lang",),
    "conf/dnn.yaml": ("train-dnn",),
    "conf/mfcc.conf": ("compute-mfcc-feats",),
}


def _flip(data: bytes, rng: random.Random) -> bytes:
    position = rng.randrange(len(data))
    return data[:position] + bytes([data[position] ^ 1 << rng.randrange(8)]) + data[position + 1 :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _zero(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    block = data[start : start + 64]
    return data[:start] + bytes(len(block)) + data[start + len(block) :]


def _replace(data: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(len(data))


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start // 2 :]


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "a bit flipped": _flip,
    "cut short": _cut,
    "64 zeros": _zero,
    "other bytes": _replace,
    "a part twice": _repeat,
}


def trials(place: Path, work: Path, rng: random.Random, times: int) -> Iterator[tuple[str, str | None]]:
    """Damage each file ``times`` times; gives what was done and what is wrong with what came of it."""
    references: dict[str, dict[str, str]] = {}
    own = [(path, name) for pattern, name in OWN.items() for path in _files(place, pattern)]
    for name in sorted({name for _, name in own}):
        references[name] = _result(place, name, work / "reference")[1]
    own = [(path, name) for pattern, name in OWN.items() for path in _files(place, pattern)]
    for path, name in own:
        for _ in range(times):
            yield _try(place, path, name, work, rng, references[name])
    for pattern, names in KALDIS.items():
        for number in range(times):
            yield _try(place, place / pattern, names[number % len(names)], work, rng, None)
    yield from _finished(place, work, rng, times)


def _files(place: Path, pattern: str) -> list[Path]:
    files = [path for path in sorted(place.glob(pattern)) if path.is_file() and path.stat().st_size]
    return [path for path in files if path.suffix != ".log" and "lock" not in path.name]


def _result(place: Path, name: str, out: Path) -> tuple[str | None, dict[str, str], int]:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    outcome = call(lab.argv(name, out), place)
    return complaint(outcome), lab.contents(out), outcome.status


def _try(
    place: Path, path: Path, name: str, work: Path, rng: random.Random, reference: dict[str, str] | None
) -> tuple[str, str | None]:
    kind = rng.choice(sorted(DAMAGES))
    good = path.read_bytes()
    path.write_bytes(DAMAGES[kind](good, rng))
    try:
        wrong, contents, status = _result(place, name, work / "out")
        if wrong is None and status == 0 and reference is not None and contents != reference:
            wrong = "exit status 0 and another result"
    finally:
        path.write_bytes(good)
    return f"{path.relative_to(place)}, {kind}: dkt {name}", wrong


def _finished(place: Path, work: Path, rng: random.Random, times: int) -> Iterator[tuple[str, str | None]]:
    """The training command again, where the model or the checkpoint that it finds is damaged."""
    for name in ("train-dnn", "train-lstm"):
        _, reference, _ = _result(place, name, work / "finished")
        seconds = call(lab.argv(name, work / "timed"), place).seconds
        shutil.rmtree(work / "timed")
        for number in range(times):
            out = work / "again"
            shutil.rmtree(out, ignore_errors=True)
            if number % 2:
                call(lab.argv(name, out), place, kill_after=seconds * rng.uniform(0.4, 0.95))
            else:
                shutil.copytree(work / "finished", out, symlinks=True)
            found = sorted(out.rglob("checkpoint*.pt")) or sorted(out.rglob("final.pt"))
            if not found:
                continue
            path, kind = rng.choice(found), rng.choice(sorted(DAMAGES))
            path.write_bytes(DAMAGES[kind](path.read_bytes(), rng))
            outcome = call(lab.argv(name, out), place)
            wrong = complaint(outcome)
            told = re.search(rf"{re.escape(path.name)}: .*\bis damaged", outcome.output) is not None
            # What a finished training needs no more is only told of; Kaldi's scripts know it by a link.
            names = {str(path.relative_to(out).with_suffix(suffix)) for suffix in (".pt", ".nnet")}
            kept = names if told and path.parent.name == "soft" else set()
            same = _without(lab.contents(out), kept) == _without(reference, kept)
            if wrong is None and outcome.status == 0 and not same:
                wrong = "exit status 0 and another model"
            yield f"{path.relative_to(out)}, {kind}: dkt {name} again", wrong


def _without(contents: dict[str, str], names: set[str]) -> dict[str, str]:
    return {name: digest for name, digest in contents.items() if name not in names}
