"""Damaged tables: whatever the bytes, a reader returns or raises DktError, and takes little memory."""

from __future__ import annotations

import io
import sys
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dkt.hmm.posterior import Posterior, PosteriorWriter, read_posterior_or_matrix, read_posteriors
from dkt.util.specifiers import parse_rspecifier, parse_wspecifier
from dkt.util.table import (
    IntVectorWriter,
    MatrixTable,
    MatrixWriter,
    TableWriter,
    VectorTable,
    VectorWriter,
    read_int_vectors,
    read_matrices,
    read_script,
    read_table,
    read_vectors,
)
from tests.mutation import FUZZ, check_stands, damaged, every_small_damage

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(11, 3)).astype(np.float32)
POSTERIOR = Posterior.of_frames([[(3, 0.75), (1, 0.25)], [], [(2, 1.0)]])
INTS = np.array([3, -1, 2**31 - 1, 0, 7, 7])


def archive(writer: type[TableWriter], form: str, *values: object, **options: int) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        stdout = io.TextIOWrapper(io.BytesIO())
        patch.setattr(sys, "stdout", stdout)
        with writer(f"{form}:-", **options) as table:
            for number, value in enumerate(values):
                table.write(f"utt-{number}", value)
        return stdout.buffer.getvalue()


MATRICES = [
    archive(MatrixWriter, "ark", MATRIX, MATRIX[:2]),
    archive(MatrixWriter, "ark", MATRIX.astype(np.float64), MATRIX[:0]),
    archive(MatrixWriter, "ark,t", MATRIX[:3], MATRIX[:0], MATRIX[:1]),
    *(archive(MatrixWriter, "ark", MATRIX, MATRIX[:2], compression_method=m) for m in (1, 3, 5)),
]
VECTORS = [archive(VectorWriter, form, MATRIX[0], MATRIX[1].astype(np.float64)) for form in ("ark", "ark,t")]
INT_VECTORS = [archive(IntVectorWriter, form, INTS, INTS[:0], INTS[:1]) for form in ("ark", "ark,t")]
POSTERIORS = [archive(PosteriorWriter, form, POSTERIOR, Posterior.of_frames([])) for form in ("ark", "ark,t")]
READERS = {
    "matrices": (MATRICES, read_matrices),
    "vectors": (VECTORS, read_vectors),
    "int_vectors": (INT_VECTORS, read_int_vectors),
    "posteriors": (POSTERIORS, read_posteriors),
    "posteriors_or_matrices": (
        POSTERIORS + MATRICES,
        lambda rspecifier: read_table(read_posterior_or_matrix, rspecifier),
    ),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "x"


@pytest.mark.parametrize("backend", ["kaldiio", "kaldi_native_io"])
@pytest.mark.parametrize("name", READERS)
@FUZZ
@given(data=st.data())
def test_archives(path, name, backend, data):
    seeds, read = READERS[name]
    content = data.draw(damaged(seeds))
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DKT_IO", backend)
        check_stands(lambda: list(read(f"ark:{path}")), len(content))


@pytest.mark.parametrize("name", READERS)
def test_small_damage(path, name):
    seeds, read = READERS[name]
    for content in chain.from_iterable(map(every_small_damage, seeds)):
        path.write_bytes(content)
        check_stands(lambda: list(read(f"ark:{path}")), len(content))


@FUZZ
@given(data=st.data())
def test_scripts(path, data):
    stored = path.with_suffix(".ark")
    stored.write_bytes(MATRICES[0])
    seeds = [
        f"a {stored}:6\nb {stored}:6[1:2]\nc {stored}:6[0:1,1:2]\n".encode(),
        f"a {stored}:6[:,0:0]\nb -\nc {path.parent}\n".encode(),
    ]
    # No pipes: what damage makes of them would be run.
    content = data.draw(damaged(seeds)).replace(b"|", b"/")
    path.write_bytes(content)

    def read() -> None:
        dict(read_matrices(f"scp,p:{path}"))
        for table in (MatrixTable(f"scp:{path}"), VectorTable(f"scp,p:{path}")):
            for key in table:
                table[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO())))
        check_stands(lambda: read_script(str(path)), len(content))
        check_stands(read, len(content) + len(MATRICES[0]))


@FUZZ
@given(data=st.data())
def test_specifiers(data):
    seeds = [b"ark,s,cs:x.ark", b"scp,p:gunzip -c x |", b"ark,scp,t:x,y", b"ark,t:-", b"o,s,np,ark: x:y,z"]
    content = data.draw(damaged(seeds))
    text = content.decode("utf-8", errors="replace")
    check_stands(lambda: parse_rspecifier(text), len(content))
    check_stands(lambda: parse_wspecifier(text), len(content))
