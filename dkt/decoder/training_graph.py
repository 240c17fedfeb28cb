"""Training graphs: all HMM paths of one transcript (Kaldi's ``compile-train-graphs``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import kaldifst
import numpy as np

from dkt.base.errors import DktError
from dkt.fstext.fst import FstArrays, load_fst
from dkt.hmm.hmm_utils import HmmTransducerBuilder, add_self_loops
from dkt.hmm.transition_model import TransitionModel
from dkt.hmm.tree import ContextDependency
from dkt.util.symbols import read_symbol_table
from dkt.util.text import fields, natural, read_lines

_MIN_STATE_LIMIT = 1_000_000
_STATE_GROWTH_LIMIT = 20


class TrainingGraphCompiler:
    """Compiles the graph of a transcript: words to phones by the lexicon, to transition-ids by tree and HMMs.

    Args:
        tree: the decision tree.
        transitions: the transition model of the same system.
        lang_dir: the lang directory; ``L.fst``, ``words.txt`` and ``phones/disambig.int`` are read.

    Raises:
        DktError: a file of the lang directory is missing or broken.
    """

    def __init__(self, tree: ContextDependency, transitions: TransitionModel, lang_dir: str | Path) -> None:
        self.tree = tree
        self.transitions = transitions
        self.lang_dir = Path(lang_dir)
        lexicon = load_fst(self.lang_dir / "L.fst")
        self._words = {index: word for word, index in read_symbol_table(self.lang_dir / "words.txt").items()}
        self._spoken = set(np.unique(lexicon.arcs["olabel"]).tolist()) - {0}
        self._disambig = read_disambig(self.lang_dir)
        self._lexicon = lexicon.to_kaldifst()
        kaldifst.arcsort(self._lexicon, "olabel")
        # No probabilities here: they change with every pass, and the aligner adds those of its model.
        self._hmms = HmmTransducerBuilder(tree, transitions, transition_scale=0.0)

    def compile(self, word_ids: Sequence[int]) -> FstArrays:
        """The graph of a transcript, without transition probabilities (``CompileGraphFromText``).

        Args:
            word_ids: the transcript as integers of ``words.txt``; an empty one is the optional silence.

        Returns:
            transition-ids on the input, words on the output; pronunciation costs as in ``L.fst``.

        Raises:
            DktError: a word has no pronunciation.
        """
        for word in word_ids:
            if word not in self._spoken:
                name = self._words.get(word)
                raise DktError(
                    f"word {word} is not in words.txt"
                    if name is None
                    else f"word '{name}' has no pronunciation",
                    path=self.lang_dir / "L.fst",
                )
        transcript = kaldifst.make_linear_acceptor(list(word_ids))
        phones_to_words = kaldifst.compose(self._lexicon, transcript)
        if phones_to_words.start < 0 and not len(word_ids):
            phones_to_words = transcript  # silence is not optional here: a graph of nothing
        if phones_to_words.start < 0:
            raise DktError("the lexicon has no path for the transcript", path=self.lang_dir / "L.fst")
        graph, _ = context_to_transition_ids(phones_to_words, self._disambig, self._hmms)
        return add_self_loops(graph, self.transitions, self_loop_scale=0.0)


def read_disambig(lang_dir: str | Path) -> list[int]:
    """The disambiguation symbols among the phones, ascending: ``phones/disambig.int``.

    Raises:
        DktError: the file is missing or holds no integers.
    """
    path = Path(lang_dir) / "phones" / "disambig.int"
    symbols = {natural(word) for word in fields(" ".join(read_lines(path)))}
    if None in symbols:
        raise DktError("expected one integer per line", path=path)
    return sorted(symbol for symbol in symbols if symbol is not None)


def context_to_transition_ids(
    phones_to_words: kaldifst.StdVectorFst, disambig: list[int], hmms: HmmTransducerBuilder
) -> tuple[FstArrays, list[int]]:
    """H∘C∘LG from LG, determinised and minimised, without disambiguation symbols and without self-loops.

    Args:
        phones_to_words: LG.
        disambig: the disambiguation symbols among the phones.
        hmms: the builder of H.

    Returns:
        The graph, and the input labels that stood for disambiguation symbols in H.

    Raises:
        DktError: LG and the model do not fit together, or the graph cannot be determinised.
    """
    tree = hmms.tree
    clg, ilabel_info = kaldifst.compose_context(
        disambig, tree.context_width, tree.central_position, phones_to_words
    )
    kaldifst.arcsort(clg, "ilabel")
    h, disambig_ids = hmms.build(ilabel_info)
    graph = kaldifst.compose(h.to_kaldifst(), clg)
    if graph.start < 0:
        raise DktError("no path is left in the graph: lexicon, grammar and model do not fit together")
    determinize_star(graph, "H∘C∘LG")
    if disambig_ids:
        table = np.arange(disambig_ids[-1] + 1)
        table[disambig_ids] = 0
        graph = FstArrays.from_kaldifst(graph).with_ilabels_mapped(table).to_kaldifst()
    kaldifst.minimize_encoded(graph)
    return FstArrays.from_kaldifst(graph), disambig_ids


def determinize_star(fst: kaldifst.StdVectorFst, what: str) -> None:
    """Remove epsilons and determinise in the log semiring, in place (``fstdeterminizestar --use-log=true``).

    Raises:
        DktError: it cannot be determinised.
    """
    # Without a limit, what cannot be determinised grows until the memory is full.
    limit = _MIN_STATE_LIMIT + _STATE_GROWTH_LIMIT * fst.num_states
    try:
        kaldifst.determinize_star(fst, max_states=limit, use_log=True)
    except RuntimeError as error:
        raise DktError(
            f"{what} cannot be determinised: {str(error).rpartition('[E] ')[2]}",
            hint="words of one pronunciation need disambiguation symbols in L_disambig.fst",
        ) from None


def transition_costs(
    transitions: TransitionModel, transition_scale: float, self_loop_scale: float
) -> np.ndarray:
    """The cost of every transition-id, shape ``(num_transition_ids + 1,)`` (``GetScaledTransitionLogProb``).

    Self-loops and the leaving of a state are scaled by ``self_loop_scale``, the choice among the arcs that
    leave it by ``transition_scale``.
    """
    _, rest = transitions.self_loop_log_probs()
    leaving = rest[transitions.id2state]
    forward = self_loop_scale * leaving + transition_scale * (transitions.log_probs - leaving)
    costs = -np.where(transitions.is_self_loop, self_loop_scale * transitions.log_probs, forward)
    costs[0] = 0.0
    return costs.astype(np.float32)
