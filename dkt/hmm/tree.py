"""Kaldi's ``tree``: from a phone in context and a pdf class to a pdf (``context-dep.cc``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dkt.base.errors import DktError
from dkt.hmm.event_map import (
    PDF_CLASS_KEY,
    EventMap,
    EventMapReader,
    EventMapWriter,
    answer,
    leaves,
    stub_map,
)
from dkt.hmm.topology import NO_PDF, HmmTopology
from dkt.hmm.transition_model import TransitionModel, initial_tuples
from dkt.util.object_io import ObjectReader


@dataclass(frozen=True)
class ContextDependency:
    """A decision tree over windows of phones.

    Attributes:
        context_width: phones in a window, N: 1 for monophones, 3 for triphones.
        central_position: the place of the phone itself in the window, P, from 0.
        to_pdf: the tree.
        path: the file to name in errors.
    """

    context_width: int
    central_position: int
    to_pdf: EventMap
    path: str | Path | None = None

    @cached_property
    def num_pdfs(self) -> int:
        """The number of pdfs: one more than the largest answer."""
        return 1 + max(leaves(self.to_pdf))

    def pdf(self, phones: Sequence[int], pdf_class: int) -> int:
        """The pdf of a phone in context (``ContextDependency::Compute``).

        Args:
            phones: the window of ``context_width`` phones; 0 where it reaches over an end of the utterance.
            pdf_class: the pdf class of the HMM state.

        Raises:
            DktError: the tree has no answer, so it belongs to other phones or another topology.
        """
        if len(phones) != self.context_width:
            raise DktError(f"a window of {len(phones)} phones, expected {self.context_width}", path=self.path)
        pdf = answer(self.to_pdf, {PDF_CLASS_KEY: pdf_class, **dict(enumerate(phones))})
        if pdf is None:
            raise DktError(
                f"the tree has no answer for phones {list(phones)}, pdf class {pdf_class}",
                path=self.path,
                hint="use the tree, the model and the lang directory of one system",
            )
        return pdf


def load_tree(path: str | Path) -> ContextDependency:
    """Read a ``tree`` file, binary or text.

    Raises:
        DktError: the file is missing, cut short or no tree.
    """
    reader = EventMapReader(ObjectReader.open(path).data, path)
    reader.expect("ContextDependency")
    width, position = reader.int32(), reader.int32()
    if not 0 <= position < width:
        raise reader.fail(f"impossible context: width {width}, central position {position}")
    if reader.expect("ToPdf", "ToLength") == "ToLength":
        # Trees of old versions begin with a map that nothing uses any more.
        reader.event_map()
        reader.expect("ToPdf")
    to_pdf = reader.event_map()
    if next(leaves(to_pdf), None) is None:
        raise reader.fail("the tree has no leaf")
    reader.expect("EndContextDependency")
    return ContextDependency(width, position, to_pdf, path)


def save_tree(path: str | Path, tree: ContextDependency, binary: bool = True) -> None:
    """Write a ``tree`` file, byte for byte as Kaldi does.

    Raises:
        DktError: it cannot be written.
    """
    writer = EventMapWriter(binary)
    writer.token("ContextDependency")
    writer.int32(tree.context_width)
    writer.int32(tree.central_position)
    writer.token("ToPdf")
    writer.event_map(tree.to_pdf)
    writer.token("EndContextDependency")
    writer.save_recorded(path)


def monophone_tree(phone_sets: list[list[int]], topology: HmmTopology) -> ContextDependency:
    """The tree of a context-independent system (``MonophoneContextDependencyShared``).

    Args:
        phone_sets: the phones that share their pdfs, as in ``lang/phones/sets.int``; pdfs are numbered set
            by set, pdf class by pdf class.
        topology: the HMM of every phone.

    Raises:
        DktError: the sets and the topology do not have the same phones, or a phone is in two sets.
    """
    listed = sorted(phone for phones in phone_sets for phone in phones)
    if listed != topology.phones:
        wrong = sorted(set(listed) ^ set(topology.phones)) or [p for p in listed if listed.count(p) > 1]
        raise DktError(
            f"the phone sets do not hold every phone of the topology once (phone {wrong[0]})",
            hint="phones/sets.int and topo must be of one lang directory",
        )
    num_pdf_classes = {phone: topology.num_pdf_classes(phone) for phone in topology.phones}
    return ContextDependency(1, 0, stub_map(0, [sorted(s) for s in phone_sets], num_pdf_classes))


def monophone_transition_model(tree: ContextDependency, topology: HmmTopology) -> TransitionModel:
    """The transition model of a context-independent system, with the topology's probabilities.

    Raises:
        DktError: the tree asks for context, or was not made for this topology.
    """
    if tree.context_width != 1:
        raise DktError(f"a tree of context width {tree.context_width}, expected 1", path=tree.path)
    pdf_of = {
        (phone, pdf_class): tree.pdf([phone], pdf_class)
        for phone in topology.phones
        for state in topology.states(phone)
        for pdf_class in (state.forward_pdf_class, state.self_loop_pdf_class)
        if pdf_class != NO_PDF
    }
    return TransitionModel(topology, initial_tuples(topology, pdf_of))
