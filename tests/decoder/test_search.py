"""One-best search against exhaustive search on a small graph, and the commands that search."""

from __future__ import annotations

import kaldifst
import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.decoder.decode_table import NoPathError
from dkt.decoder.faster_decoder import Searcher
from dkt.fstext.fst import FstArrays
from dkt.hmm.topology import HmmState, HmmTopology
from dkt.hmm.transition_model import TransitionModel, write_transition_model
from dkt.util.object_io import ObjectWriter
from dkt.util.table import MatrixWriter, read_int_vectors

# Transition-ids 1 to 6: of phones 1, 2 and 3 with one state each, the self-loop and the way out.
# Word 7 is phones 1 2, word 8 phone 3; the second word of a pair costs 1.
TEXT = """0 1 2 7 0.5
1 1 1 0 0.1
1 2 4 0 0.2
2 2 3 0 0.1
0 3 6 8 0.7
3 3 5 0 0.3
2 0 0 0 1.0
3 0 0 0 1.0
2 0.4
3 0.6
"""
WIDE = {"beam": 1e4, "max_active": 1000, "min_active": 0}


@pytest.fixture(scope="module")
def model() -> TransitionModel:
    topology = HmmTopology([[HmmState(0, 0, [(0, 0.5), (1, 0.5)]), HmmState()]], {1: 0, 2: 0, 3: 0})
    # Pdfs are not in the order of the phones.
    return TransitionModel(topology, [(1, 0, 2, 2), (2, 0, 0, 0), (3, 0, 1, 1)])


@pytest.fixture(scope="module")
def graph() -> FstArrays:
    return FstArrays.from_kaldifst(kaldifst.compile(TEXT, acceptor=False))


def viterbi(
    graph: FstArrays, id2pdf: np.ndarray, loglikes: np.ndarray, scale: float, penalty: float
) -> tuple:
    """The cost, words and transition-ids of the best path to a final state, by relaxing every arc."""
    best = {graph.start: (0.0, [], [])}

    def relax(into: dict, state: int, candidate: tuple) -> bool:
        if state not in into or candidate[0] < into[state][0] - 1e-9:
            into[state] = candidate
            return True
        return False

    def spread_epsilons(at: dict) -> None:
        changed = True
        while changed:
            changed = False
            for source, (ilabel, olabel, weight, target) in zip(
                graph.sources.tolist(), graph.arcs.tolist(), strict=True
            ):
                if ilabel == 0 and source in at:
                    cost, words, ids = at[source]
                    changed |= relax(at, target, (cost + weight + penalty * (olabel != 0), words, ids))

    spread_epsilons(best)
    for row in loglikes.astype(float):
        after: dict = {}
        for source, (ilabel, olabel, weight, target) in zip(
            graph.sources.tolist(), graph.arcs.tolist(), strict=True
        ):
            if ilabel != 0 and source in best:
                cost, words, ids = best[source]
                cost += weight + penalty * (olabel != 0) - scale * row[id2pdf[ilabel]]
                relax(after, target, (cost, words + [olabel] * (olabel != 0), [*ids, ilabel]))
        spread_epsilons(after)
        best = after
    ends = [(cost + graph.final[state], words, ids) for state, (cost, words, ids) in best.items()]
    return min(ends, key=lambda end: end[0])


@pytest.mark.parametrize(("frames", "scale", "penalty"), [(5, 1.0, 0.0), (60, 0.3, 0.0), (60, 0.3, 2.0)])
def test_best_path_is_that_of_exhaustive_search(graph, model, frames, scale, penalty):
    loglikes = np.random.default_rng(frames).normal(0, 4, (frames, 3)).astype(np.float32)
    searcher = Searcher(graph, model.id2pdf, acoustic_scale=scale, word_ins_penalty=penalty, **WIDE)
    result = searcher.search(loglikes)
    cost, words, ids = viterbi(graph, model.id2pdf, loglikes, scale, penalty)
    assert result.words == words
    assert result.alignment.tolist() == ids
    assert -result.loglike == pytest.approx(cost, abs=1e-3)
    acoustic = -scale * loglikes[np.arange(frames), model.id2pdf[ids]].sum()
    assert result.acoustic_cost == pytest.approx(acoustic, abs=1e-3)
    assert result.reached_final


def test_a_long_utterance_is_scored_in_pieces_without_a_seam(graph, model):
    loglikes = np.random.default_rng(1).normal(0, 4, (700, 3)).astype(np.float32)
    result = Searcher(graph, model.id2pdf, acoustic_scale=0.2, **WIDE).search(loglikes)
    cost, words, ids = viterbi(graph, model.id2pdf, loglikes, 0.2, 0.0)
    assert result.alignment.tolist() == ids
    assert result.words == words
    assert -result.loglike == pytest.approx(cost, rel=1e-5)


