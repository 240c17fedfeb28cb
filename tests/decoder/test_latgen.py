"""``dkt latgen`` against Kaldi's own ``latgen-faster-mapped`` on a real graph, and as a command."""

from __future__ import annotations

import gzip
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dkt.bin import main
from dkt.fstext.fst import load_fst
from dkt.hmm.transition_model import load_transition_model
from dkt.lat.io import read_compact_lattices
from dkt.lat.lattice import CompactLattice
from dkt.lat.oracle import oracle_path
from dkt.lat.paths import CostScale, best_path, best_paths
from dkt.util.symbols import read_symbol_table
from dkt.util.table import MatrixWriter, read_int_vectors, read_matrices
from tests.decoder.test_graph import golden_search
from tests.kernels import WAYS, computed_by
from tests.lattices import read_state_level_lattices

SETTINGS = "--beam=13 --lattice-beam=8 --max-active=7000 --min-active=200 --acoustic-scale=0.1"


@dataclass
class Run:
    """What the command left of Kaldi's 20 utterances, and where Kaldi's own results are."""

    fixtures: Path
    golden: Path
    out: Path
    log: str
    lattices: dict[str, CompactLattice]
    kaldis: dict[str, CompactLattice]


def latgen(fixtures: Path, loglikes: str, *outputs: str, options: str = SETTINGS, graph: str = "") -> int:
    places = [f"{fixtures}/exp/tri2b/final.mdl", graph or f"{fixtures}/exp/tri2b/graph/HCLG.fst"]
    return main(["latgen", *options.split(), *places, loglikes, *outputs])


