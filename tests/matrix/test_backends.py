"""Matrices and vectors by either library: the bytes and values of Kaldi, and of kaldiio by itself."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import kaldiio
import numpy as np
import pytest
from kaldiio import matio

from dkt.base.errors import DktError
from dkt.matrix import compressed as io_backends
from dkt.matrix.compressed import BACKENDS, backend, with_native
from dkt.matrix.matrix_io import (
    encode_int_vector,
    encode_matrix,
    encode_vector,
    read_int_vector,
    read_matrix,
    read_matrix_or_vector,
    read_vector,
)
from dkt.util.object_io import ObjectReader
from dkt.util.table import MatrixWriter, read_int_vectors, read_matrices, read_table, read_vectors

METHODS = range(1, 8)
RANGES = {4: (-32768.0, 32767.0), 6: (0.0, 255.0), 7: (0.0, 1.0)}
STEPS = {4: 1.0, 6: 1.0, 7: 1 / 255}


@pytest.fixture(params=BACKENDS)
def io_backend(request, monkeypatch) -> str:
    """Each back end in turn, chosen as a user does."""
    monkeypatch.setenv("DKT_IO", request.param)
    return request.param


def step_of(matrix: np.ndarray, method: int) -> float:
    """What one integer code is worth in the stored form."""
    return STEPS.get(method) or float(np.ptp(matrix)) / (255 if method == 5 else 65535)


def unpack(packed: bytes) -> np.ndarray:
    return read_matrix(io.BufferedReader(io.BytesIO(packed)))


def assert_within_rounding(found: np.ndarray, expected: np.ndarray, step: float) -> None:
    """What kaldiio's other order of operations is worth: a small part of a step."""
    assert found.dtype == expected.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0.05 * step)


@pytest.mark.parametrize("method", METHODS)
def test_kaldis_archives_hold_what_the_method_can_tell(kaldi_fixtures, io_backend, method):
    golden = kaldi_fixtures / "golden/features"
    raw = dict(read_matrices(f"ark:{golden}/mfcc_raw.ark"))
    packed = dict(read_matrices(f"ark:{golden}/mfcc_compressed_{method}.ark"))
    assert list(packed) == list(raw) and len(raw) == 6
    for utt, matrix in packed.items():
        assert matrix.flags.writeable and matrix.dtype == np.float32
        if method <= 2:
            # The uncompressed features came out of such an archive.
            assert_within_rounding(matrix, raw[utt], step_of(raw[utt], method))
            if io_backend == "kaldi_native_io":
                np.testing.assert_array_equal(matrix.view(np.int32), raw[utt].view(np.int32))
        else:
            expected = np.clip(raw[utt], *RANGES.get(method, (None, None)))
            np.testing.assert_allclose(matrix, expected, rtol=1e-6, atol=0.51 * step_of(raw[utt], method))


@pytest.mark.parametrize("method", METHODS)
def test_both_libraries_read_the_same_values(kaldi_fixtures, monkeypatch, method):
    values = {}
    packed = kaldi_fixtures / f"golden/features/mfcc_compressed_{method}.ark"
    for name in BACKENDS:
        monkeypatch.setenv("DKT_IO", name)
        values[name] = dict(read_matrices(f"ark:{packed}"))
    for utt, matrix in values["kaldiio"].items():
        kaldis = values["kaldi_native_io"][utt]
        assert_within_rounding(matrix, kaldis, step_of(kaldis, method))


def golden_archives(folder) -> list:
    """Kaldi's binary archives of matrices, vectors and integer vectors."""
    others = {"post_binary.ark", *(f"{name}_text.ark" for name in ("mfcc_raw", "mfcc_cmvn", "ali", "post"))}
    return [path for path in sorted((folder / "golden").rglob("*.ark")) if path.name not in others]


def test_every_golden_archive_holds_what_kaldiio_reads(kaldi_fixtures):
    """To the last bit, the faster ways of dkt's own (float32 matrices, integer vectors) too."""
    kinds = set()
    for path in golden_archives(kaldi_fixtures):
        read = read_int_vector if path.name == "ali_binary.ark" else read_matrix_or_vector
        ours, theirs = dict(read_table(read, f"ark:{path}")), dict(kaldiio.load_ark(str(path)))
        assert list(ours) == list(theirs) and ours
        for utt, value in ours.items():
            assert (value.dtype, value.shape) == (theirs[utt].dtype, theirs[utt].shape)
            assert value.tobytes() == theirs[utt].tobytes() and value.flags.writeable
            kinds.add((value.dtype.kind, value.dtype.itemsize, value.ndim))
    assert kinds == {("i", 4, 1), ("f", 4, 1), ("f", 4, 2)}


