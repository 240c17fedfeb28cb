"""Checksums beside files of Kaldi's formats: what is damage, and what another program has written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from dkt.base import checksums
from dkt.base.checksums import NAME, recorded, verify_recorded, write_recorded
from dkt.base.errors import DamagedError, DktError
from dkt.bin import main
from dkt.fstext.fst import FstArrays, load_fst
from dkt.fstext.openfst import ARC
from dkt.gmm.gmm import AmDiagGmm, load_gmm, save_gmm
from dkt.hmm.counts import load_counts, save_counts
from dkt.hmm.transition_model import load_transition_model
from dkt.hmm.tree import load_tree, monophone_tree, save_tree
from dkt.util.object_io import read_object_bytes
from tests.hmm.test_transitions import two_phone_model

DATA = np.random.default_rng(0).bytes(3 << 16)


def rot(path: Path, byte: int, bit: int = 0, keep_time: bool = True, bits: int = 1) -> None:
    """Flip bits of a file, as a disk does, or as a program that writes it anew."""
    stat = path.stat()
    data = bytearray(path.read_bytes())
    for number in range(bits):
        data[byte + number] ^= 1 << bit
    path.write_bytes(data)
    if keep_time:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    else:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_recorded(tmp_path / "final.mdl", DATA)
    return tmp_path / "final.mdl"


def test_what_is_written_is_verified(file: Path) -> None:
    assert file.read_bytes() == DATA
    assert verify_recorded(file, DATA)
    assert recorded(file.parent) == [file]


@pytest.mark.parametrize("keep_time", [True, False])
@pytest.mark.parametrize(
    ("byte", "bit"), [(0, 0), (0, 7), (1, 3), (65535, 7), (65536, 0), (len(DATA) - 1, 7), (99999, 4)]
)
def test_a_flipped_bit_is_damage(file: Path, byte: int, bit: int, keep_time: bool) -> None:
    rot(file, byte, bit, keep_time)
    with pytest.raises(
        DamagedError, match=rf"final.mdl: is damaged .*from byte {byte >> 16 << 16} on.*{NAME}"
    ):
        read_object_bytes(file)
    (file.parent / NAME).unlink()
    read_object_bytes(file)


def test_more_is_damage_if_nobody_has_written_the_file(file: Path, caplog) -> None:
    rot(file, 1000, bits=512)
    with pytest.raises(DamagedError, match="is damaged"):
        read_object_bytes(file)
    rot(file, 1000, bits=512, bit=3, keep_time=False)
    assert not verify_recorded(file, read_object_bytes(file))
    assert "another program has written it since dkt did, or it is damaged" in caplog.text


def test_another_size(file: Path) -> None:
    stat = file.stat()
    file.write_bytes(DATA[:-1])
    assert not verify_recorded(file, DATA[:-1])
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(DamagedError, match=f"{len(DATA) - 1} bytes of {len(DATA)}"):
        verify_recorded(file, DATA[:-1])


def test_another_program_may_write_the_file_anew(file: Path, caplog) -> None:
    file.write_bytes(np.random.default_rng(1).bytes(1000))
    assert read_object_bytes(file) and not caplog.records
    file.write_bytes(np.random.default_rng(1).bytes(len(DATA)))
    assert read_object_bytes(file)
    # What others wrote is not taken for ours when the checksums of another file are written.
    write_recorded(file.with_name("tree"), b"tree")
    assert not verify_recorded(file, file.read_bytes()) and recorded(file.parent) == [file.with_name("tree")]
    write_recorded(file, b"ours again")
    assert verify_recorded(file, b"ours again")


def test_copies(file: Path, tmp_path: Path) -> None:
    """With its time of modification or without it, alone or with its directory, or through a link."""
    for number, copy in enumerate((shutil.copy2, shutil.copyfile)):
        there = tmp_path / str(number)
        shutil.copytree(file.parent, there, copy_function=copy, ignore=shutil.ignore_patterns("[0-9]"))
        assert verify_recorded(there / file.name, DATA)
        (there / "link").symlink_to(file.name)
        rot(there / file.name, 70000, 2, keep_time=False)
        for name in ("link", file.name):
            with pytest.raises(DamagedError, match=f"{name}: is damaged"):
                read_object_bytes(there / name)
        alone = tmp_path / "alone"
        alone.mkdir(exist_ok=True)
        copy(there / file.name, alone / file.name)
        assert read_object_bytes(alone / file.name)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 99, b'{"format": 1, "files": {"final.mdl": 3}}'])
def test_damaged_checksums_are_none(file: Path, content: bytes) -> None:
    for data in (content, checksums.seal(content)):
        (file.parent / NAME).write_bytes(data)
        assert not verify_recorded(file, DATA)
    rot(file, 5)
    write_recorded(file, DATA)
    assert verify_recorded(file, DATA)


def test_a_crash_while_the_file_is_replaced_leaves_nothing_recorded(file: Path, monkeypatch) -> None:
    old = checksums.replace_file

    def crash(path: Path, data: bytes) -> None:
        old(path, data)
        if path.name == "final.mdl":
            raise DktError("crashed")

    monkeypatch.setattr(checksums, "replace_file", crash)
    with pytest.raises(DktError, match="crashed"):
        write_recorded(file, DATA[:-1] + b"!")
    assert recorded(file.parent) == []
    read_object_bytes(file)


def test_files_of_the_chain(tmp_path: Path) -> None:
    model = two_phone_model()
    gmm = AmDiagGmm.flat(np.zeros(3), np.ones(3), model.num_pdfs)
    save_gmm(tmp_path / "40.mdl", model, gmm)
    (tmp_path / "final.mdl").symlink_to("40.mdl")
    save_tree(tmp_path / "tree", monophone_tree([[1], [2]], model.topology))
    save_counts(tmp_path / "ali_train_pdf.counts", np.array([1.5, 2.5]))
    readers = {
        "final.mdl": [load_gmm, load_transition_model],
        "tree": [load_tree],
        "ali_train_pdf.counts": [load_counts],
    }
    assert main(["verify", str(tmp_path)]) == 0
    for name, loads in readers.items():
        data = (tmp_path / name).read_bytes()
        for byte in range(0, len(data), max(len(data) // 40, 1)):
            rot(tmp_path / name, byte, byte % 8, keep_time=byte % 2 == 0)
            for load in loads:
                with pytest.raises(DamagedError, match=f"{name}: is damaged"):
                    load(tmp_path / name)
            assert main(["verify", str(tmp_path)]) == 1
            rot(tmp_path / name, byte, byte % 8)
        for load in loads:
            load(tmp_path / name)


def test_a_graph(tmp_path: Path) -> None:
    arcs = np.array([(3, 1, 0.5, 1), (4, 0, 0.25, 1)], dtype=ARC)
    fst = FstArrays(0, np.array([np.inf, 1.0], np.float32), np.array([0, 2, 2]), arcs)
    write_recorded(tmp_path / "HCLG.fst", fst.to_bytes("const"))
    load_fst(tmp_path / "HCLG.fst")
    rot(tmp_path / "HCLG.fst", len(fst.to_bytes("const")) - 10, 5, keep_time=False)
    with pytest.raises(DamagedError, match=r"HCLG\.fst: is damaged"):
        load_fst(tmp_path / "HCLG.fst")