def test_a_penalty_makes_for_fewer_words(graph, model):
    loglikes = np.random.default_rng(2).normal(0, 3, (100, 3)).astype(np.float32)
    counts = [
        len(Searcher(graph, model.id2pdf, word_ins_penalty=p, **WIDE).search(loglikes).words)
        for p in (-3.0, 0.0, 3.0)
    ]
    assert counts[0] > counts[1] > counts[2]


def test_one_searcher_forgets_the_utterance_before(graph, model):
    rng = np.random.default_rng(4)
    a, b = (rng.normal(0, 4, (30, 3)).astype(np.float32) for _ in range(2))
    searcher = Searcher(graph, model.id2pdf)
    first = searcher.search(a)
    searcher.search(b)
    again = searcher.search(a)
    assert (again.words, again.loglike) == (first.words, first.loglike)
    assert (again.alignment == first.alignment).all()


def test_kaldifst_objects_are_searched_as_well(graph, model):
    loglikes = np.random.default_rng(5).normal(0, 4, (20, 3)).astype(np.float32)
    expected = Searcher(graph, model.id2pdf).search(loglikes)
    for form in (graph.to_kaldifst(), graph.to_kaldifst_const()):
        assert Searcher(form, model.id2pdf).search(loglikes).words == expected.words


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_an_error(graph, model, value):
    loglikes = np.zeros((4, 3), dtype=np.float32)
    loglikes[2, 1] = value
    with pytest.raises(DktError, match="NaN or \\+inf"):
        Searcher(graph, model.id2pdf).search(loglikes)


def test_minus_infinity_forbids_a_pdf(graph, model):
    loglikes = np.zeros((6, 3), dtype=np.float32)
    free = Searcher(graph, model.id2pdf, **WIDE).search(loglikes)
    loglikes[:, model.id2pdf[4]] = -np.inf
    result = Searcher(graph, model.id2pdf, **WIDE).search(loglikes)
    assert free.words == [7]
    assert result.words == [8]
    loglikes[3] = -np.inf
    with pytest.raises(NoPathError, match="every path was pruned"):
        Searcher(graph, model.id2pdf, **WIDE).search(loglikes)


def test_a_partial_path_only_where_it_is_allowed(model):
    two_phones = FstArrays.from_kaldifst(kaldifst.compile("0 1 2 7\n1 2 4 0\n2\n", acceptor=False))
    loglikes = np.zeros((1, 3), dtype=np.float32)
    result = Searcher(two_phones, model.id2pdf).search(loglikes)
    assert result.alignment.tolist() == [2]
    assert not result.reached_final
    with pytest.raises(NoPathError, match="no path reached a final state"):
        Searcher(two_phones, model.id2pdf, allow_partial=False).search(loglikes)


def test_another_model_is_an_error(graph, model):
    with pytest.raises(DktError, match=r"shape \(5, 4\), expected 3 columns"):
        Searcher(graph, model.id2pdf).search(np.zeros((5, 4), dtype=np.float32))
    with pytest.raises(DktError, match="input label 6, but the model only 4"):
        Searcher(graph, model.id2pdf[:5])
    with pytest.raises(DktError, match="no frames"):
        Searcher(graph, model.id2pdf).search(np.zeros((0, 3), dtype=np.float32))


@pytest.mark.parametrize(
    "setting",
    [{"beam": 0.0}, {"max_active": 1}, {"min_active": 7000}, {"acoustic_scale": 0.0}, {"beam": np.nan}],
)
def test_impossible_settings_are_an_error(graph, model, setting):
    with pytest.raises(DktError, match="expected"):
        Searcher(graph, model.id2pdf, **setting)


@pytest.fixture
def files(graph, model, tmp_path):
    """The files of a decoding: final.mdl, graph/HCLG.fst, words.txt, loglikes.ark."""
    writer = ObjectWriter()
    write_transition_model(writer, model)
    writer.save(tmp_path / "final.mdl")
    (tmp_path / "graph").mkdir()
    graph.save(tmp_path / "graph/HCLG.fst")
    (tmp_path / "words.txt").write_text("<eps> 0\nLONG 7\nSHORT 8\n")
    rng = np.random.default_rng(6)
    with MatrixWriter(f"ark:{tmp_path}/loglikes.ark") as table:
        for utt, frames in (("u1", 30), ("u2", 45), ("u3", 3)):
            table.write(utt, rng.normal(0, 5, (frames, 3)).astype(np.float32))
    return tmp_path


def decode(files, *options: str, words: str = "ark,t:words.out") -> int:
    names = [str(files / "final.mdl"), str(files / "graph/HCLG.fst"), f"ark:{files}/loglikes.ark"]
    kind, name = words.split(":")
    return main(["decode-faster-mapped", *options, *names, f"{kind}:{files / name}", f"ark:{files}/ali"])


