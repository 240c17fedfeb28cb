#!/usr/bin/env python3
"""Lists of a data set of Kaldi's egs/aurora4/s5 in a data directory of our own, for features of networks.

Statistics of CMVN are left out: Kaldi's data-fbank has those of the MFCC that it was copied with. References
of a set that is decoded lose the words that stand for noise, as in Kaldi's local/score.sh.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from conditions import condition_of

from dkt.base.errors import DktError
from dkt.util.text import Content, fields, read_lines, write_lines

NOISE_WORDS = frozenset({"<NOISE>", "<SPOKEN_NOISE>"})
LISTS = ("utt2spk", "spk2utt", "text")
#: What features are made of, and what lists those that are there.
AUDIO, FEATURES = ("wav.scp", "segments"), ("feats.scp", "utt2num_frames")


def without_noise(path: Path) -> list[str]:
    """The lines of a text without the words that stand for noise; its utterance-ids have to tell conditions.

    Raises:
        DktError: an utterance-id does not, or a line is empty.
    """
    lines = []
    for line in read_lines(path, Content.FREE):
        utt, *words = fields(line) or [""]
        condition_of(utt, path)
        lines.append(" ".join([utt, *(word for word in words if word not in NOISE_WORDS)]))
    return lines


def prepare(source: Path, target: Path, decoded: bool, audio: bool) -> None:
    """Copy the lists; those that are there with this content stay as they are, so do features made of them.

    Raises:
        DktError: a list cannot be read or written, or an utterance-id does not tell its condition.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in (*LISTS, *(AUDIO if audio else FEATURES)):
        if not (source / name).exists():
            continue
        lines = read_lines(source / name, Content.FREE)
        if decoded and name == "text":
            lines = without_noise(source / name)
        if not (target / name).exists() or read_lines(target / name, Content.FREE) != lines:
            write_lines(target / name, lines)


def main() -> int:
    """Prepare one set; exit status 1 if it is not as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decoded", action="store_true", help="it is decoded: references without noise")
    parser.add_argument("--audio", action="store_true", help="its features are still to be made")
    parser.add_argument("source", type=Path, help="Kaldi's data directory")
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    try:
        prepare(args.source, args.target, args.decoded, args.audio)
    except DktError as error:
        print(f"ERROR (prepare_data.py) {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
