"""Damage for files of dkt: what bad disks, full disks, cut connections and wrong hands make of them."""

from __future__ import annotations

import random
from collections.abc import Iterator

#: A file of another program under the name of one of ours.
NNET1 = b"\0B<Nnet> <AffineTransform> \x04\x08\0\0\0"


def flipped(data: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """``count`` single flipped bits, spread over the file, each with its place."""
    chance = random.Random(seed)
    for number in range(count):
        # One in each part, so that the ends, where sizes and checksums are, get their share.
        place = chance.randrange(number * len(data) // count, (number + 1) * len(data) // count)
        bit = chance.randrange(8)
        yield f"bit {bit} of byte {place}", data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def damages(data: bytes, flips: int = 40, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """A file cut at every tenth and near its end, emptied, overwritten, lengthened, with flipped bits."""
    for tenth in range(10):
        yield f"{tenth} tenths", data[: tenth * len(data) // 10]
    for size in (1, 18, 19):
        yield f"cut by {size}", data[:-size]
    middle = len(data) // 2
    yield "a hole", data[:middle] + bytes(64) + data[middle + 64 :]
    yield "zeros", bytes(len(data))
    yield "twice", data + data
    yield "more", data + b"\n"
    yield "a network of Kaldi's", NNET1
    yield "text", b"u1 1 2 3\n"
    yield from flipped(data, flips, seed)
