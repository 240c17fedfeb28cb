"""Lattice archives: Kaldi's to the byte, both kinds and forms, and damage."""

from __future__ import annotations

import gzip
import io
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.lat.conversion import to_compact, to_state_level
from dkt.lat.encoding import encode_compact_lattice, encode_state_level_lattice
from dkt.lat.io import (
    LatticeWriter,
    read_compact_lattice,
    read_compact_lattices,
    read_state_level_lattice,
)
from dkt.lat.lattice import CompactLattice, Lattice
from dkt.lat.text import encode_text_lattice
from tests.lattices import (
    all_paths,
    assert_same,
    compact_lattice,
    random_lattice,
    read_state_level_lattices,
)
from tests.mutation import FUZZ, check_stands, damaged, every_small_damage

TINY = compact_lattice(
    [(0, 1, 5, 1.5, -20.25, [3, 4]), (0, 2, 0, 0.0, 0.0, []), (1, 2, 7, 0.5, 1e-5, [6])],
    {1: (0.0, 0.0, []), 2: (1.25, 0.5, [8, 8])},
    3,
)
EMPTY = compact_lattice([], {}, 0, start=-1)
TINY_TEXT = b"\n0\t1\t5\t1.5,-20.25,3_4\n0\t2\t0\n1\t2\t7\t0.5,1e-05,6\n1\n2\t1.25,0.5,8_8\n\n"


def binary_golden(fixtures: Path) -> str:
    return f"ark:gunzip -c {fixtures}/golden/nnet1/lat_20.gz |"


def test_lattices_of_kaldi_are_read_and_written_to_the_byte(kaldi_fixtures, tmp_path):
    golden = kaldi_fixtures / "golden/nnet1"
    binary = dict(read_compact_lattices(binary_golden(kaldi_fixtures)))
    text = dict(read_compact_lattices(f"ark:gunzip -c {golden}/lat_20.txt.gz |"))
    assert list(binary) == list(text) and len(binary) == 20
    for utt, lattice in binary.items():
        assert_same(lattice, text[utt], rtol=1e-5)
    for form, name in (("ark", "lat_20.gz"), ("ark,t", "lat_20.txt.gz")):
        with LatticeWriter(f"{form}:{tmp_path}/lat") as writer:
            for utt, lattice in binary.items():
                writer.write(utt, lattice)
        assert (tmp_path / "lat").read_bytes() == gzip.decompress((golden / name).read_bytes()), name


def test_text_is_as_kaldi_prints_it():
    assert encode_text_lattice(TINY) == TINY_TEXT
    assert encode_text_lattice(EMPTY) == b"\n\n"
    # The start comes first; a state that is nothing is there all the same; of two labels both are written.
    other = compact_lattice(
        [(1, 2, 5, 0.0, 0.0, []), (1, 0, 5, 2.0, 0.0, [])], {2: (0.0, 0.0, [])}, 3, start=1
    )
    assert encode_text_lattice(other) == b"\n1\t2\t5\n1\t0\t5\t2,0,\n0\tInfinity,Infinity,\n2\n\n"
    assert encode_text_lattice(to_state_level(TINY)).startswith(
        b"\n0\t3\t3\t5\t1.5,-20.25\n0\t2\t0\t0\n1\t2\t6\t7\t"
    )


def test_every_kind_and_form_is_read_as_either_kind(tmp_path):
    rng = np.random.default_rng(1)
    lattices = {
        f"utt-{n}": lattice
        for n, lattice in enumerate([TINY, EMPTY, *(random_lattice(rng) for _ in range(9))])
    }
    for form in ("ark", "ark,t"):
        for convert in (lambda lattice: lattice, to_state_level):
            with LatticeWriter(
                f"{form},scp:{tmp_path}/lat,{tmp_path}/lat.scp".replace("ark,t,scp", "ark,scp,t")
            ) as writer:
                for utt, lattice in lattices.items():
                    writer.write(utt, convert(lattice))
            rtol = 1e-5 if "t" in form.split(",") else 0.0
            for rspecifier in (f"ark:{tmp_path}/lat", f"scp:{tmp_path}/lat.scp"):
                compact = dict(read_compact_lattices(rspecifier))
                states = dict(read_state_level_lattices(rspecifier))
                for utt, lattice in lattices.items():
                    assert_paths(compact[utt], lattice, 1e-4)
                    assert_paths(states[utt], lattice, 1e-4)
                    if convert is not to_state_level:
                        assert_same(compact[utt], lattice, rtol)
                    elif lattice is not EMPTY:  # nothing tells what an empty text was
                        assert_same(states[utt], to_state_level(lattice), rtol)


