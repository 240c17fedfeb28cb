"""Compressed matrices: two libraries, one result, and the bytes and values of Kaldi."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from dkt import io_backends
from dkt.errors import DktError
from dkt.io_backends import BACKENDS, backend, with_native
from dkt.tables import MatrixWriter, read_matrices
from dkt.values import encode_matrix

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


@pytest.mark.parametrize("method", METHODS)
def test_kaldis_archives_hold_what_the_method_can_tell(kaldi_fixtures, io_backend, method):
    golden = kaldi_fixtures / "golden/features"
    raw = dict(read_matrices(f"ark:{golden}/mfcc_raw.ark"))
    packed = dict(read_matrices(f"ark:{golden}/mfcc_compressed_{method}.ark"))
    assert list(packed) == list(raw) and len(raw) == 6
    for utt, matrix in packed.items():
        assert matrix.flags.writeable and matrix.dtype == np.float32
        if method <= 2:
            # Kaldi's own last bits: the uncompressed features came out of such an archive.
            np.testing.assert_array_equal(matrix, raw[utt])
        else:
            expected = np.clip(raw[utt], *RANGES.get(method, (None, None)))
            np.testing.assert_allclose(matrix, expected, rtol=1e-6, atol=0.502 * step_of(raw[utt], method))


@pytest.mark.parametrize("method", METHODS)
def test_both_libraries_read_the_same_bits(kaldi_fixtures, monkeypatch, method):
    values = {}
    packed = kaldi_fixtures / f"golden/features/mfcc_compressed_{method}.ark"
    for name in BACKENDS:
        monkeypatch.setenv("DKT_IO", name)
        values[name] = dict(read_matrices(f"ark:{packed}"))
    for utt, matrix in values["kaldiio"].items():
        np.testing.assert_array_equal(matrix.view(np.int32), values["kaldi_native_io"][utt].view(np.int32))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(300, 40), (9, 1), (8, 3), (1, 1)])
def test_what_is_written_comes_back_within_a_step(io_backend, monkeypatch, method, shape):
    matrix = np.random.default_rng(1).normal(scale=100.0, size=shape).astype(np.float32)
    packed = encode_matrix(matrix, compression_method=method)
    back = backend().decompress(packed)
    for name in BACKENDS:
        monkeypatch.setenv("DKT_IO", name)
        np.testing.assert_array_equal(backend().decompress(packed).view(np.int32), back.view(np.int32))
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
import dkt.feature_reader, dkt.posteriors
from dkt.tables import IntVectorWriter, MatrixTable, MatrixWriter, read_int_vectors
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
    packed = backend().compress(matrix, 3)
    return all((backend().decompress(packed) == matrix).all() for _ in range(200))


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
    np.testing.assert_array_equal(with_native.decompress(with_native.compress(matrix, 3)), matrix)
    assert list(tmp_path.iterdir())
    del with_native._local.scratch
