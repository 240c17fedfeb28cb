"""Finite-state transducers as numpy arrays, to and from OpenFst files and ``kaldifst`` objects.

What changes every arc of a graph alike (weights, labels, self-loops) is one array operation here. What needs
an algorithm (composition, determinisation, minimisation) goes through ``kaldifst`` and back.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import kaldifst
import numpy as np
import numpy.typing as npt

from dkt.base.errors import DktError
from dkt.base.grouping import offsets_of
from dkt.fstext.openfst import ARC, FstContents, encode_openfst, parse_openfst
from dkt.util.object_io import read_object_bytes, replace_file

__all__ = ["ARC", "FstArrays", "load_fst", "write_fst"]


@dataclass(frozen=True)
class FstArrays:
    """An FST of S states and A arcs.

    Attributes:
        start: the start state, or -1 if there is none.
        final: final costs, shape ``(S,)``, float32; inf for a state that is not final.
        offsets: shape ``(S + 1,)``; the arcs of state s are ``arcs[offsets[s] : offsets[s + 1]]``.
        arcs: shape ``(A,)`` of type ``ARC``.
        properties: OpenFst's property bits as read, 0 for what is not known. They hold for these arrays
            alone: whoever changes an array leaves them out.
    """

    start: int
    final: np.ndarray
    offsets: np.ndarray
    arcs: np.ndarray
    properties: int = 0

    @property
    def num_states(self) -> int:
        """The number of states, S."""
        return len(self.final)

    @property
    def num_arcs(self) -> int:
        """The number of arcs, A."""
        return len(self.arcs)

    @property
    def sources(self) -> np.ndarray:
        """The state that each arc leaves, shape ``(A,)``."""
        return np.repeat(np.arange(self.num_states, dtype=np.int32), np.diff(self.offsets))

    @classmethod
    def from_arcs(
        cls, start: int, final: npt.ArrayLike, sources: npt.ArrayLike, arcs: np.ndarray
    ) -> FstArrays:
        """An FST from arcs in any order; arcs of one state keep theirs.

        Args:
            start: the start state.
            final: final costs, shape ``(S,)``.
            sources: the state that each arc leaves, shape ``(A,)``.
            arcs: shape ``(A,)`` of type ``ARC``.
        """
        final = np.asarray(final, dtype=np.float32)
        sources = np.asarray(sources, dtype=np.int64)
        return cls(start, final, offsets_of(sources, len(final)), arcs[np.argsort(sources, kind="stable")])

    def with_arcs(self, **columns: npt.ArrayLike) -> FstArrays:
        """A copy with some of ``ilabel``, ``olabel``, ``weight`` and ``nextstate`` replaced."""
        arcs = self.arcs.copy()
        for name, values in columns.items():
            arcs[name] = values
        return replace(self, arcs=arcs, properties=0)

    def scaled(self, scale: float) -> FstArrays:
        """A copy with every cost multiplied by ``scale``."""
        fst = self.with_arcs(weight=self.arcs["weight"] * np.float32(scale))
        final = self.final.copy()
        final[np.isfinite(final)] *= np.float32(scale)  # 0 times infinity would not be a number
        return replace(fst, final=final)

    def with_word_penalty(self, penalty: float) -> FstArrays:
        """A copy with ``penalty`` added to the cost of every word (``lattice-add-penalty``)."""
        is_word = self.arcs["olabel"] != 0
        return self.with_arcs(weight=self.arcs["weight"] + np.float32(penalty) * is_word.astype(np.float32))

    def with_ilabels_mapped(self, table: np.ndarray) -> FstArrays:
        """A copy with every input label l replaced by ``table[l]``."""
        return self.with_arcs(ilabel=np.asarray(table)[self.arcs["ilabel"]])

    def to_bytes(self, fst_type: str) -> bytes:
        """The bytes of an OpenFst file, ``fst_type`` being ``vector`` or ``const``."""
        contents = FstContents(self.start, self.final, self.offsets, self.arcs, self.properties)
        return encode_openfst(contents, fst_type)

    def save(self, path: str | Path, fst_type: str = "const") -> None:
        """Write the file ``path``, whole or not at all.

        Args:
            path: where to.
            fst_type: ``const``, which is what a decoder wants, or ``vector``.

        Raises:
            DktError: it cannot be written.
        """
        replace_file(path, self.to_bytes(fst_type))

    def to_kaldifst(self) -> kaldifst.StdVectorFst:
        """The FST as an object that ``kaldifst`` can change."""
        with _scratch_file() as path:
            path.write_bytes(self.to_bytes("vector"))
            return kaldifst.StdVectorFst.read(str(path))

    def to_kaldifst_const(self) -> kaldifst.StdConstFst:
        """The FST as an object to search: smaller and quicker to make than one that can be changed."""
        with _scratch_file() as path:
            path.write_bytes(self.to_bytes("const"))
            return kaldifst.StdConstFst.read(str(path))

    @classmethod
    def from_kaldifst(cls, fst: kaldifst.StdVectorFst | kaldifst.StdConstFst) -> FstArrays:
        """The arrays of a ``kaldifst`` object."""
        with _scratch_file() as path:
            # Type const is read without a loop over the states.
            if not kaldifst.StdConstFst(fst).write(str(path)):
                raise DktError("the scratch file for an FST cannot be written", path=path)
            return cls(*parse_openfst(path.read_bytes(), "<kaldifst>"))


@contextmanager
def _scratch_file() -> Iterator[Path]:
    # kaldifst speaks through files only; one in memory spares the disk, once per utterance and pass.
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        handle = os.memfd_create("fst")
        try:
            yield Path(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)
    else:
        with tempfile.TemporaryDirectory() as directory:
            yield Path(directory) / "fst"


def load_fst(path: str | Path) -> FstArrays:
    """Read an OpenFst file of type ``vector`` or ``const`` over standard arcs; symbol tables are passed over.

    Args:
        path: a file, maybe compressed by gzip, ``-`` or ``command |``.

    Raises:
        DktError: the file is missing, cut short, of another type, or inconsistent.
    """
    return FstArrays(*parse_openfst(read_object_bytes(path), path))


def write_fst(fst: kaldifst.StdVectorFst, path: str | Path) -> None:
    """Write an FST as OpenFst's type ``vector``, whole or not at all.

    Raises:
        DktError: the file cannot be written.
    """
    FstArrays.from_kaldifst(fst).save(path, "vector")