def test_decode_faster_mapped_writes_words_and_alignments(files, model, graph, caplog):
    caplog.set_level("INFO")
    assert decode(files, f"--word-symbol-table={files}/words.txt") == 0
    words = dict(line.split(maxsplit=1) for line in (files / "words.out").read_text().splitlines())
    alignments = dict(read_int_vectors(f"ark:{files}/ali"))
    assert list(words) == list(alignments) == ["u1", "u2", "u3"]
    assert {utt: len(ali) for utt, ali in alignments.items()} == {"u1": 30, "u2": 45, "u3": 3}
    assert set("".join(words.values()).split()) <= {"7", "8"}
    assert "Done 3 utterances, failed for 0" in caplog.text
    assert "over 78 frames." in caplog.text
    names = words["u1"].replace("7", "LONG").replace("8", "SHORT").strip()
    assert f"u1 {names}" in caplog.text
    text = decode(files, f"--word-symbol-table={files}/words.txt", "--words-as-text=true", words="ark:text")
    assert text == 0
    assert (files / "text").read_text().splitlines()[0] == f"u1 {names}"


def test_utterances_without_a_path_are_counted(files, capsys, caplog):
    with MatrixWriter(f"ark:{files}/loglikes.ark") as table:
        table.write("good", np.zeros((9, 3), dtype=np.float32))
        table.write("lost", np.full((9, 3), -np.inf, dtype=np.float32))
        table.write("none", np.zeros((0, 3), dtype=np.float32))
    assert decode(files) == 1
    assert "2 of 3 utterances were dropped" in capsys.readouterr().err
    assert decode(files, "--max-dropped=0.7") == 0
    assert [line.split()[0] for line in (files / "words.out").read_text().splitlines()] == ["good"]


def test_scores_of_another_model_name_file_and_utterance(files, capsys):
    with MatrixWriter(f"ark:{files}/loglikes.ark") as table:
        table.write("u9", np.zeros((9, 5), dtype=np.float32))
    assert decode(files) == 1
    error = capsys.readouterr().err
    assert "loglikes.ark: utterance 'u9': log-likelihoods of shape (9, 5), expected 3 columns" in error
    assert "Traceback" not in error


def test_words_as_text_needs_a_table_and_the_right_one(files, capsys):
    assert decode(files, "--words-as-text=true") == 1
    assert "needs --word-symbol-table" in capsys.readouterr().err
    (files / "words.txt").write_text("<eps> 0\nLONG 3\n")
    assert decode(files, f"--word-symbol-table={files}/words.txt") == 1
    assert "use the words.txt of the graph" in capsys.readouterr().err


def scan(files, *options: str) -> int:
    names = [
        files / "final.mdl",
        files / "graph",
        files / "words.txt",
        f"ark:{files}/loglikes.ark",
        files / "scan",
    ]
    return main(["decode-scan", *options, *map(str, names)])


def test_each_point_of_a_scan_is_a_decoding(files):
    assert scan(files, "--lmwts=2 10", "--word-ins-penalties=0.0 1.5", "--beam=15") == 0
    names = sorted(path.name for path in (files / "scan").iterdir())
    assert names == ["10_0.0.txt", "10_1.5.txt", "2_0.0.txt", "2_1.5.txt"]
    for lmwt, penalty in (("2", "1.5"), ("10", "0.0")):
        options = [f"--acoustic-scale={1 / float(lmwt)}", f"--word-ins-penalty={penalty}", "--beam=15"]
        options += ["--max-active=7000", "--min-active=200", "--words-as-text=true"]
        assert decode(files, *options, f"--word-symbol-table={files}/words.txt", words="ark:one") == 0
        assert (files / "one").read_text() == (files / "scan" / f"{lmwt}_{penalty}.txt").read_text()
    assert (files / "scan/2_0.0.txt").read_text() != (files / "scan/10_1.5.txt").read_text()


def test_an_utterance_without_a_path_is_an_empty_line_of_a_scan(files):
    with MatrixWriter(f"ark:{files}/loglikes.ark") as table:
        table.write("lost", np.full((9, 3), -np.inf, dtype=np.float32))
        table.write("good", np.zeros((9, 3), dtype=np.float32))
    assert scan(files, "--lmwts=10", "--word-ins-penalties=0.0", "--max-dropped=0.5") == 0
    assert (files / "scan/10_0.0.txt").read_text().splitlines() == ["lost", "good LONG"]
    assert scan(files, "--lmwts=10", "--word-ins-penalties=0.0") == 1


@pytest.mark.parametrize("text", ["", "7 x", "7 7.0", "1e1", "nan", "10 0"])
def test_impossible_points_are_an_error(files, capsys, text):
    with pytest.raises(SystemExit):
        scan(files, f"--lmwts={text}")
    assert "argument --lmwts: " in capsys.readouterr().err
