"""The decoding graph HCLG (Kaldi's ``utils/mkgraph.sh``)."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import kaldifst
import numpy as np

from dkt.base.checksums import write_recorded
from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.directory_lock import hold_directory
from dkt.base.errors import DktError
from dkt.base.files import cannot_write, copy_file
from dkt.decoder.training_graph import context_to_transition_ids, determinize_star, read_disambig
from dkt.fstext.fst import FstArrays
from dkt.hmm.hmm_utils import HmmTransducerBuilder, add_self_loops
from dkt.hmm.transition_model import TransitionModel, load_transition_model
from dkt.hmm.tree import ContextDependency, load_tree
from dkt.lang.lang_fsts import load_lexicon_and_grammar
from dkt.util.text import write_lines

logger = logging.getLogger(__name__)

_REQUIRED = (
    "L_disambig.fst",
    "G.fst",
    "phones.txt",
    "words.txt",
    "phones/silence.csl",
    "phones/disambig.int",
)
_COPIED_PHONES = (
    "word_boundary.*",
    "align_lexicon.*",
    "optional_silence.*",
    "disambig.txt",
    "disambig.int",
    "silence.csl",
)
# What the graph was made with, beside the files: a change of it calls for a new graph as well.
_OPTIONS_FILE = "mkgraph_opts"
_MAX_PUSH_ITERATIONS = 200
_PUSH_DELTA = 1.0 / 1024.0


def mkgraph(
    lang_dir: str | Path,
    model_dir: str | Path,
    graph_dir: str | Path,
    transition_scale: float = 1.0,
    self_loop_scale: float = 0.1,
    steal_lock: bool = False,
) -> bool:
    """Make ``graph_dir`` from a lang directory and a model directory unless it is up to date.

    Args:
        lang_dir: the lang directory, with ``L_disambig.fst`` and ``G.fst``.
        model_dir: holds ``tree`` and ``final.mdl``.
        graph_dir: where ``HCLG.fst`` and what a decoder needs beside it are written.
        transition_scale: factor on the log-probabilities of arcs between HMM states.
        self_loop_scale: factor on the log-probabilities of self-loops.
        steal_lock: take the directory from another process.

    Returns:
        Whether a graph was made.

    Raises:
        DktError: a file is missing or broken, or the files are not of one system.
    """
    lang_dir, model_dir, graph_dir = Path(lang_dir), Path(model_dir), Path(graph_dir)
    sources = [*(lang_dir / name for name in _REQUIRED), model_dir / "tree", model_dir / "final.mdl"]
    for source in sources:
        if not source.is_file():
            raise DktError("no such file, but a graph needs it", path=source)
    if _is_up_to_date(graph_dir, sources, _options(transition_scale, self_loop_scale)):
        logger.info("%s is up to date", graph_dir / "HCLG.fst")
        return False
    if (model_dir / "frame_subsampling_factor").exists() and self_loop_scale == 0.1:
        logger.warning("%s is a chain model, which needs --self-loop-scale=1.0", model_dir)
    refuse_other_kinds(graph_dir, Kind.GRAPH)
    tree, transitions = load_tree(model_dir / "tree"), load_transition_model(model_dir / "final.mdl")
    with hold_directory(graph_dir, "dkt mkgraph", steal_lock):
        make_graph(lang_dir, tree, transitions, graph_dir, transition_scale, self_loop_scale)
    return True


def _options(transition_scale: float, self_loop_scale: float) -> str:
    return f"--transition-scale={transition_scale:g} --self-loop-scale={self_loop_scale:g}"


def _is_up_to_date(graph_dir: Path, sources: list[Path], options: str) -> bool:
    graph, recorded = graph_dir / "HCLG.fst", graph_dir / _OPTIONS_FILE
    if not graph.is_file():
        return False
    if recorded.is_file() and recorded.read_text().strip() != options:
        return False
    made = graph.stat().st_mtime_ns
    return all(source.stat().st_mtime_ns <= made for source in sources)


def make_graph(
    lang_dir: str | Path,
    tree: ContextDependency,
    transitions: TransitionModel,
    out_dir: str | Path,
    transition_scale: float = 1.0,
    self_loop_scale: float = 0.1,
) -> FstArrays:
    """Make the decoding graph of a model and write it with what decoding and scoring need beside it.

    Written are ``HCLG.fst`` (type const), ``words.txt``, ``phones.txt``, ``num_pdfs``, ``disambig_tid.int``
    and the files of ``phones/`` that ``mkgraph.sh`` copies. The graph comes after what
    decoding needs: where it stands, the rest does too.

    Args:
        lang_dir: the lang directory, with ``L_disambig.fst`` and ``G.fst``.
        tree: the decision tree.
        transitions: the transition model of the same system.
        out_dir: where to.
        transition_scale: factor on the log-probabilities of arcs between HMM states.
        self_loop_scale: factor on the log-probabilities of self-loops.

    Returns:
        HCLG.

    Raises:
        DktError: a file is missing or broken, the files are not of one system, or no path is left.
    """
    lang_dir, out_dir = Path(lang_dir), Path(out_dir)
    if (lang_dir / "phones" / "nonterm_phones_offset.int").exists():
        raise DktError("graphs of grammars with non-terminals are not supported", path=lang_dir)
    disambig = read_disambig(lang_dir)
    lg = compile_lg(lang_dir)
    hmms = HmmTransducerBuilder(tree, transitions, transition_scale)
    without_loops, disambig_ids = context_to_transition_ids(lg.to_kaldifst(), disambig, hmms)
    _log_size("HCLG without self-loops", without_loops)
    graph = add_self_loops(without_loops, transitions, self_loop_scale)
    _log_size("HCLG", graph)
    _copy_tables(lang_dir, out_dir)
    write_lines(out_dir / "num_pdfs", [str(transitions.num_pdfs)])
    write_lines(out_dir / "disambig_tid.int", [str(label) for label in disambig_ids])
    write_recorded(out_dir / "HCLG.fst", graph.to_bytes("const"))
    # After the graph: were it before, a crash between would pass an old graph off as one of these options.
    write_lines(out_dir / _OPTIONS_FILE, [_options(transition_scale, self_loop_scale)])
    return graph


def compile_lg(lang_dir: str | Path) -> FstArrays:
    """LG of a lang directory: lexicon and grammar composed, determinised, minimised, pushed; sorted on input.

    Raises:
        DktError: as ``load_lexicon_and_grammar``, or ``L_disambig.fst`` and ``G.fst`` have no path in common.
    """
    lang_dir = Path(lang_dir)
    lexicon, grammar = (fst.to_kaldifst() for fst in load_lexicon_and_grammar(lang_dir))
    kaldifst.arcsort(lexicon, "olabel")
    kaldifst.arcsort(grammar, "ilabel")
    lg = kaldifst.compose(lexicon, grammar)
    if lg.start < 0:
        raise DktError(
            "no word sequence of G.fst can be made of the words of L_disambig.fst",
            path=lang_dir,
            hint="make both from one words.txt",
        )
    determinize_star(lg, "L∘G")
    kaldifst.minimize_encoded(lg)
    pushed = push_special(FstArrays.from_kaldifst(lg)).to_kaldifst()
    kaldifst.arcsort(pushed, "ilabel")
    arrays = FstArrays.from_kaldifst(pushed)
    _log_size("LG", arrays)
    return arrays


def push_special(fst: FstArrays) -> FstArrays:
    """Push weights so that the probabilities out of every state sum to the same number (``push-special.cc``).

    With p(s, t) the probability of the arcs from s to t, a final state counting as an arc to the start, v the
    dominant eigenvector of P is found by power iteration, and p(s, t) becomes p(s, t) v(t) / v(s). The cost
    of every path stays what it was; what is left over is spread evenly, which makes for even pruning
    (Hannemann, Povey, Zweig, "Combining forward and backward search in decoding", ICASSP 2013).

    Args:
        fst: every state must lie on a path from the start to a final state.
    """
    sources, nextstate = fst.sources, fst.arcs["nextstate"]
    prob = np.exp(-fst.arcs["weight"].astype(np.float64))
    final = np.exp(-fst.final.astype(np.float64))
    v = np.full(fst.num_states, fst.num_states**-0.5)
    for iteration in range(_MAX_PUSH_ITERATIONS):
        total = np.bincount(sources, prob * v[nextstate], fst.num_states) + final * v[fst.start]
        if not total.all() or (iteration % 5 == 0 and np.ptp(np.log(total / v)) <= _PUSH_DELTA):
            break
        # The share of v keeps eigenvalues of equal size (a linear FST) from taking turns for ever.
        v = total + 0.1 * v
        v /= np.linalg.norm(v)
    else:
        logger.warning("weight pushing has not converged in %d iterations", _MAX_PUSH_ITERATIONS)
    if not total.all():
        logger.warning("weights are not pushed: the probabilities of the graph are too far apart")
        return fst
    potential = -np.log(v)
    weight = fst.arcs["weight"] + potential[nextstate] - potential[sources]
    pushed_final = fst.final + potential[fst.start] - potential
    return replace(fst.with_arcs(weight=weight), final=pushed_final.astype(np.float32))


def _copy_tables(lang_dir: Path, out_dir: Path) -> None:
    try:
        (out_dir / "phones").mkdir(parents=True, exist_ok=True)
        tables = [lang_dir / "words.txt", lang_dir / "phones.txt"]
        for source in tables:
            copy_file(source, out_dir / source.name)
        for pattern in _COPIED_PHONES:
            for source in sorted((lang_dir / "phones").glob(pattern)):
                copy_file(source, out_dir / "phones" / source.name)
    except OSError as error:
        raise cannot_write(error.filename or out_dir, error) from None


def _log_size(name: str, fst: FstArrays) -> None:
    logger.info("%s: %d states, %d arcs", name, fst.num_states, fst.num_arcs)
