"""Makes a data directory of some utterances of another, chosen by chance, in the order they have there."""

import argparse
import random
import sys
from functools import partial
from pathlib import Path

# Called from a shell script with an isolated Python: the package is that of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from split_data import read_utt2spk, reported, write_parts

from dkt.base.files import partial_directory


def subset(data: Path, num_utts: int, target: Path, seed: int) -> None:
    """Write ``num_utts`` of the utterances of ``data``, or all if there are not so many, to ``target``."""
    pairs = read_utt2spk(data / "utt2spk")
    chosen = set(random.Random(seed).sample(range(len(pairs)), min(num_utts, len(pairs))))
    # The rest is a part as well, for a moment: what is in no part would be warned of.
    parts = [
        [pair for number, pair in enumerate(pairs) if (number in chosen) == wanted]
        for wanted in (True, False)
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial_directory(target) as scratch:
        write_parts(data, parts, scratch)
        (scratch / "1").rename(target)


def main() -> int:
    """Read the command line and write the subset; returns the exit status."""
    program = "subset_data_dir.sh"
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("--seed", type=int, default=777, help="decides which utterances are chosen")
    parser.add_argument("data", type=Path, help="the data directory")
    parser.add_argument("num_utts", type=int, help="how many utterances")
    parser.add_argument("target", type=Path, help="the new data directory")
    args = parser.parse_args()
    work = partial(subset, args.data, args.num_utts, args.target, args.seed)
    return reported(program, args.data, "<num-utts>", args.num_utts, work)


if __name__ == "__main__":
    sys.exit(main())