def assert_paths(one: Lattice | CompactLattice, other: Lattice | CompactLattice, tolerance: float) -> None:
    first, second = sorted(all_paths(one)), sorted(all_paths(other))
    assert [path[:2] for path in first] == [path[:2] for path in second]
    costs = [[path[2:] for path in paths] for paths in (first, second)]
    np.testing.assert_allclose(*costs, atol=tolerance)


def test_conversions_keep_every_path():
    rng = np.random.default_rng(2)
    for _ in range(30):
        lattice = random_lattice(rng)
        states = to_state_level(lattice)
        assert_paths(states, lattice, 1e-5)
        assert_paths(to_compact(states), lattice, 1e-5)


def test_chains_become_one_arc_and_words_do_not_move():
    compact = to_compact(to_state_level(TINY))
    # The string of the final state is now that of an arc to one more state.
    assert [string.tolist() for string in compact.strings] == [[3, 4], [], [6], [8, 8]]
    assert compact.labels.tolist() == [5, 0, 7, 0]
    assert compact.nextstates.tolist() == [1, 2, 2, 3]
    # A second word in a chain begins an arc of its own.
    line = compact_lattice(
        [(0, 1, 5, 1.0, 0.0, [1]), (1, 2, 6, 1.0, 0.0, [2]), (2, 3, 0, 1.0, 0.5, [3])], {3: (0.0, 0.0, [])}, 4
    )
    two = to_compact(to_state_level(line))
    assert two.labels.tolist() == [5, 6]
    assert [string.tolist() for string in two.strings] == [[1], [2, 3]]
    assert (two.graph_costs.tolist(), two.acoustic_costs.tolist()) == ([1.0, 2.0], [0.0, 0.5])


def test_double_precision_is_read():
    data = encode_compact_lattice(compact_lattice([(0, 1, 5, 1.5, -2.0, [3])], {1: (0.0, 0.0, [])}, 2))
    head, rest = data[:18], data[34:]
    body = rest[40:]
    words = np.frombuffer(body, dtype="<i4")
    doubled = np.concatenate(
        [
            widened(words[:2]),
            words[2:5],
            words[5:7],
            widened(words[7:9]),
            words[9:12],
            widened(words[12:14]),
            words[14:],
        ]
    )
    lattice = read_compact_lattice(io.BytesIO(head + b"compactlattice84" + rest[:40] + doubled.tobytes()))
    assert lattice.graph_costs.tolist() == [1.5] and lattice.acoustic_costs.tolist() == [-2.0]
    assert [string.tolist() for string in lattice.strings] == [[3]] and lattice.nextstates.tolist() == [1]


def widened(words: np.ndarray) -> np.ndarray:
    return words.view("<f4").astype("<f8").view("<i4")


SEEDS = [
    encode_compact_lattice(TINY),
    encode_state_level_lattice(to_state_level(TINY)),
    encode_text_lattice(TINY),
    encode_text_lattice(to_state_level(TINY)),
]


@pytest.mark.parametrize("read", [read_compact_lattice, read_state_level_lattice])
@pytest.mark.parametrize("seed", SEEDS)
def test_small_damage_is_an_error_or_another_lattice(read, seed):
    for data in every_small_damage(seed):
        check_stands(lambda data=data: reading(read, data), len(data))


@FUZZ
@given(data=damaged(SEEDS), read=st.sampled_from([read_compact_lattice, read_state_level_lattice]))
def test_any_damage_is_an_error_or_another_lattice(data, read):
    check_stands(lambda: reading(read, data), len(data))


def reading(read, data: bytes) -> None:
    """As a table's reader does it: numbers that are none become errors there."""
    from dkt.matrix.matrix_io import read_value

    read_value(read, io.BufferedReader(io.BytesIO(data)), "lat", "utt")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cut_is_an_error(seed):
    for size in range(len(seed)):
        with pytest.raises(DktError):
            reading(read_compact_lattice, seed[:size])


