#!/usr/bin/env python3
"""A Kaldi dictionary directory of the ten English digits."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "local/corpora"))
import kaldi_corpus

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


def write_dict(dict_dir: Path) -> None:
    """Write the dictionary into ``dict_dir``, which is made if it is not there."""
    kaldi_corpus.write_dict(dict_dir, {word: [phones] for word, phones in LEXICON.items()})


def main() -> None:
    """Write the dictionary directory named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dict_dir", type=Path, metavar="dict-dir", help="where to write the dictionary")
    write_dict(parser.parse_args().dict_dir)


if __name__ == "__main__":
    main()
