"""Objects, graphs and archives that gzip compressed, whatever their names; bombs and damage."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.base.gzipped import gunzip, unpacked
from dkt.bin import main
from dkt.hmm.posterior import Posterior, PosteriorWriter, read_posteriors
from dkt.hmm.transition_model import load_transition_model
from dkt.hmm.tree import load_tree
from dkt.lat.io import LatticeWriter, read_compact_lattices
from dkt.util.symbols import read_texts
from dkt.util.table import (
    IntVectorWriter,
    MatrixTable,
    MatrixWriter,
    TextWriter,
    VectorWriter,
    read_int_vectors,
    read_matrices,
    read_vectors,
)
from tests.lattices import read_state_level_lattices

DATA = bytes(range(256)) * 1000


def test_files_one_after_another_are_one_and_zeros_may_follow() -> None:
    packed = gzip.compress(DATA[:1000]) + gzip.compress(DATA[1000:]) + b"\0" * 512
    assert gunzip(packed, "x") == DATA
    stream = unpacked(io.BufferedReader(io.BytesIO(packed)), "x")
    assert stream.read(7) + stream.read() == DATA and not stream.seekable()
    assert gunzip(DATA, "x") == DATA


@pytest.mark.parametrize("size", [9, 11, 200, -1])
def test_a_gzip_file_that_is_cut_short_is_named(size: int) -> None:
    with pytest.raises(DktError, match=r"x\.gz: broken gzip file: Compressed file ended before"):
        gunzip(gzip.compress(DATA)[:size], "x.gz")


def test_damage_is_named() -> None:
    packed = bytearray(gzip.compress(np.random.default_rng(0).bytes(5000)))
    packed[2500] ^= 16
    with pytest.raises(DktError, match=r"x\.gz: broken gzip file"):
        gunzip(bytes(packed), "x.gz")


def test_a_bomb_is_refused_before_it_fills_the_memory() -> None:
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 24)) for _ in range(20)) + packer.flush()
    with pytest.raises(DktError, match="bytes of gzip become more than"):
        gunzip(bomb, "bomb")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    with MatrixWriter(f"ark:{tmp_path}/plain") as writer:
        for utt in ("a", "b"):
            writer.write(utt, np.full((700, 600), ord(utt), dtype=np.float32))
    # Of a name that tells nothing.
    (tmp_path / "packed").write_bytes(gzip.compress((tmp_path / "plain").read_bytes()))
    return tmp_path / "packed"


def test_archives(archive: Path) -> None:
    plain = dict(read_matrices(f"ark:{archive.parent}/plain"))
    for found in (dict(read_matrices(f"ark:{archive}")), MatrixTable(f"ark:cat {archive} |")):
        assert list(found) == ["a", "b"]
        assert all((found[utt] == plain[utt]).all() for utt in plain)
    object_alone = archive.parent / "a.mat"
    object_alone.write_bytes(gzip.compress((archive.parent / "plain").read_bytes()[2:]))
    (archive.parent / "feats.scp").write_text(f"a {object_alone}\n")
    assert (dict(read_matrices(f"scp:{archive.parent}/feats.scp"))["a"] == plain["a"]).all()


@pytest.mark.parametrize("form", ["ark", "ark,t"])
@pytest.mark.parametrize(
    "kind", ["matrices", "vectors", "alignments", "posteriors", "lattices", "states", "texts"]
)
def test_tables_of_every_kind(tmp_path: Path, kaldi_fixtures: Path, kind: str, form: str) -> None:
    """Two members one after the other, which divide an entry."""
    golden = f"ark:{kaldi_fixtures}/golden/nnet1/lat_20.gz"
    values = np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32)
    entries: dict[str, tuple[Any, Any, Any]] = {
        "matrices": (MatrixWriter, read_matrices, [values, values[:3]]),
        "vectors": (VectorWriter, read_vectors, [values[0], values[1]]),
        "alignments": (IntVectorWriter, read_int_vectors, [np.arange(99, dtype=np.int32), np.array([7, 7])]),
        "posteriors": (
            PosteriorWriter,
            read_posteriors,
            [Posterior.of_frames([[(1, 0.5), (3, 0.5)], []])] * 2,
        ),
        "lattices": (LatticeWriter, read_compact_lattices, None),
        "states": (LatticeWriter, read_state_level_lattices, None),
        "texts": (TextWriter, lambda name: read_texts(name).items(), ["a b", "c"]),
    }
    write, read, objects = entries[kind]
    if objects is None:
        objects = [value for _, value in read(golden)][:2]

    def write_all(name: str, table: Iterable[tuple[str, Any]]) -> bytes:
        with write(f"{form}:{tmp_path}/{name}") as writer:
            for utt, value in table:
                writer.write(utt, " ".join(value) if kind == "texts" and name != "plain" else value)
        return (tmp_path / name).read_bytes()

    data = write_all("plain", zip("ab", objects, strict=True))
    half = len(data) // 2
    (tmp_path / "packed").write_bytes(gzip.compress(data[:half]) + gzip.compress(data[half:]))
    again = write_all("of_packed", read(f"ark:{tmp_path}/packed"))
    assert again == write_all("of_plain", read(f"ark:{tmp_path}/plain"))
    assert [utt for utt, _ in read(f"ark:{tmp_path}/packed")] == ["a", "b"]


def test_a_damaged_archive_gives_what_comes_before(archive: Path, capsys: pytest.CaptureFixture) -> None:
    archive.write_bytes(archive.read_bytes()[:-30])
    table = read_matrices(f"ark:{archive}")
    assert next(table)[0] == "a"
    with pytest.raises(DktError, match=r"packed: broken gzip file: Compressed file ended"):
        next(table)
    archive.write_bytes(archive.read_bytes()[:15])
    assert main(["copy-post", f"ark:{archive}", "ark:-"]) == 1
    assert "packed: broken gzip file: Compressed file ended" in capsys.readouterr().err


def test_models_and_trees(kaldi_fixtures: Path, tmp_path: Path) -> None:
    for name, load in (("final.mdl", load_transition_model), ("tree", load_tree)):
        source = kaldi_fixtures / "exp/tri2b" / name
        (tmp_path / name).write_bytes(gzip.compress(source.read_bytes()))
        assert load(tmp_path / name).num_pdfs == load(f"cat {source} |").num_pdfs > 100
    # A file whose name ends as an offset does is still that file.
    (tmp_path / "final.mdl").rename(tmp_path / "final:3")
    assert load_transition_model(tmp_path / "final:3").num_pdfs > 100