def test_kaldis_file_of_one_matrix_holds_what_kaldiio_reads(kaldi_fixtures):
    path = kaldi_fixtures / "exp/tri2b_ali/final.mat"
    ours, theirs = ObjectReader.open(path).matrix(), kaldiio.load_mat(str(path))
    assert ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes()


PLAIN = [np.arange(12, dtype=dtype).reshape(shape) for dtype in "fd" for shape in ((12,), (3, 4))]
PLAIN += [np.empty(shape, dtype=dtype) for dtype in "fd" for shape in ((0,), (0, 0))]


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: f"{value.dtype}-{value.shape}")
def test_what_is_not_compressed_has_kaldiios_bytes_and_keeps_its_type(io_backend, value):
    encode, read = (encode_vector, read_vector) if value.ndim == 1 else (encode_matrix, read_matrix)
    data, expected = encode(value), io.BytesIO()
    matio.write_array(expected, value)
    assert data == expected.getvalue()
    for reader in (read, read_matrix_or_vector):
        back = reader(io.BufferedReader(io.BytesIO(data)))
        assert (back.dtype, back.shape) == (value.dtype, value.shape) and back.flags.writeable
        np.testing.assert_array_equal(back, value)


@pytest.mark.parametrize("values", [[], [5], [3, -1, 2**31 - 1, -(2**31), 0]])
def test_integer_vectors_have_kaldiios_bytes(values):
    vector, expected = np.array(values, dtype=np.int32), io.BytesIO()
    matio.write_array(expected, vector)
    assert encode_int_vector(vector) == expected.getvalue()
    np.testing.assert_array_equal(read_int_vector(io.BytesIO(expected.getvalue())), vector)


def test_the_default_reads_and_writes_by_kaldiio(monkeypatch):
    """All that is binary, but for float32 matrices, which are the bytes that they are stored as."""
    monkeypatch.delenv("DKT_IO", raising=False)
    calls = []
    for name in ("read_matrix_or_vector", "write_array"):
        function = getattr(matio, name)
        monkeypatch.setattr(
            matio, name, lambda *a, _f=function, _n=name, **k: (calls.append(_n), _f(*a, **k))[1]
        )
    for value in PLAIN:
        data = encode_vector(value) if value.ndim == 1 else encode_matrix(value)
        read_matrix_or_vector(io.BufferedReader(io.BytesIO(data)))
    for method in METHODS:
        unpack(encode_matrix(PLAIN[1], compression_method=method))
    assert calls.count("write_array") == len(PLAIN) + len(METHODS)
    assert calls.count("read_matrix_or_vector") == len(PLAIN) - 2 + len(METHODS)


FOREIGN = {
    "pickle": b"PKL" + pickle.dumps({"a": 1}),
    "numpy": b"NPY\x01\x80\x93NUMPY\x01\x00",
    "audio": b"AUDIO\x01\x04RIFF",
    "wave": b"RIFF\x24\0\0\0WAVEfmt ",
    "flac": b"fLaC\0\0\0\x22",
}