@pytest.fixture(scope="module", params=WAYS)
def run(
    kaldi_fixtures: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Run:
    out, golden = tmp_path_factory.mktemp("latgen"), kaldi_fixtures / "golden/nnet1"
    root, handler = logging.getLogger(), logging.FileHandler(out / "log")
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    with computed_by(request.param):
        status = latgen(
            kaldi_fixtures,
            f"ark:{golden}/loglikes_20.ark",
            f"ark:|gzip -c >{out}/lat.gz",
            f"ark,t:{out}/words",
            f"ark,t:{out}/ali",
            options=f"{SETTINGS} --word-symbol-table={kaldi_fixtures}/lang/words.txt",
        )
    root.setLevel(level)
    root.removeHandler(handler)
    assert status == 0
    lattices = [
        dict(read_compact_lattices(f"ark:gunzip -c {f}|")) for f in (out / "lat.gz", golden / "lat_20.gz")
    ]
    return Run(kaldi_fixtures, golden, out, (out / "log").read_text(), *lattices)


def test_words_and_alignments_are_kaldis_byte_for_byte(run: Run) -> None:
    for mine, kaldis in (("words", "search_words_20"), ("ali", "search_ali_20")):
        assert (run.out / mine).read_bytes() == gzip.decompress(
            (run.golden / f"{kaldis}.txt.gz").read_bytes()
        )


def test_best_paths_cost_what_they_cost_with_kaldi(run: Run) -> None:
    assert list(run.lattices) == list(run.kaldis)
    scale = CostScale(acoustic_scale=0.1)
    for utt, lattice in run.lattices.items():
        mine, kaldis = best_path(lattice, scale), best_path(run.kaldis[utt], scale)
        assert mine.graph_cost == pytest.approx(kaldis.graph_cost, abs=0.01), utt
        assert mine.acoustic_cost == pytest.approx(kaldis.acoustic_cost, abs=0.01), utt


def test_best_paths_at_other_weights_are_those_of_kaldis_lattices(run: Run) -> None:
    lmwts = range(4, 18)
    scales = [
        CostScale(acoustic_scale=1.0 / lmwt, word_ins_penalty=wip) for lmwt in lmwts for wip in (0.0, 0.5)
    ]
    differ = [
        (utt, scale)
        for utt, lattice in run.lattices.items()
        for scale, mine, kaldis in zip(
            scales, best_paths(lattice, scales), best_paths(run.kaldis[utt], scales), strict=True
        )
        if mine.words != kaldis.words
    ]
    # Far from the scale of the search the best path may lie outside the beam of one of the two.
    assert len(differ) <= 2, differ


def test_lattices_are_as_large_and_as_good_as_kaldis(run: Run) -> None:
    def arcs(lattices: dict[str, CompactLattice]) -> int:
        return sum(lattice.num_arcs for lattice in lattices.values())

    assert 0.5 < arcs(run.lattices) / arcs(run.kaldis) < 2.0
    numbers = read_symbol_table(run.fixtures / "lang/words.txt")
    texts = (line.split() for line in (run.fixtures / "data/test/text").read_text().splitlines())
    references = {utt: [numbers.get(w, -1) for w in words] for utt, *words in texts if utt in run.lattices}

    def errors(lattices: dict[str, CompactLattice]) -> int:
        return sum(oracle_path(lattice, references[utt]).num_errors for utt, lattice in lattices.items())

    assert 100.0 * abs(errors(run.lattices) - errors(run.kaldis)) <= 0.5 * sum(map(len, references.values()))


def test_every_arc_costs_what_its_frames_score(run: Run) -> None:
    """The transition-ids and the costs of an arc are those of one path, wherever determinisation put them."""
    id2pdf = load_transition_model(run.fixtures / "exp/tri2b/final.mdl").id2pdf
    loglikes = dict(read_matrices(f"ark:{run.golden}/loglikes_20.ark"))
    rng = np.random.default_rng(0)
    for utt, lattice in run.lattices.items():
        for _ in range(5):
            tids, acoustic = random_path(lattice, rng)
            assert len(tids) == len(loglikes[utt])
            scores = loglikes[utt][np.arange(len(tids)), id2pdf[tids]]
            assert acoustic == pytest.approx(-float(scores.astype(float).sum()), rel=1e-4, abs=0.1)


def random_path(lattice: CompactLattice, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """The transition-ids and the acoustic cost of a path, at every state one arc of those that leave it."""
    state, strings, acoustic = lattice.start, [], 0.0
    while True:
        begin, end = lattice.offsets[state], lattice.offsets[state + 1]
        if end == begin or (np.isfinite(lattice.final_graph[state]) and rng.random() < 0.5):
            strings.append(lattice.final_strings[state])
            return np.concatenate(strings), acoustic + float(lattice.final_acoustic[state])
        arc = int(rng.integers(begin, end))
        strings.append(lattice.strings[arc])
        acoustic += float(lattice.acoustic_costs[arc])
        state = int(lattice.nextstates[arc])


def test_the_log_is_kaldis(run: Run) -> None:
    lines = (run.golden / "search_20.log").read_text().splitlines()
    expected = [
        line.partition("): ")[2] or line.partition(") ")[2] for line in lines if "Log-like per frame" in line
    ]
    found = [line for line in run.log.splitlines() if line.startswith("Log-like per frame")]
    assert [line[:60] for line in found] == [line[line.index("Log-like") :][:60] for line in expected]
    assert "1061-010610015 LILLY CAN SEE THAT HAPPY" in run.log
    assert "Done 20 utterances, failed for 0" in run.log
    assert "Overall log-likelihood per frame is 1.49245 over 6966 frames." in run.log


@pytest.fixture(scope="module")
def shortest(kaldi_fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The shortest utterance and an archive of it."""
    [(utt, loglikes, *_)] = golden_search(kaldi_fixtures, 1)
    path = tmp_path_factory.mktemp("shortest") / "loglikes.ark"
    with MatrixWriter(f"ark:{path}") as writer:
        writer.write(utt, loglikes)
    return utt, path


def test_a_graph_of_type_vector_gives_the_same_lattices(
    run: Run, shortest: tuple[str, Path], tmp_path: Path
) -> None:
    utt, loglikes = shortest
    load_fst(run.fixtures / "exp/tri2b/graph/HCLG.fst").save(tmp_path / "HCLG.fst", "vector")
    graph = str(tmp_path / "HCLG.fst")
    assert latgen(run.fixtures, f"ark:{loglikes}", f"ark,t:{tmp_path}/lat", graph=graph) == 0
    [(_, found)] = read_compact_lattices(f"ark:{tmp_path}/lat")
    assert found.labels.tolist() == run.lattices[utt].labels.tolist()
    np.testing.assert_allclose(found.graph_costs, run.lattices[utt].graph_costs, rtol=1e-4, atol=1e-4)


def test_state_level_lattices_are_marked_so(run: Run, shortest: tuple[str, Path], tmp_path: Path) -> None:
    utt, loglikes = shortest
    options = f"{SETTINGS} --determinize-lattice=false"
    assert latgen(run.fixtures, f"ark:{loglikes}", f"ark:{tmp_path}/lat", options=options) == 0
    head = (tmp_path / "lat").read_bytes()[:80]
    assert b"lattice4" in head and b"compactlattice4" not in head
    [(_, state_level)] = read_state_level_lattices(f"ark:{tmp_path}/lat")
    assert state_level.num_arcs > 10 * run.lattices[utt].num_arcs
    [(_, found)] = read_compact_lattices(f"ark:{tmp_path}/lat")
    scale = CostScale(acoustic_scale=0.1)
    assert best_path(found, scale).words == best_path(run.lattices[utt], scale).words


@pytest.mark.parametrize("threads", ["", " --num-threads=3"])
def test_utterances_that_fail_are_counted(
    kaldi_fixtures: Path,
    shortest: tuple[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    threads: str,
) -> None:
    settings = SETTINGS + threads
    [(_, loglikes)] = read_matrices(f"ark:{shortest[1]}")
    with MatrixWriter(f"ark:{tmp_path}/in") as writer:
        writer.write("empty", loglikes[:0])
        writer.write("good", loglikes[:40])
        writer.write("short", loglikes[:2])
    outputs = f"ark:{tmp_path}/in", f"ark:{tmp_path}/lat", f"ark:{tmp_path}/words"
    assert latgen(kaldi_fixtures, *outputs, options=f"{settings} --allow-partial") == 1
    assert "empty" in capsys.readouterr().err
    assert latgen(kaldi_fixtures, *outputs, options=f"{settings} --allow-partial --max-dropped=0.5") == 0
    assert [key for key, _ in read_int_vectors(outputs[2])] == ["good", "short"]
    assert [key for key, _ in read_compact_lattices(outputs[1])] == ["good", "short"]
    # Two frames are no word: without --allow-partial there is nothing to write.
    assert latgen(kaldi_fixtures, *outputs, options=f"{settings} --max-dropped=0.9") == 0
    assert "short" not in [key for key, _ in read_compact_lattices(outputs[1])]


@pytest.mark.parametrize("threads", ["", " --num-threads=3"])
def test_bad_scores_name_file_and_utterance_and_keep_what_was_written(
    kaldi_fixtures: Path,
    shortest: tuple[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    threads: str,
) -> None:
    [(_, loglikes)] = read_matrices(f"ark:{shortest[1]}")
    with MatrixWriter(f"ark:{tmp_path}/in") as writer:
        writer.write("good", loglikes[:40])
        writer.write("bad", np.where(np.arange(40)[:, None] == 20, np.nan, loglikes[:40]))
        writer.write("after", loglikes[:40])
    options = f"{SETTINGS} --allow-partial{threads}"
    assert latgen(kaldi_fixtures, f"ark:{tmp_path}/in", f"ark:{tmp_path}/lat", options=options) == 1
    assert f"{tmp_path}/in: utterance 'bad': a log-likelihood is NaN" in capsys.readouterr().err
    assert [key for key, _ in read_compact_lattices(f"ark:{tmp_path}/lat")] == ["good"]


def test_threads_change_no_byte(
    kaldi_fixtures: Path,
    shortest: tuple[str, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    either_way: str,
) -> None:
    """Of utterances of different lengths, which threads end in another order, one of them too short."""
    [(_, loglikes)] = read_matrices(f"ark:{shortest[1]}")
    lengths = {"a": 120, "b": 10, "c": 60, "d": 1, "e": 15, "f": 90, "g": 12}
    with MatrixWriter(f"ark:{tmp_path}/in") as writer:
        for utt, length in lengths.items():
            writer.write(utt, loglikes[:length])
    made = []
    caplog.set_level(logging.INFO)
    for number in (1, 3, 20):
        caplog.clear()
        names = [f"{name}{number}" for name in ("lat", "words", "ali")]
        options = f"{SETTINGS} --allow-partial --num-threads={number}"
        outputs = [f"ark:{tmp_path}/{name}" for name in names]
        assert latgen(kaldi_fixtures, f"ark:{tmp_path}/in", *outputs, options=options) == 0
        per_utt = [line for line in caplog.messages if "for utterance" in line or "did not reach" in line]
        made.append((per_utt, *((tmp_path / name).read_bytes() for name in names)))
        assert (f"Decoded with {number} threads." in caplog.text) == (number > 1)
        factor = "real-time factor per thread assuming" if number > 1 else "real-time factor assuming"
        assert factor in caplog.text
    assert made[0] == made[1] == made[2]
    assert [key for key, _ in read_int_vectors(f"ark:{tmp_path}/words3")] == list(lengths)


def test_a_table_of_graphs_is_refused(
    kaldi_fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert latgen(kaldi_fixtures, "ark:-", f"ark:{tmp_path}/lat", graph="ark:graphs.fsts") == 1
    assert "ark:graphs.fsts: a table of graphs, one per utterance, is not read" in capsys.readouterr().err


def test_options_of_kaldi_without_meaning_are_taken_and_told(
    kaldi_fixtures: Path, shortest: tuple[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = f"{SETTINGS} --minimize --phone-determinize=false --allow-partial"
    assert latgen(kaldi_fixtures, f"ark:{shortest[1]}", f"ark:{tmp_path}/lat", options=options) == 0
    assert "--minimize is Kaldi's and without effect here" in caplog.text
    assert [utt for utt, _ in read_compact_lattices(f"ark:{tmp_path}/lat")] == [shortest[0]]