def test_a_cut_archive_of_kaldi_names_the_utterance(kaldi_fixtures, tmp_path):
    with gzip.open(kaldi_fixtures / "golden/nnet1/lat_20.gz") as stream:
        data = stream.read(500_000)
    utts = [utt for utt, _ in read_compact_lattices(binary_golden(kaldi_fixtures))]
    for size in (17, 60, 90, 300, 100_000, 250_003, len(data)):
        (tmp_path / "lat").write_bytes(data[:size])
        with pytest.raises(DktError) as caught:
            list(read_compact_lattices(f"ark:{tmp_path}/lat"))
        assert caught.value.utt in utts and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "0 1 5\n1 0 5\n1\n",  # a cycle
        "0 0 5\n0\n",
        "0 1 5\n1 2 6\n2 1 6\n2\n",
        "0 7 5\n7\n",  # states that are not there
        "0 2000000000 5\n1\n",
        "0 -1 5\n1\n",
        "-1 1 5\n1\n",
        "0 1 -5\n1\n",  # labels, costs
        "0 1 5 1,nan,\n1\n",
        "0 1 5 1,BadNumber,\n1\n",
        "0 1 5 Infinity,Infinity,3\n1\n",
        "0 1 5 1,2,3_x\n1\n",
        "0 1 5 1,2,3__4\n1\n",
        "0 1 5 1,2,-3\n1\n",
        "0 1 5 1,2,99999999999\n1\n",
        "0 1 1_0\n1\n",
        "0 1 5 1_0,2,3\n1\n",
        "0 1 5 1,2\n1\n",
        "0 1 5\n1 1,Infinity,\n",
        "0 1 5\n0 1 5 6\n1\n",  # both kinds
        "0 1 5 6 1,2\n1 2 7\n2\n",
        "0 1 5 6 7 8\n1\n",
        "0 1 5.5\n1\n",
    ],
)
def test_impossible_text_is_an_error(text, tmp_path):
    (tmp_path / "lat").write_text(f"utt \n{text}\n")
    with pytest.raises(DktError, match="utterance 'utt'"):
        list(read_compact_lattices(f"ark,t:{tmp_path}/lat"))


def test_binary_cycles_and_wrong_states_are_errors():
    for arcs, start in (([(0, 1, 5, 0, 0, []), (1, 0, 5, 0, 0, [])], 0), ([(0, 5, 5, 0, 0, [])], 0), ([], 2)):
        data = encode_compact_lattice(compact_lattice(arcs, {1: (0, 0, [])}, 2, start))
        with pytest.raises(DktError):
            reading(read_compact_lattice, data)


def test_lattice_copy_changes_form_and_kind(kaldi_fixtures, tmp_path):
    source = binary_golden(kaldi_fixtures)
    assert main(["lattice-copy", source, f"ark,t:{tmp_path}/text"]) == 0
    assert (tmp_path / "text").read_bytes() == gzip.decompress(
        (kaldi_fixtures / "golden/nnet1/lat_20.txt.gz").read_bytes()
    )
    with LatticeWriter(f"ark:{tmp_path}/tiny") as writer:
        writer.write("utt", TINY)
    assert (
        main(["lattice-copy", "--write-compact=false", f"ark:{tmp_path}/tiny", f"ark:{tmp_path}/states"]) == 0
    )
    assert b"\x08\0\0\0lattice4" in (tmp_path / "states").read_bytes()
    (tmp_path / "none").touch()
    assert main(["lattice-copy", f"ark:{tmp_path}/none", f"ark:{tmp_path}/out"]) == 1


def test_properties_tell_epsilons_and_acceptors():
    def bits(data: bytes) -> int:
        return int.from_bytes(data[data.index(b"lattice4") :][8:].removeprefix(b"4")[8:16], "little")

    tiny = bits(encode_compact_lattice(TINY))
    assert tiny == 0x105410003  # an acceptor with an arc without a word, weighted
    assert bits(encode_state_level_lattice(to_state_level(TINY))) == 0x105420003


def test_first_wrong_bytes_say_what_was_found():
    for data in chain([b"", b"x", b" x\n", b"\xd6\xfd"]):
        with pytest.raises(DktError):
            read_compact_lattice(io.BytesIO(data))
