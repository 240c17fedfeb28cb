"""Best paths, oracle paths and scans of lattices, against brute force and Kaldi."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import kaldialign
import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.lat.io import LatticeWriter, read_compact_lattices
from dkt.lat.oracle import oracle_path
from dkt.lat.order import topological_order
from dkt.lat.paths import CostScale, best_path, best_paths, count_arc_frames, count_frames
from dkt.util.symbols import read_symbol_table
from tests.lattices import all_paths, compact_lattice, random_lattice

SCALES = [
    CostScale(),
    CostScale(0.5, 2.0),
    CostScale(1.0, 0.1, 1.5),
    CostScale(0.0, 1.0),
    CostScale(1.0, 1.0, -3.0),
]
# The path of words 1 and 2 costs 1 + 10, that of word 3 costs 3 + 6; the third leads nowhere.
THREE = compact_lattice(
    [
        (0, 1, 1, 0.5, 5.0, [4]),
        (0, 2, 3, 3.0, 6.0, [4, 5]),
        (0, 3, 9, 0.0, 0.0, [4]),
        (1, 2, 2, 0.5, 5.0, [6]),
    ],
    {2: (0.0, 0.0, [7])},
    4,
)
NOWHERE = compact_lattice([(0, 1, 1, 0.5, 5.0, [4])], {}, 2)


@pytest.fixture(scope="module")
def golden(kaldi_fixtures):
    return dict(read_compact_lattices(f"ark:gunzip -c {kaldi_fixtures}/golden/nnet1/lat_20.gz |"))


def test_best_paths_are_those_of_kaldi_at_four_weights(golden, kaldi_fixtures):
    words = {number: word for word, number in read_symbol_table(kaldi_fixtures / "lang/words.txt").items()}
    for lmwt in (8, 10, 12, 14):
        lines = (kaldi_fixtures / f"golden/nnet1/best_path_lmwt{lmwt}.txt").read_text().splitlines()
        found = [
            " ".join([utt, *(words[i] for i in best_path(lattice, CostScale(acoustic_scale=1 / lmwt)).words)])
            for utt, lattice in golden.items()
        ]
        assert found == [line.rstrip() for line in lines]


def test_the_search_of_kaldi_found_the_best_path_of_its_lattices(kaldi_fixtures, tmp_path, caplog):
    folder = kaldi_fixtures / "golden/nnet1"
    arguments = [f"ark:gunzip -c {folder}/lat_20.gz |", f"ark,t:{tmp_path}/words", f"ark,t:{tmp_path}/ali"]
    with caplog.at_level(logging.INFO):
        assert main(["lattice-best-path", "--acoustic-scale=0.1", *arguments]) == 0
    for name in ("words", "ali"):
        kaldi = gzip.decompress((folder / f"search_{name}_20.txt.gz").read_bytes())
        assert (tmp_path / name).read_bytes() == kaldi
    # search_20.log: a log-likelihood of 1.56352 a frame over 334 frames.
    [line] = [message for message in caplog.messages if "utterance 0003-000030012, best cost" in message]
    assert line.endswith("over 334 frames.")
    assert float(line.split(" = ")[1].split()[0]) == pytest.approx(-1.56352 * 334, abs=0.01)
    assert "Done 20 lattices, failed for 0" in caplog.messages


def test_best_paths_are_those_of_brute_force():
    rng = np.random.default_rng(3)
    for _ in range(40):
        lattice = random_lattice(rng)
        for scale, found in zip(SCALES, best_paths(lattice, SCALES), strict=True):
            total, path = min(
                (
                    scale.lm_scale * g + scale.acoustic_scale * a + scale.word_ins_penalty * len(words),
                    (words, ids),
                )
                for words, ids, g, a in all_paths(lattice)
            )
            assert (found.words, found.alignment.tolist()) == path
            assert found.graph_cost + found.acoustic_cost == pytest.approx(total, abs=1e-5)


def test_many_points_are_taken_in_turn_where_memory_is_short(monkeypatch):
    whole = best_paths(THREE, SCALES)
    monkeypatch.setattr("dkt.lat.paths._MOST_COSTS", 2 * THREE.num_arcs)
    assert [path.words for path in best_paths(THREE, SCALES)] == [path.words for path in whole]


def test_a_penalty_counts_once_a_word_and_is_not_scaled():
    at = best_path(THREE, CostScale(1.0, 1.0))
    assert (at.words, at.graph_cost, at.acoustic_cost) == ([3], 3.0, 6.0)
    at = best_path(THREE, CostScale(1.0, 0.25))
    assert (at.words, at.graph_cost, at.acoustic_cost) == ([1, 2], 1.0, 2.5)
    assert best_path(THREE, CostScale(1.0, 0.25, 0.9)).words == [1, 2]
    at = best_path(THREE, CostScale(1.0, 0.25, 1.1))
    assert (at.words, at.graph_cost) == ([3], pytest.approx(4.1))
    assert at.alignment.tolist() == [4, 5, 7] and at.alignment.dtype == np.int32


def test_of_equal_paths_the_first_is_taken():
    arcs = [(0, 1, 1, 1.0, 0.0, [4]), (0, 1, 2, 1.0, 0.0, [5]), (0, 1, 3, 0.0, 1.0, [6])]
    assert best_path(compact_lattice(arcs, {1: (0.0, 0.0, [])}, 2)).words == [1]


def test_without_a_final_state_there_is_no_path():
    assert best_paths(NOWHERE, SCALES[:2]) == [None, None]
    assert best_path(compact_lattice([], {}, 0, start=-1)) is None
    assert oracle_path(NOWHERE, [1]) is None
    assert oracle_path(compact_lattice([], {}, 0, start=-1), [1]) is None


def test_a_start_that_is_final_is_a_path_without_words():
    lattice = compact_lattice([(0, 1, 1, 0.5, 5.0, [4])], {0: (0.25, 0.5, []), 1: (0.0, 0.0, [])}, 2)
    path = best_path(lattice)
    assert (path.words, path.graph_cost, path.acoustic_cost, len(path.alignment)) == ([], 0.25, 0.5, 0)


def test_arcs_lead_to_later_states_of_the_order():
    rng = np.random.default_rng(4)
    for _ in range(20):
        lattice = random_lattice(rng)
        place = np.argsort(topological_order(lattice))
        assert (place[lattice.nextstates] > place[lattice.sources]).all()


def test_frames_are_counted_and_have_to_agree():
    rng = np.random.default_rng(5)
    for _ in range(10):
        lattice = random_lattice(rng)
        assert {len(path[1]) for path in all_paths(lattice)} == {count_frames(lattice)}
    assert (count_frames(THREE), count_arc_frames(THREE)) == (3, 6)
    assert count_frames(NOWHERE) == 0
    with pytest.raises(DktError, match="1 and 2 frames"):
        count_frames(compact_lattice([(0, 1, 1, 0, 0, [4]), (0, 1, 1, 0, 0, [4, 5])], {1: (0, 0, [])}, 2))


def errors_of(hyp: list[int], ref: list[int]) -> int:
    return kaldialign.edit_distance([*map(str, ref)], [*map(str, hyp)])["total"]


@pytest.mark.parametrize("wildcards", [(), (2,), (1, 3)])
def test_oracle_paths_are_those_of_brute_force(wildcards):
    rng = np.random.default_rng(6)
    for _ in range(40):
        lattice = random_lattice(rng)
        ref = rng.integers(1, 6, rng.integers(0, 6)).tolist()
        kept = [word for word in ref if word not in wildcards]
        hyps = [[word for word in path[0] if word not in wildcards] for path in all_paths(lattice)]
        found = oracle_path(lattice, ref, wildcards)
        assert found.num_errors == min(errors_of(hyp, kept) for hyp in hyps)
        assert found.words in hyps and errors_of(found.words, kept) == found.num_errors
        assert found.num_ins - found.num_del == len(found.words) - len(kept)
        assert found.num_words == len(kept)


def test_every_path_is_its_own_oracle():
    rng = np.random.default_rng(7)
    for _ in range(10):
        lattice = random_lattice(rng)
        for words, *_ in all_paths(lattice):
            found = oracle_path(lattice, words)
            assert (found.words, found.num_errors) == (words, 0)


def test_errors_are_told_apart():
    line = compact_lattice(
        [(0, 1, 1, 0, 0, []), (1, 2, 0, 0, 0, []), (2, 3, 2, 0, 0, [])], {3: (0, 0, [])}, 4
    )
    counts = {(): (2, 0, 0), (1,): (1, 0, 0), (1, 9): (0, 0, 1), (1, 9, 2): (0, 1, 0), (1, 0, 2): (0, 0, 0)}
    for ref, expected in counts.items():
        found = oracle_path(line, ref)
        assert (found.num_ins, found.num_del, found.num_sub) == expected, ref


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text(
        "".join(f"{word} {number}\n" for number, word in enumerate(["e", "A", "B", "C", "D", "E"]))
    )
    with LatticeWriter("ark:lat") as writer:
        writer.write("a", THREE)
        writer.write("b", NOWHERE)
    return tmp_path


def test_every_point_of_a_scan_is_a_best_path(files, kaldi_fixtures, golden, tmp_path):
    source = f"ark:gunzip -c {kaldi_fixtures}/golden/nnet1/lat_20.gz |"
    table = kaldi_fixtures / "lang/words.txt"
    options = ["--lmwts=7 10.5 14", "--word-ins-penalties=-0.5 0.0 1.0"]
    assert main(["lattice-scan", *options, source, str(table), "scan"]) == 0
    numbers = read_symbol_table(table)
    for lmwt in ("7", "10.5", "14"):
        for penalty in ("-0.5", "0.0", "1.0"):
            lines = Path(f"scan/{lmwt}_{penalty}.txt").read_text().splitlines()
            found = {utt: [numbers[word] for word in words] for utt, *words in map(str.split, lines)}
            scale = CostScale(1.0, 1.0 / float(lmwt), float(penalty))
            assert found == {utt: best_path(lattice, scale).words for utt, lattice in golden.items()}


def test_a_lattice_without_a_path_is_counted(files, capsys, caplog):
    assert (
        main(["lattice-scan", "--lmwts=1 4", "--word-ins-penalties=0.0", "ark:lat", "words.txt", "scan"]) == 1
    )
    assert "1 of 2 utterances were dropped" in capsys.readouterr().err
    assert Path("scan/1_0.0.txt").read_text() == "a C\nb\n"
    assert Path("scan/4_0.0.txt").read_text() == "a A B\nb\n"
    assert main(["lattice-best-path", "--max-dropped=0.5", "ark:lat", "ark,t:words", "ark,t:ali"]) == 0
    assert (Path("words").read_text(), Path("ali").read_text()) == ("a 3 \n", "a 4 5 7 \n")


def test_words_are_written_as_text_on_demand(files, capsys):
    options = ["--max-dropped=0.5", "--words-as-text=true"]
    assert main(["lattice-best-path", *options, "--word-symbol-table=words.txt", "ark:lat", "ark,t:out"]) == 0
    assert Path("out").read_text() == "a C\n"
    assert main(["lattice-best-path", *options, "ark:lat", "ark,t:out"]) == 1
    assert "--word-symbol-table" in capsys.readouterr().err


def test_oracle_command_counts_as_kaldi_does(files, caplog):
    Path("ref").write_text("a 1 2 4\nb 1\n")
    with caplog.at_level(logging.INFO):
        assert (
            main(["lattice-oracle", "--max-dropped=0.5", "ark:lat", "ark:ref", "ark,t:out", "ark,t:distance"])
            == 0
        )
    assert (Path("out").read_text(), Path("distance").read_text()) == ("a 1 2 \n", "a 1 \n")
    assert "Overall %WER 33.3333 [ 1 / 3, 0 insertions, 1 deletions, 0 substitutions ]" in caplog.messages
    assert (
        main(
            [
                "lattice-oracle",
                "--max-dropped=0.5",
                "--wildcard-symbols=4:2",
                "ark:lat",
                "ark:ref",
                "ark,t:out",
            ]
        )
        == 0
    )
    assert Path("out").read_text() == "a 1 \n"


def test_oracle_command_takes_text(files, caplog):
    Path("ref").write_text("a A B UNKNOWN\n")
    options = ["--max-dropped=0.5", "--words-as-text=true", "--word-symbol-table=words.txt"]
    with caplog.at_level(logging.INFO):
        assert main(["lattice-oracle", *options, "ark:lat", "ark:ref", "ark,t:out", "ark:distance"]) == 0
    assert Path("out").read_text() == "a A B\n"
    assert Path("distance").read_bytes() == b"a \0B\x04\1\0\0\0"
    assert "a (oracle) A B" in caplog.messages
    assert any("'b': no reference present" in message for message in caplog.messages)


def test_depths_of_kaldi_lattices(kaldi_fixtures, caplog, tmp_path):
    source = f"ark:gunzip -c {kaldi_fixtures}/golden/nnet1/lat_20.gz |"
    with caplog.at_level(logging.INFO):
        assert main(["lattice-depth", source, f"ark,t:{tmp_path}/depth"]) == 0
    assert "Overall density is 322.244 over 6966 frames." in caplog.messages
    assert (tmp_path / "depth").read_text().splitlines()[0] == "0003-000030012 27.76048 "


LATTICE = "u \n0 1 3 1.0,2.0,1\n1 0.5,0.5,2\n\n"


@pytest.mark.parametrize(
    ("references", "options", "message"),
    [
        ("u C A\n", [], "expected integers, found 'C' - give references of words with --words-as-text=true"),
        ("u 1_0\n", [], "give references of words with --words-as-text=true"),
        ("u 3\n", ["--words-as-text=true"], "'3' - leave out --words-as-text for references of integers"),
        ("u D E\n", ["--words-as-text=true"], "none of the 2 words is in the symbol table, the first 'D'"),
    ],
)
def test_references_of_the_other_kind_are_told(tmp_path, capsys, references, options, message):
    (tmp_path / "lat").write_text(LATTICE)
    (tmp_path / "refs").write_text(references)
    (tmp_path / "words.txt").write_text("<eps> 0\nA 1\nB 2\nC 3\n")
    tables = [f"ark:{tmp_path}/{name}" for name in ("lat", "refs", "out")]
    assert main(["lattice-oracle", *options, f"--word-symbol-table={tmp_path}/words.txt", *tables]) == 1
    assert message in capsys.readouterr().err
    tables[1] = "ark:nowhere"
    assert main(["lattice-oracle", *tables]) == 1
    assert "--words-as-text" not in capsys.readouterr().err
