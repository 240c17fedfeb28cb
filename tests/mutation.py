"""Damage for parsers: hypothesis strategies that change valid bytes, and what every parser must stand."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from dkt.base.errors import DktError

#: The same examples on every machine and no files left behind; what hangs runs into the deadline.
FUZZ = settings(
    derandomize=True,
    database=None,
    deadline=timedelta(seconds=10),
    max_examples=100,
    suppress_health_check=list(HealthCheck),
)

# What sizes, marks and brackets look like, and what Python and numpy read in ways of their own.
_PIECES = [
    *(number.to_bytes(4, "little") for number in (0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x10000000)),
    *(b"\x04" + number.to_bytes(4, "little") for number in (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x00FFFFFF)),
    *(b"\0B", b"\0", b"\n", b" ", b"[", b"]", b"\xff", b"\r\n", b"\x04", b"\xfc"),
]
_WORDS = [
    *(b"-1", b"0", b"1_0", b"nan", b"inf", b"-inf", b"1e999", b"9" * 30, b"9" * 5000, b"2147483648", b"2.5"),
    *(b"999999999", b"\xc2\xb2", b"\xd9\xa3", b"\xff", b"[", b"]", b"", b"x", b"\xc2\xa0"),
]
_WORD = re.compile(rb"\S+")
# Past what is there, a parser may take this much for each byte of its input, and this much for any.
_MEMORY_PER_BYTE = 64
_MEMORY = 4 << 20


_SIZES = [number.to_bytes(4, "little") for number in (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x00800000)]


def every_small_damage(seed: bytes) -> Iterator[bytes]:
    """``seed`` cut at every byte, each word made an odd one, each four bytes a wrong size."""
    yield from (seed[:size] for size in range(len(seed)))
    for word in _WORD.finditer(seed):
        yield from (seed[: word.start()] + piece + seed[word.end() :] for piece in _WORDS)
    if b"\0" in seed:
        for place in range(len(seed) - 3):
            yield from (seed[:place] + size + seed[place + 4 :] for size in _SIZES)


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of ``seeds``, changed in one to three places, or random bytes."""
    data = draw(st.sampled_from([*seeds, b""]))
    if not data:
        return draw(st.binary(max_size=64))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        data = draw(_edits(data, place, seeds))
    return data


def _edits(data: bytes, place: int, seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    head, tail = data[:place], data[place:]
    word = _WORD.search(data, place)
    start, end = word.span() if word else (place, place)
    return st.one_of(
        st.sampled_from(_WORDS).map(lambda piece: data[:start] + piece + data[end:]),
        st.integers(1, 255).map(lambda flip: head + bytes(b ^ flip for b in tail[:1]) + tail[1:]),
        st.just(head),
        st.integers(1, 16).map(lambda size: head + tail[size:]),
        st.sampled_from(_PIECES).map(lambda piece: head + piece + tail),
        st.sampled_from(_PIECES).map(lambda piece: head + piece + tail[len(piece) :]),
        st.binary(min_size=1, max_size=8).map(lambda piece: head + piece + tail),
        st.tuples(st.sampled_from(seeds), st.floats(0, 1)).map(
            lambda other: head + other[0][int(other[1] * len(other[0])) :]
        ),
    )


def check_stands(parse: Callable[[], object], size: int) -> None:
    """``parse`` returns, or raises DktError, and takes no more memory than ``size`` bytes justify."""
    tracemalloc.start()
    try:
        parse()
    except DktError as error:
        assert str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= _MEMORY_PER_BYTE * size + _MEMORY, f"{peak} bytes of memory for {size} bytes of input"
