#!/usr/bin/env python3
"""A Kaldi dictionary directory of the ten English digits."""

from __future__ import annotations

import argparse
from pathlib import Path

# ARPAbet without stress marks, as the CMU dictionary has the words.
LEXICON = {
    "EIGHT": "EY T",
    "FIVE": "F AY V",
    "FOUR": "F AO R",
    "NINE": "N AY N",
    "ONE": "W AH N",
    "SEVEN": "S EH V AH N",
    "SIX": "S IH K S",
    "THREE": "TH R IY",
    "TWO": "T UW",
    "ZERO": "Z IH R OW",
}
OOV_WORD, OOV_PHONE, SILENCE_PHONE = "<UNK>", "SPN", "SIL"


def write_dict(dict_dir: Path) -> None:
    """Write lexicon.txt and the lists of phones into ``dict_dir``, which is made if it is not there."""
    phones = sorted({phone for pronunciation in LEXICON.values() for phone in pronunciation.split()})
    silences = [SILENCE_PHONE, OOV_PHONE]
    files = {
        "lexicon.txt": [
            f"{word} {phones}" for word, phones in sorted({OOV_WORD: OOV_PHONE, **LEXICON}.items())
        ],
        "silence_phones.txt": silences,
        "optional_silence.txt": [SILENCE_PHONE],
        "nonsilence_phones.txt": phones,
        "extra_questions.txt": [" ".join(silences), " ".join(phones)],
    }
    dict_dir.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (dict_dir / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def main() -> None:
    """Write the dictionary directory named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dict_dir", type=Path, metavar="dict-dir", help="where to write the dictionary")
    write_dict(parser.parse_args().dict_dir)


if __name__ == "__main__":
    main()
