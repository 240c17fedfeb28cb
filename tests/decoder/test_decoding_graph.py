"""Graphs that are those of a model, and what users give in their place."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import replace
from pathlib import Path

import kaldifst
import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.decoder.decoding_graph import check_decoding_graph, load_graph
from dkt.decoder.mkgraph import compile_lg, make_graph
from dkt.decoder.training_graph import context_to_transition_ids
from dkt.fstext.fst import ARC, FstArrays, load_fst
from dkt.hmm.hmm_utils import HmmTransducerBuilder
from dkt.hmm.topology import HmmState, HmmTopology
from dkt.hmm.transition_model import TransitionModel, load_transition_model, write_transition_model
from dkt.hmm.tree import ContextDependency, monophone_transition_model, monophone_tree
from dkt.util.object_io import ObjectWriter
from dkt.util.table import MatrixWriter
from tests.tiny_lang import WORDS, tiny_topology, write_tiny_lang

System = tuple[ContextDependency, TransitionModel]


def one_state(loop_first: bool, forward: int = 0, loop: int = 0) -> HmmTopology:
    arcs = [(0, 0.5), (1, 0.5)]
    return HmmTopology(
        [[HmmState(forward, loop, arcs if loop_first else arcs[::-1]), HmmState()]],
        dict.fromkeys((1, 2, 3, 4), 0),
    )


def with_a_skip() -> HmmTopology:
    """Three states of which the second may be left out, and the first entered again."""
    states = [
        HmmState(0, 0, [(0, 0.5), (1, 0.25), (2, 0.25)]),
        HmmState(1, 1, [(1, 0.5), (0, 0.25), (2, 0.25)]),
        HmmState(2, 2, [(2, 0.5), (3, 0.5)]),
        HmmState(),
    ]
    return HmmTopology([states], dict.fromkeys((1, 2, 3, 4), 0))


TOPOLOGIES = {
    "three and five states": tiny_topology(),
    "one state": one_state(True),
    "one state, way out first": one_state(False),
    "chain": one_state(True, 0, 1),
    "skips and returns": with_a_skip(),
}


@pytest.fixture
def lang(tmp_path: Path) -> Path:
    write_tiny_lang(tmp_path / "lang")
    return tmp_path / "lang"


def system(topology: HmmTopology) -> System:
    tree = monophone_tree([[1], [2], [3], [4]], topology)
    if topology.is_hmm():
        return tree, monophone_transition_model(tree, topology)
    tuples = [(phone, 0, tree.pdf([phone], 0), tree.pdf([phone], 1)) for phone in (1, 2, 3, 4)]
    return tree, TransitionModel(topology, tuples)


def without_loops(lang: Path, made_of: System) -> FstArrays:
    hmms = HmmTransducerBuilder(*made_of)
    return context_to_transition_ids(compile_lg(lang).to_kaldifst(), [5, 6, 7], hmms)[0]


def changed_by(change: object, graph: FstArrays) -> FstArrays:
    fst = graph.to_kaldifst()
    change(fst)  # type: ignore[operator]
    return FstArrays.from_kaldifst(fst)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_graph_that_was_made_of_a_model_passes(lang: Path, tmp_path: Path, name: str) -> None:
    tree, model = system(TOPOLOGIES[name])
    graph = make_graph(lang, tree, model, tmp_path / "graph")
    words = range(1, len(WORDS))
    for fst_type in ("const", "vector"):
        graph.save(tmp_path / "HCLG.fst", fst_type)
        assert load_graph(tmp_path / "HCLG.fst", model, words).num_arcs == graph.num_arcs
    for change in (kaldifst.rmepsilon, kaldifst.minimize_encoded, kaldifst.connect):
        check_decoding_graph(changed_by(change, graph), model)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_what_is_on_the_way_to_a_graph_is_refused(lang: Path, name: str) -> None:
    made_of = system(TOPOLOGIES[name])
    # L and G as they are: with few enough labels that each is a transition-id of some larger model.
    for file in ("L.fst", "L_disambig.fst", "G.fst"):
        with pytest.raises(DktError, match=r"give the HCLG\.fst|add-self-loops"):
            check_decoding_graph(load_fst(lang / file), made_of[1])
    with pytest.raises(DktError, match=r"not an HCLG|HCLGa"):
        check_decoding_graph(compile_lg(lang), made_of[1])
    with pytest.raises(DktError, match=r"no self-loops: it is the HCLGa\.fst"):
        check_decoding_graph(without_loops(lang, made_of), made_of[1])


def test_graphs_of_other_models_are_refused(lang: Path, tmp_path: Path) -> None:
    systems = {name: system(topology) for name, topology in TOPOLOGIES.items()}
    graphs = {name: make_graph(lang, *made_of, tmp_path / name) for name, made_of in systems.items()}
    for mine, (_, model) in systems.items():
        for other, graph in graphs.items():
            # Of one state each, with the self-loop first: the same transition-ids.
            if {mine, other} <= {mine} or {mine, other} == {"one state", "chain"}:
                continue
            with pytest.raises(DktError):
                check_decoding_graph(graph, model)
    larger, smaller = systems["three and five states"][1], systems["one state"][1]
    with pytest.raises(DktError, match=f"input label .* only {smaller.num_transition_ids} transition-ids"):
        check_decoding_graph(graphs["three and five states"], smaller)
    with pytest.raises(DktError, match="is not an HCLG of this model"):
        check_decoding_graph(graphs["one state"], larger)


def test_self_loops_before_the_way_on_pass_too(lang: Path) -> None:
    """As ``add-self-loops --reorder=false`` leaves them: at the state that the way on leaves."""
    model = system(TOPOLOGIES["three and five states"])[1]
    forward = [int(i) for i in np.flatnonzero(model.id2phone == 2) if not model.is_self_loop[i]]
    arcs = np.zeros(6, dtype=ARC)
    arcs["ilabel"] = [label for tid in forward for label in (tid - 1, tid)]
    arcs["nextstate"] = [0, 1, 1, 2, 2, 3]
    final = [np.inf] * 3 + [0.0]
    graph = FstArrays.from_arcs(0, final, [0, 0, 1, 1, 2, 2], arcs)
    check_decoding_graph(graph, model)
    with pytest.raises(DktError, match="final state 2 lies within a phone"):
        check_decoding_graph(replace(graph, final=np.array([np.inf, np.inf, 0.0, 0.0])), model)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda g: FstArrays(-1, g.final[:0], g.offsets[:1], g.arcs[:0]), "the graph is empty"),
        (lambda g: replace(g, final=np.full_like(g.final, np.inf)), "has no final state"),
        (lambda g: g.with_arcs(ilabel=0), "it takes no frame"),
        (lambda g: g.with_arcs(ilabel=np.where(g.arcs["ilabel"], g.arcs["ilabel"], 41)), "disambiguation"),
        (
            lambda g: g.with_arcs(olabel=g.arcs["olabel"] * 3),
            "output labels are not in words.txt, the first 9",
        ),
    ],
)
def test_damaged_graphs(lang: Path, tmp_path: Path, spoil: object, message: str) -> None:
    tree, model = system(TOPOLOGIES["one state"])
    graph = make_graph(lang, tree, model, tmp_path / "graph")
    spoil(graph).save(tmp_path / "g.fst")  # type: ignore[operator]
    with pytest.raises(DktError, match=rf"g\.fst: .*{message}"):
        load_graph(tmp_path / "g.fst", model, range(len(WORDS)))


def test_a_long_row_of_arcs_without_a_label_takes_no_time(lang: Path, tmp_path: Path) -> None:
    model = system(TOPOLOGIES["one state"])[1]
    arcs = np.zeros(20_001, dtype=ARC)
    arcs["nextstate"] = [*range(1, 20_001), 20_000]
    arcs["ilabel"][-2:] = [2, 1]
    final = np.full(20_001, np.inf)
    final[-1] = 0.0
    check_decoding_graph(FstArrays.from_arcs(0, final, [*range(20_000), 20_000], arcs), model)


def test_kaldis_graph_passes_and_its_sources_do_not(kaldi_fixtures: Path) -> None:
    model = load_transition_model(kaldi_fixtures / "exp/tri2b/final.mdl")
    graph = load_graph(kaldi_fixtures / "exp/tri2b/graph/HCLG.fst", model)
    assert graph.num_arcs > 100_000
    for name in ("L.fst", "G.fst", "L_disambig.fst"):
        with pytest.raises(DktError, match=f"{name}: the graph is not an HCLG of this model"):
            load_graph(kaldi_fixtures / "lang" / name, model)


@pytest.fixture
def searched(lang: Path, tmp_path: Path) -> Path:
    """A directory with graph, model and log-likelihoods of one utterance."""
    tree, model = system(TOPOLOGIES["one state"])
    make_graph(lang, tree, model, tmp_path / "graph")
    writer = ObjectWriter()
    write_transition_model(writer, model)
    writer.save(tmp_path / "final.mdl")
    with MatrixWriter(f"ark:{tmp_path}/loglikes") as table:
        table.write("u", np.zeros((9, model.num_pdfs), dtype=np.float32))
    return tmp_path


def search(place: Path, command: str, graph: str, model: str = "") -> int:
    model = model or f"{place}/final.mdl"
    if command == "decode-scan":
        return main(
            [command, model, graph, f"{place}/lang/words.txt", f"ark:{place}/loglikes", f"{place}/out"]
        )
    return main([command, model, graph, f"ark:{place}/loglikes", f"ark:{place}/out.ark"])


COMMANDS = ("latgen", "decode-faster-mapped", "decode-scan")


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_that_search_refuse_another_fst(
    searched: Path, capsys: pytest.CaptureFixture, command: str
) -> None:
    assert search(searched, command, f"{searched}/lang/L.fst") == 1
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1 and "lang/L.fst: the graph" in message[0] and "give the HCLG.fst" in message[0]
    assert not (searched / "out").exists() and not (searched / "out.ark").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_graph_and_model_come_from_pipes_and_gzip_files(searched: Path, command: str) -> None:
    place = searched / "graph/HCLG.fst"
    assert search(searched, command, f"cat {place} |", f"cat {searched}/final.mdl |") == 0
    for path in (place, searched / "final.mdl"):
        with path.open("rb") as source, gzip.open(f"{path}.x", "wb") as target:
            shutil.copyfileobj(source, target)
    assert search(searched, command, f"{place}.x", f"{searched}/final.mdl.x") == 0
    assert search(searched, command, "cat nowhere |") == 1


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        ("G.fst", "L.fst", "G.fst: not a grammar"),
        ("G.fst", "L_disambig.fst", "G.fst: not a grammar"),
        ("G.fst", "graph/HCLG.fst", "G.fst: "),
        ("L_disambig.fst", "G.fst", "L_disambig.fst: not a lexicon"),
        ("L_disambig.fst", "graph/HCLG.fst", "L_disambig.fst: .* input labels are not in phones.txt"),
    ],
)
def test_a_graph_is_made_of_a_lexicon_and_a_grammar_only(
    lang: Path, tmp_path: Path, name: str, other: str, message: str
) -> None:
    made_of = system(TOPOLOGIES["three and five states"])
    make_graph(lang, *made_of, lang / "graph")
    shutil.copyfile(lang / other, tmp_path / "other")
    shutil.copyfile(tmp_path / "other", lang / name)
    with pytest.raises(DktError, match=message):
        make_graph(lang, *made_of, tmp_path / "graph")
