"""Kaldi's transition model: transition-id to pdf, phone and arc (``transition-model.cc``)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.hmm.topology import NO_PDF, HmmTopology, read_topology, write_topology
from dkt.util.object_io import ObjectReader, ObjectWriter

#: More pdfs than any model has; arrays of one entry per pdf still fit into memory.
IMPROBABLE_PDF = 10_000_000


class TransitionModel:
    """Transition-ids and what they stand for.

    Transition-ids are 1-based: transition-state by transition-state, one for each arc of the topology.
    Index 0 of every array below belongs to no transition-id.

    Args:
        topology: the HMM of every phone.
        tuples: shape ``(S, 4)``: phone, HMM state, forward pdf, self-loop pdf of every transition-state,
            ascending.
        log_probs: shape ``(num_transition_ids + 1,)``; taken from the topology if missing.

    Attributes:
        id2pdf, id2phone, id2hmm_state, id2state: shape ``(num_transition_ids + 1,)``. ``id2state`` is the
            1-based transition-state.
        is_self_loop, is_final: the arc returns to its own state; the arc leaves the phone.

    Raises:
        DktError: the tuples do not fit the topology or are not in order.
    """

    def __init__(
        self,
        topology: HmmTopology,
        tuples: Iterable[tuple[int, int, int, int]],
        log_probs: np.ndarray | None = None,
        path: str | Path | None = None,
    ) -> None:
        self.topology = topology
        self.tuples = np.array(list(tuples), dtype=np.int32).reshape(-1, 4)
        self._check_tuples(path)
        arcs = [topology.states(int(t[0]))[int(t[1])].transitions for t in self.tuples]
        counts = np.array([len(a) for a in arcs], dtype=np.int64)
        self.state2id = np.concatenate([[0], 1 + np.concatenate([[0], np.cumsum(counts)])]).astype(np.int32)
        self.id2state = np.concatenate([[0], np.repeat(np.arange(1, len(arcs) + 1), counts)]).astype(np.int32)
        owner = self.tuples[self.id2state[1:] - 1]
        destination = np.array([d for a in arcs for d, _ in a], dtype=np.int32)
        last = np.repeat([len(topology.states(int(t[0]))) - 1 for t in self.tuples], counts)
        self.is_self_loop = np.concatenate([[False], destination == owner[:, 1]])
        self.is_final = np.concatenate([[False], destination == last])
        self.id2phone = np.concatenate([[0], owner[:, 0]]).astype(np.int32)
        self.id2hmm_state = np.concatenate([[-1], owner[:, 1]]).astype(np.int32)
        pdfs = np.where(self.is_self_loop[1:], owner[:, 3], owner[:, 2])
        self.id2pdf = np.concatenate([[-1], pdfs]).astype(np.int32)
        if log_probs is None:
            log_probs = np.concatenate([[0.0], np.log([p for a in arcs for _, p in a])])
        self.log_probs = np.asarray(log_probs, dtype=np.float32)
        if len(self.log_probs) != self.num_transition_ids + 1:
            raise DktError(
                f"{len(self.log_probs) - 1} transition probabilities for "
                f"{self.num_transition_ids} transition-ids",
                path=path,
            )
        if not np.isfinite(self.log_probs).all():
            raise DktError("a transition probability is not a number", path=path)

    def _check_tuples(self, path: str | Path | None) -> None:
        order = np.lexsort(self.tuples.T[::-1])
        if len(self.tuples) == 0 or (order != np.arange(len(order))).any():
            raise DktError("the transition-states are missing or not in order", path=path)
        for phone, state, forward, self_loop in self.tuples.tolist():
            states = self.topology.states(phone) if phone in self.topology.phone_entry else []
            pdfs = (forward, self_loop)
            if not 0 <= state < len(states) - 1 or not 0 <= min(pdfs) <= max(pdfs) < IMPROBABLE_PDF:
                raise DktError(
                    f"transition-state (phone {phone}, state {state}, pdf {forward}) is not in the topology",
                    path=path,
                )

    @property
    def num_pdfs(self) -> int:
        """The number of pdfs, P."""
        return int(self.tuples[:, 2:].max()) + 1

    @property
    def num_transition_ids(self) -> int:
        """The number of transition-ids."""
        return len(self.id2state) - 1

    @property
    def num_transition_states(self) -> int:
        """The number of transition-states."""
        return len(self.tuples)

    def self_loop_log_probs(self) -> tuple[np.ndarray, np.ndarray]:
        """log p(self-loop) and log(1 - p(self-loop)), each of shape ``(num_transition_states + 1,)``.

        A state without self-loop has -inf and 0 (``TransitionModel::ComputeDerivedOfProbs``).
        """
        loop = np.full(self.num_transition_states + 1, -np.inf, dtype=np.float64)
        ids = np.flatnonzero(self.is_self_loop)
        loop[self.id2state[ids]] = self.log_probs[ids]
        with np.errstate(divide="ignore"):
            # Kaldi floors the remaining probability at 1e-10 where a self-loop takes all of it.
            rest = np.log(np.maximum(1.0 - np.exp(loop), 1e-10))
        return loop, rest

    def check_ids(self, transition_ids: np.ndarray, path: str | Path, utt: str) -> None:
        """Raise DktError unless every one of ``transition_ids`` is of this model."""
        if len(transition_ids) and not (
            transition_ids.min() >= 1 and transition_ids.max() <= self.num_transition_ids
        ):
            raise DktError(
                f"transition-ids from {transition_ids.min()} to {transition_ids.max()}, expected 1 to "
                f"{self.num_transition_ids}",
                path=path,
                utt=utt,
                hint="give the final.mdl that made the alignment",
            )


def load_transition_model(path: str | Path) -> TransitionModel:
    """Read the transition model at the head of ``final.mdl``; what follows it is ignored.

    Raises:
        DktError: the file is missing, cut short or begins with something else.
    """
    return read_transition_model(ObjectReader.open(path))


def read_transition_model(reader: ObjectReader) -> TransitionModel:
    """Read ``<TransitionModel> ... </TransitionModel>`` from an open object."""
    reader.expect("<TransitionModel>")
    topology = read_topology(reader)
    kind = reader.expect("<Triples>", "<Tuples>")
    tuples = []
    for _ in range(reader.int32()):
        phone, state, forward = reader.int32(), reader.int32(), reader.int32()
        self_loop = reader.int32() if kind == "<Tuples>" else forward
        tuples.append((phone, state, forward, self_loop))
    reader.expect(kind.replace("<", "</"))
    reader.expect("<LogProbs>")
    log_probs = reader.vector()
    reader.expect("</LogProbs>")
    reader.expect("</TransitionModel>")
    return TransitionModel(topology, tuples, log_probs, reader.path)


def write_transition_model(writer: ObjectWriter, model: TransitionModel) -> None:
    """Write ``<TransitionModel> ... </TransitionModel>``, byte for byte as Kaldi does in binary form."""
    kind = "Triples" if model.topology.is_hmm() else "Tuples"
    writer.token("<TransitionModel>")
    writer.newline()
    write_topology(writer, model.topology)
    writer.token(f"<{kind}>")
    writer.int32(len(model.tuples))
    writer.newline()
    for row in model.tuples.tolist():
        for value in row[: 3 if kind == "Triples" else 4]:
            writer.int32(value)
        writer.newline()
    writer.token(f"</{kind}>")
    writer.newline()
    writer.token("<LogProbs>")
    writer.newline()
    writer.vector(model.log_probs)
    writer.token("</LogProbs>")
    writer.newline()
    writer.token("</TransitionModel>")
    writer.newline()


def initial_tuples(
    topology: HmmTopology, pdf_of: dict[tuple[int, int], int]
) -> list[tuple[int, int, int, int]]:
    """The transition-states of a context-independent system (``TransitionModel::ComputeTuplesIsHmm``).

    Args:
        topology: the HMM of every phone.
        pdf_of: (phone, pdf class) to pdf.
    """
    return sorted(
        (phone, number, pdf_of[phone, state.forward_pdf_class], pdf_of[phone, state.self_loop_pdf_class])
        for phone in topology.phones
        for number, state in enumerate(topology.states(phone))
        if state.forward_pdf_class != NO_PDF
    )
