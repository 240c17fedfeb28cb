#!/usr/bin/env python3
"""Prepare data and dictionary directories from the speechocean762 corpus (OpenSLR 101) or a part of it."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from dkt.base.errors import DktError
from dkt.util.data_dir import DataDir
from dkt.util.text import fields, read_keyed_lines, read_lines, write_lines

PARTS = ("train", "dev", "test")
OOV_WORD = "<UNK>"
SILENCES = ("SIL", "SPN")


def prepare_part(source: Path, root: Path, target: Path) -> None:
    """Copy one data directory; the paths of its recordings, relative to ``root``, become absolute."""
    directory = DataDir(source)
    target.mkdir(parents=True, exist_ok=True)
    directory.check_sorted()
    wav = {}
    for utt, place in directory.wav_scp.items():
        path = root / place
        if not path.is_file():
            raise DktError("does not exist", path=path, utt=utt, hint="is the corpus complete?")
        wav[utt] = path.resolve()
    missing = sorted(set(wav) ^ set(directory.text))
    if missing:
        raise DktError("is in only one of wav.scp and text", path=source, utt=missing[0])
    tables = {"wav.scp": wav, "text": directory.text, "utt2spk": directory.utt2spk}
    tables["spk2utt"] = {speaker: " ".join(utts) for speaker, utts in directory.spk2utt.items()}
    if (source / "spk2gender").is_file():
        tables["spk2gender"] = read_keyed_lines(source / "spk2gender")
    for name, table in tables.items():
        write_lines(target / name, [f"{key} {value}" for key, value in sorted(table.items())])


def prepare_dict(lexicon: Path, target: Path) -> None:
    """Write a dictionary directory; stress marks are dropped, as with the corpus's Kaldi recipe."""
    entries = {f"{OOV_WORD} SPN"}
    phones = set()
    for number, line in enumerate(read_lines(lexicon), 1):
        word, *pronunciation = fields(line) or [""]
        if not pronunciation:
            raise DktError(f"line {number}: expected '<word> <phone> ...', found '{line}'", path=lexicon)
        plain = [re.sub(r"\d$", "", phone) for phone in pronunciation]
        entries.add(f"{word} {' '.join(plain)}")
        phones.update(plain)
    files = {
        "lexicon.txt": sorted(entries),
        "nonsilence_phones.txt": sorted(phones - set(SILENCES)),
        "silence_phones.txt": list(SILENCES),
        "optional_silence.txt": ["SIL"],
    }
    target.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        write_lines(target / name, lines)


def main() -> int:
    """Prepare everything; exit status 1 for a corpus that is not as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus_dir", type=Path, help="with train, dev, test, lexicon.txt and lm_train.txt")
    parser.add_argument("data_dir", type=Path)
    args = parser.parse_args()
    try:
        for part in PARTS:
            prepare_part(args.corpus_dir / part, args.corpus_dir, args.data_dir / part)
        prepare_dict(args.corpus_dir / "lexicon.txt", args.data_dir / "local/dict")
        write_lines(args.data_dir / "local/lm_train.txt", read_lines(args.corpus_dir / "lm_train.txt"))
    except DktError as error:
        print(f"ERROR (prepare_data.py) {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
