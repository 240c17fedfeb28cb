"""Event maps: what a decision tree asks and answers (Kaldi's ``tree/event-map.cc``).

An event gives integer values to integer keys: key i is the phone at position i of the context window, key -1
the pdf class. The answer is a pdf.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from dkt.base.errors import DktError
from dkt.hmm.transition_model import IMPROBABLE_PDF
from dkt.util.object_io import ObjectReader, ObjectWriter

PDF_CLASS_KEY = -1
# Far deeper than any tree that was grown from data, well below Python's limit of recursion.
_MAX_DEPTH = 200


@dataclass(frozen=True)
class ConstantEventMap:
    """A leaf: the same pdf whatever the event."""

    answer: int


@dataclass(frozen=True)
class TableEventMap:
    """A node with one branch for each value of ``key``; None where a value has no branch."""

    key: int
    table: list[EventMap | None]

    def branch(self, value: int) -> EventMap | None:
        """The branch that ``value`` leads to."""
        return self.table[value] if 0 <= value < len(self.table) else None


@dataclass(frozen=True)
class SplitEventMap:
    """A question: does ``key`` have a value out of ``yes_set`` (ascending)?"""

    key: int
    yes_set: tuple[int, ...]
    yes: EventMap
    no: EventMap
    _members: frozenset[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_members", frozenset(self.yes_set))

    def branch(self, value: int) -> EventMap:
        """The branch that ``value`` leads to."""
        return self.yes if value in self._members else self.no


EventMap = ConstantEventMap | TableEventMap | SplitEventMap


def answer(event_map: EventMap, event: Mapping[int, int]) -> int | None:
    """The pdf for ``event``, or None where the tree has no answer (``EventMap::Map``)."""
    node: EventMap | None = event_map
    while node is not None and not isinstance(node, ConstantEventMap):
        node = node.branch(event[node.key]) if node.key in event else None
    return None if node is None else node.answer


def leaves(event_map: EventMap) -> Iterator[int]:
    """The answers of all leaves, from left to right."""
    pending: list[EventMap | None] = [event_map]
    while pending:
        node = pending.pop()
        if isinstance(node, ConstantEventMap):
            yield node.answer
        elif isinstance(node, TableEventMap):
            pending.extend(reversed(node.table))
        elif isinstance(node, SplitEventMap):
            pending.extend([node.no, node.yes])


class EventMapReader(ObjectReader):
    """Reads event maps out of an object file."""

    def uint32(self) -> int:
        """An unsigned integer (``ReadBasicType<uint32>``)."""
        if not self.binary:
            return self.int32()
        # The size of an unsigned type is written as a negative number.
        if self._take(1) != b"\xfc":
            raise self.fail("expected an unsigned number of 4 bytes")
        return int(struct.unpack("<I", self._take(4))[0])

    def event_map(self, depth: int = 0) -> EventMap:
        """An event map that is not NULL.

        Raises:
            DktError: the file is cut short or holds something else.
        """
        node = self._event_map(depth)
        if node is None:
            raise self.fail("expected a node of the tree, found NULL")
        return node

    def _event_map(self, depth: int) -> EventMap | None:
        if depth > _MAX_DEPTH:
            raise self.fail(f"the tree is more than {_MAX_DEPTH} levels deep")
        kind = self.expect("CE", "TE", "SE", "NULL")
        if kind == "NULL":
            return None
        if kind == "CE":
            pdf = self.int32()
            if not 0 <= pdf < IMPROBABLE_PDF:
                raise self.fail(f"impossible pdf {pdf}")
            return ConstantEventMap(pdf)
        key = self.int32()
        if kind == "TE":
            size = self.uint32()
            self.expect("(")
            table = [self._event_map(depth + 1) for _ in range(size)]
            self.expect(")")
            return TableEventMap(key, table)
        yes_set = self.int_vector()
        if not (np.diff(yes_set) > 0).all():
            raise self.fail("the values of a question are not in order")
        self.expect("{")
        yes, no = self.event_map(depth + 1), self.event_map(depth + 1)
        self.expect("}")
        return SplitEventMap(key, tuple(yes_set.tolist()), yes, no)


class EventMapWriter(ObjectWriter):
    """Writes event maps into an object file, byte for byte as Kaldi does."""

    def uint32(self, value: int) -> None:
        """Write an unsigned integer (``WriteBasicType<uint32>``)."""
        if self.binary:
            self._parts.append(b"\xfc" + struct.pack("<I", value))
        else:
            self.int32(value)

    def event_map(self, node: EventMap | None) -> None:
        """Write an event map."""
        if node is None:
            self.token("NULL")
        elif isinstance(node, ConstantEventMap):
            self.token("CE")
            self.int32(node.answer)
        elif isinstance(node, TableEventMap):
            self.token("TE")
            self.int32(node.key)
            self.uint32(len(node.table))
            self._enclosed("(", node.table, ")")
        else:
            self.token("SE")
            self.int32(node.key)
            self.int_vector(node.yes_set)
            self._enclosed("{", [node.yes, node.no], "}")

    def _enclosed(self, opening: str, nodes: list[EventMap | None] | list[EventMap], closing: str) -> None:
        self.token(opening)
        for node in nodes:
            self.event_map(node)
        self.token(closing)
        self.newline()


def stub_map(key: int, phone_sets: list[list[int]], num_pdf_classes: dict[int, int]) -> EventMap:
    """A tree that tells only phone sets and pdf classes apart (``GetStubMap``, roots unshared).

    Leaves are numbered set by set, pdf class by pdf class. The shape follows Kaldi: a table over the phones
    where every set is a single phone, else the sets are halved again and again.

    Args:
        key: the position of the phone in the context window.
        phone_sets: the phones that share their pdfs, each set ascending.
        num_pdf_classes: the number of pdf classes of each phone.

    Raises:
        DktError: there is no phone set, or one is empty.
    """
    if not phone_sets or not all(phone_sets):
        raise DktError("the list of phone sets is empty or holds an empty set")
    first = [0]
    for phones in phone_sets:
        first.append(first[-1] + max(num_pdf_classes[phone] for phone in phones))
    return _stub_map(key, phone_sets, first)


def _stub_map(key: int, phone_sets: list[list[int]], first: list[int]) -> EventMap:
    if len(phone_sets) == 1:
        return TableEventMap(PDF_CLASS_KEY, [ConstantEventMap(pdf) for pdf in range(first[0], first[1])])
    highest = max(map(max, phone_sets))
    if max(map(len, phone_sets)) == 1 and len(phone_sets) <= 2 * highest:
        table: list[EventMap | None] = [None] * (highest + 1)
        for index, (phone,) in enumerate(phone_sets):
            table[phone] = _stub_map(key, [[phone]], first[index : index + 2])
        return TableEventMap(key, table)
    half = len(phone_sets) // 2
    yes_set = tuple(sorted(phone for phones in phone_sets[:half] for phone in phones))
    yes = _stub_map(key, phone_sets[:half], first[: half + 1])
    no = _stub_map(key, phone_sets[half:], first[half:])
    return SplitEventMap(key, yes_set, yes, no)