@pytest.mark.parametrize("read", [read_matrices, read_vectors, read_int_vectors])
@pytest.mark.parametrize("mark", [b"", b"\0B"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_nothing_of_kaldiio_but_kaldis_objects_can_be_reached(
    io_backend, monkeypatch, tmp_path, read, mark, kind
):
    for module, name in ((pickle, "load"), (np, "load"), (matio, "read_kaldi"), (matio, "read_wav")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("a foreign object was loaded"))
    (tmp_path / "x.ark").write_bytes(b"a " + mark + FOREIGN[kind])
    with pytest.raises(DktError, match=r"x\.ark: utterance 'a'"):
        list(read(f"ark:{tmp_path}/x.ark"))


HUGE = (0x7FFFFFFF).to_bytes(4, "little")


@pytest.mark.parametrize(
    "head",
    [
        b"FM \4" + HUGE + b"\4" + HUGE,
        b"DM \4" + HUGE + b"\4" + HUGE,
        b"FV \4" + HUGE,
        b"DV \4" + HUGE,
        *(kind + bytes(8) + sizes for kind in (b"CM ", b"CM2 ", b"CM3 ") for sizes in (HUGE + HUGE,)),
        b"CM " + bytes(8) + b"\1\0\0\0" + HUGE,
    ],
)
def test_no_library_sees_sizes_that_the_bytes_do_not_bear_out(io_backend, monkeypatch, tmp_path, head):
    monkeypatch.setattr(io_backends, "_load", lambda name: pytest.fail("a library was asked"))
    (tmp_path / "x.ark").write_bytes(b"a \0B" + head + bytes(100))
    with pytest.raises(DktError, match=r"cut short: [0-9]+ bytes expected, 100 found"):
        list(read_table(read_matrix_or_vector, f"ark:{tmp_path}/x.ark"))


def test_a_range_too_wide_for_kaldiio_is_no_silent_infinity(monkeypatch):
    matrix = np.linspace(-1e38, 1e38, 60, dtype=np.float32).reshape(20, 3)
    monkeypatch.setenv("DKT_IO", "kaldi_native_io")
    packed = encode_matrix(matrix, compression_method=3)
    np.testing.assert_allclose(unpack(packed), matrix, atol=1e34)
    monkeypatch.setenv("DKT_IO", "kaldiio")
    with pytest.raises(DktError, match=r"matrix of the range 2e[+]38 - set DKT_IO=kaldi_native_io"):
        unpack(packed)


@pytest.mark.parametrize("method", [None, 2, 3, 5])
def test_a_file_of_one_matrix_may_be_double_or_compressed(io_backend, method):
    """As for ``Matrix::Read``: ``copy-matrix`` compresses too."""
    matrix = np.arange(60.0).reshape(20, 3)
    data = encode_matrix(matrix, compression_method=method)
    reader = ObjectReader(data + b"<End> ", "final.mat")
    np.testing.assert_allclose(reader.matrix(), matrix, atol=1.0 if method else 0.0)
    assert reader.token() == "<End>"
    for size in (12, len(data) - 1):
        with pytest.raises(DktError, match=r"final\.mat: the file is cut short: .* at byte 2 of"):
            ObjectReader(data[:size], "final.mat").matrix()


def test_python_without_assertions_reads_the_same():
    """kaldiio reads within assertions."""
    script = """
import io, numpy as np
from dkt.matrix.matrix_io import encode_matrix, encode_vector, read_matrix_or_vector
values = [encode_vector(np.arange(4.0)), encode_vector(np.float32([1, 2])), encode_matrix(np.eye(3))]
values += [encode_matrix(np.eye(20, 3), compression_method=method) for method in (2, 3, 5)]
print([read_matrix_or_vector(io.BufferedReader(io.BytesIO(value))).tolist() for value in values])
"""
    env = {name: value for name, value in os.environ.items() if name != "DKT_IO"}
    plain, optimized = (
        subprocess.run(
            [sys.executable, *o, "-c", script], env=env, capture_output=True, text=True, check=True
        )
        for o in ([], ["-O"])
    )
    assert plain.stdout == optimized.stdout and len(plain.stdout) > 100


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(300, 40), (9, 1), (8, 3), (1, 1)])
def test_what_is_written_comes_back_within_a_step(io_backend, monkeypatch, method, shape):
    matrix = np.random.default_rng(1).normal(scale=100.0, size=shape).astype(np.float32)
    packed = encode_matrix(matrix, compression_method=method)
    back = unpack(packed)
    for name in BACKENDS:
        monkeypatch.setenv("DKT_IO", name)
        assert_within_rounding(unpack(packed), back, step_of(matrix, method))
    assert back.shape == shape
    expected = np.clip(matrix, *RANGES.get(method, (None, None)))
    # The speech method spends its codes column by column, on three ranges of values.
    columns = method == 2 or (method == 1 and shape[0] > 8)
    step = float(np.ptp(matrix)) / 64 if columns else step_of(matrix, method)
    np.testing.assert_allclose(back, expected, rtol=1e-5, atol=1.1 * step + 1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_kaldis_bytes(kaldi_fixtures, io_backend, tmp_path, method):
    golden = kaldi_fixtures / "golden/features"
    with MatrixWriter(f"ark:{tmp_path}/x.ark", compression_method=method) as writer:
        for utt, matrix in read_matrices(f"ark:{golden}/mfcc_raw.ark"):
            writer.write(utt, matrix)
    kaldis = golden / f"mfcc_compressed_{method}.ark"
    if io_backend == "kaldi_native_io" or method in (1, 2, 5):
        assert (tmp_path / "x.ark").read_bytes() == kaldis.read_bytes()
    # A code that lies between two values may go to the other one.
    expected = dict(read_matrices(f"ark:{kaldis}"))
    num_other = 0
    for utt, matrix in read_matrices(f"ark:{tmp_path}/x.ark"):
        step = step_of(expected[utt], method)
        np.testing.assert_allclose(matrix, expected[utt], rtol=1e-6, atol=1.01 * step)
        num_other += int((np.abs(matrix - expected[utt]) > 0.5 * step).sum())
    assert num_other <= 0.003 * sum(map(np.size, expected.values()))


def test_what_cannot_be_compressed(io_backend):
    with pytest.raises(DktError, match="NaN or infinite"):
        encode_matrix(np.array([[1.0, np.nan]]), compression_method=2)
    with pytest.raises(DktError, match="compression method 8, expected 1 to 7"):
        encode_matrix(np.ones((2, 2)), compression_method=8)
    assert encode_matrix(np.ones((0, 40)), compression_method=2) == encode_matrix(np.ones((0, 0)))


def test_an_empty_compressed_matrix_as_kaldi_writes_it(io_backend, tmp_path):
    """It writes its whole header in memory, four bytes more than it reads back."""
    (tmp_path / "x.ark").write_bytes(b"a \0BCM " + bytes(20) + b"b \0BCM " + bytes(16) + b"c  [ 1 2 ]\n")
    back = dict(read_matrices(f"ark:{tmp_path}/x.ark"))
    assert {utt: matrix.shape for utt, matrix in back.items()} == {"a": (0, 0), "b": (0, 0), "c": (1, 2)}


def test_an_unknown_name_is_an_error_that_names_the_known(monkeypatch):
    monkeypatch.setenv("DKT_IO", "kaldi-io")
    with pytest.raises(DktError, match="DKT_IO is 'kaldi-io', expected kaldiio or kaldi_native_io"):
        backend()


@pytest.mark.parametrize("name", BACKENDS)
def test_a_missing_library_says_what_to_install(monkeypatch, name):
    monkeypatch.setenv("DKT_IO", name)
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, BACKENDS[name], raising=False)
    io_backends._load.cache_clear()
    with pytest.raises(DktError, match=f"pip install {name}, or choose another with DKT_IO="):
        backend()


