"""HMM topologies of phones, as in ``lang/topo`` and ``final.mdl`` (Kaldi's ``hmm-topology.cc``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dkt.util.object_io import ObjectReader, ObjectWriter
from dkt.util.text import natural

NO_PDF = -1


@dataclass
class HmmState:
    """One state of a phone's HMM: its pdf classes and its arcs ``(destination, initial probability)``."""

    forward_pdf_class: int = NO_PDF
    self_loop_pdf_class: int = NO_PDF
    transitions: list[tuple[int, float]] = field(default_factory=list)


@dataclass
class HmmTopology:
    """The HMM of every phone.

    Attributes:
        entries: the distinct HMMs; the last state of each is its non-emitting end.
        phone_entry: phone to the index of its HMM in ``entries``.
    """

    entries: list[list[HmmState]]
    phone_entry: dict[int, int]

    @property
    def phones(self) -> list[int]:
        """All phones, ascending."""
        return sorted(self.phone_entry)

    def states(self, phone: int) -> list[HmmState]:
        """The states of ``phone``'s HMM, the non-emitting end included."""
        return self.entries[self.phone_entry[phone]]

    def num_pdf_classes(self, phone: int) -> int:
        """The number of pdf classes of ``phone``."""
        states = self.states(phone)
        return 1 + max(max(s.forward_pdf_class, s.self_loop_pdf_class) for s in states)

    def is_hmm(self) -> bool:
        """Whether every state has one pdf class for self-loop and forward arcs (false in chain models)."""
        return all(s.forward_pdf_class == s.self_loop_pdf_class for e in self.entries for s in e)


def load_topology(path: str | Path) -> HmmTopology:
    """Read ``lang/topo`` (text or binary).

    Raises:
        DktError: the file is missing or not a topology.
    """
    return read_topology(ObjectReader.open(path))


def read_topology(reader: ObjectReader) -> HmmTopology:
    """Read ``<Topology> ... </Topology>`` from an open object."""
    reader.expect("<Topology>")
    topology = _read_binary(reader) if reader.binary else _read_text(reader)
    _check(topology, reader)
    return topology


def _read_text(reader: ObjectReader) -> HmmTopology:
    entries: list[list[HmmState]] = []
    phone_entry: dict[int, int] = {}
    while reader.expect("<TopologyEntry>", "</Topology>") == "<TopologyEntry>":
        reader.expect("<ForPhones>")
        while (word := reader.token()) != "</ForPhones>":
            phone = natural(word)
            if not phone or phone in phone_entry:
                raise reader.fail(f"expected the integer of a new phone, found '{word[:40]}'")
            phone_entry[phone] = len(entries)
        states: list[HmmState] = []
        while reader.expect("<State>", "</TopologyEntry>") == "<State>":
            if reader.int32() != len(states):
                raise reader.fail(f"expected the states in order, {len(states)} next")
            states.append(_read_text_state(reader))
        entries.append(states)
    return HmmTopology(entries, phone_entry)


def _read_text_state(reader: ObjectReader) -> HmmState:
    state = HmmState()
    while True:
        token = reader.expect(
            "<PdfClass>", "<ForwardPdfClass>", "<SelfLoopPdfClass>", "<Transition>", "</State>"
        )
        if token == "</State>":
            return state
        if token == "<Transition>":
            state.transitions.append((reader.int32(), reader.real()))
        elif token == "<SelfLoopPdfClass>":
            state.self_loop_pdf_class = reader.int32()
        else:
            state.forward_pdf_class = state.self_loop_pdf_class = reader.int32()


def _read_binary(reader: ObjectReader) -> HmmTopology:
    phones = reader.int_vector()
    phone2idx = reader.int_vector()
    count = reader.int32()
    is_hmm = count != -1  # -1 announces separate self-loop pdf classes
    if not is_hmm:
        count = reader.int32()
    entries = []
    for _ in range(count):
        states = []
        for _ in range(reader.int32()):
            forward = reader.int32()
            self_loop = forward if is_hmm else reader.int32()
            arcs = [(reader.int32(), reader.real()) for _ in range(reader.int32())]
            states.append(HmmState(forward, self_loop, arcs))
        entries.append(states)
    reader.expect("</Topology>")
    if any(not 0 < phone < len(phone2idx) for phone in phones):
        raise reader.fail("the topology lists a phone without an HMM")
    return HmmTopology(entries, {int(phone): int(phone2idx[phone]) for phone in phones})


def _check(topology: HmmTopology, reader: ObjectReader) -> None:
    if not topology.entries or not topology.phone_entry:
        raise reader.fail("the topology is empty")
    if any(not 0 <= index < len(topology.entries) for index in topology.phone_entry.values()):
        raise reader.fail("a phone of the topology has no HMM")
    for states in topology.entries:
        if len(states) < 2 or states[-1].transitions or states[-1].forward_pdf_class != NO_PDF:
            raise reader.fail("an HMM needs an emitting state and a last state without pdf and arcs")
        for state in states:
            for destination, probability in state.transitions:
                if not 0 <= destination < len(states) or not 0.0 < probability <= 1.0:
                    raise reader.fail(f"impossible arc to state {destination} of weight {probability}")


def write_topology(writer: ObjectWriter, topology: HmmTopology) -> None:
    """Write ``<Topology> ... </Topology>``, byte for byte as Kaldi does."""
    writer.token("<Topology>")
    if writer.binary:
        _write_binary(writer, topology)
    else:
        _write_text(writer, topology)
    writer.token("</Topology>")
    writer.newline()


def _write_text(writer: ObjectWriter, topology: HmmTopology) -> None:
    writer.newline()
    for index, states in enumerate(topology.entries):
        writer.token("<TopologyEntry>")
        writer.newline()
        writer.token("<ForPhones>")
        writer.newline()
        for phone in topology.phones:
            if topology.phone_entry[phone] == index:
                writer.token(str(phone))
        writer.newline()
        writer.token("</ForPhones>")
        writer.newline()
        for number, state in enumerate(states):
            writer.token("<State>")
            writer.int32(number)
            _write_text_state(writer, state, topology.is_hmm())
        writer.token("</TopologyEntry>")
        writer.newline()


def _write_text_state(writer: ObjectWriter, state: HmmState, is_hmm: bool) -> None:
    if state.forward_pdf_class != NO_PDF:
        writer.token("<PdfClass>" if is_hmm else "<ForwardPdfClass>")
        writer.int32(state.forward_pdf_class)
        if not is_hmm:
            writer.token("<SelfLoopPdfClass>")
            writer.int32(state.self_loop_pdf_class)
    for destination, probability in state.transitions:
        writer.token("<Transition>")
        writer.int32(destination)
        writer.real(probability)
    writer.token("</State>")
    writer.newline()


def _write_binary(writer: ObjectWriter, topology: HmmTopology) -> None:
    phones = topology.phones
    phone2idx = [topology.phone_entry.get(phone, -1) for phone in range(phones[-1] + 1)]
    is_hmm = topology.is_hmm()
    writer.int_vector(phones)
    writer.int_vector(phone2idx)
    if not is_hmm:
        writer.int32(-1)
    writer.int32(len(topology.entries))
    for states in topology.entries:
        writer.int32(len(states))
        for state in states:
            writer.int32(state.forward_pdf_class)
            if not is_hmm:
                writer.int32(state.self_loop_pdf_class)
            writer.int32(len(state.transitions))
            for destination, probability in state.transitions:
                writer.int32(destination)
                writer.real(probability)