def test_kaldi_native_io_does_without_kaldiio(tmp_path):
    """All of reading and writing, where kaldiio is not to be had."""
    script = f"""
import sys
sys.modules["kaldiio"] = None
import numpy as np
import dkt.feat.reader, dkt.hmm.posterior
from dkt.util.table import IntVectorWriter, MatrixTable, MatrixWriter, read_int_vectors
matrix = np.arange(40.0).reshape(10, 4)
with MatrixWriter("ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp", compression_method=2) as writer:
    writer.write("a", matrix)
assert abs(MatrixTable("scp:{tmp_path}/x.scp")["a"] - matrix).max() < 1
with IntVectorWriter("ark:{tmp_path}/y.ark") as writer:
    writer.write("a", np.arange(3))
assert [len(v) for _, v in read_int_vectors("ark:{tmp_path}/y.ark")] == [3]
assert sys.modules["kaldiio"] is None
print("done")
"""
    env = {**os.environ, "DKT_IO": "kaldi_native_io"}
    found = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert found.stdout == "done\n", found.stderr


def unpack_again_and_again(value: float) -> bool:
    matrix = np.full((20, 5), value, dtype=np.float32)
    packed = encode_matrix(matrix, compression_method=3)
    return all((unpack(packed) == matrix).all() for _ in range(200))


def test_workers_do_not_disturb_each_other(io_backend):
    assert unpack_again_and_again(0.0)
    with get_context("fork").Pool(2) as pool:
        assert all(pool.map(unpack_again_and_again, [1.0, 2.0, 3.0, 4.0], chunksize=1))
    with ThreadPoolExecutor(3) as threads:
        assert all(threads.map(unpack_again_and_again, [1.0, 2.0, 3.0]))


def scratch_file() -> int:
    return os.fstat(with_native._scratch().file.fileno()).st_ino


def test_every_process_and_thread_has_a_file_of_its_own():
    mine = scratch_file()
    assert scratch_file() == mine
    with get_context("fork").Pool(1) as pool:
        assert pool.apply(scratch_file) != mine
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(scratch_file).result() != mine


def test_without_files_in_memory_a_temporary_one_serves(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delattr(with_native._local, "scratch", raising=False)
    matrix = np.eye(9, dtype=np.float32)
    monkeypatch.setenv("DKT_IO", "kaldi_native_io")
    np.testing.assert_array_equal(unpack(encode_matrix(matrix, compression_method=3)), matrix)
    assert list(tmp_path.iterdir())
    del with_native._local.scratch


@pytest.mark.parametrize("read", [read_matrix, read_vector, read_matrix_or_vector])
def test_what_does_not_begin_as_text_is_not_read_to_its_end(read):
    zeros = io.BytesIO(bytes(1 << 20))
    with pytest.raises(DktError, match="expected a matrix, found"):
        read(zeros)
    assert zeros.tell() < 100
