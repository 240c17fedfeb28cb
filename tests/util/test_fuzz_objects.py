"""Damaged models, option files and texts: a reader returns or raises DktError, and takes little memory."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dkt.base.config import read_yaml
from dkt.feat.extraction import read_config
from dkt.feat.pipeline import parse_options
from dkt.feat.riff import mend_riff
from dkt.fstext.openfst import ARC, FstContents, encode_openfst, parse_openfst
from dkt.gmm.align import read_phones
from dkt.gmm.gmm import AmDiagGmm, read_gmm, write_gmm
from dkt.hmm.event_map import ConstantEventMap, EventMapWriter, SplitEventMap, TableEventMap
from dkt.hmm.topology import load_topology, write_topology
from dkt.hmm.transition_model import load_transition_model, write_transition_model
from dkt.hmm.tree import load_tree
from dkt.lang.lexicon import read_lexicon
from dkt.transform.lda import LdaAccumulator
from dkt.transform.lda_files import load_accumulator, save_accumulator
from dkt.util.object_io import ObjectReader, ObjectWriter
from dkt.util.symbols import read_symbol_table, read_transcripts
from dkt.util.text import read_keyed_lines, read_lines
from tests.arpa_files import read_arpa
from tests.hmm.test_transitions import two_phone_model
from tests.mutation import FUZZ, check_stands, damaged, every_small_damage

MODEL = two_phone_model()
GMM = AmDiagGmm(np.array([0, 2, 3]), np.array([0.25, 0.75, 1.0]), np.ones((3, 2)), np.full((3, 2), 0.5))
FST = FstContents(
    0,
    np.array([np.inf, 0.5], dtype=np.float32),
    np.array([0, 2, 2]),
    np.array([(1, 2, 0.5, 1), (0, 0, 1.5, 0)], dtype=ARC),
    0,
)
WAV = (
    b"RIFF" + (36 + 8).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    + b"\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0" + b"data" + (8).to_bytes(4, "little") + bytes(8)
)  # fmt: skip
ARPA = b"""
\\data\\
ngram 1=3
ngram 2=1

\\1-grams:
-1.5\t<s>\t-0.25
-0.5\t</s>
-1\ta\t-0.5

\\2-grams:
-0.125\t<s> a

\\end\\
"""
LEXICON = b"a A\na B A\nb B 0.5\n"


def objects(write: Callable[[ObjectWriter], None], writer: type[ObjectWriter] = ObjectWriter) -> list[bytes]:
    """An object in binary and in text form."""
    seeds = []
    for binary in (True, False):
        out = writer(binary)
        write(out)
        seeds.append(out.getvalue())
    return seeds


def write_tree(out: EventMapWriter) -> None:
    split = SplitEventMap(0, (1, 5), ConstantEventMap(3), TableEventMap(-1, [None, ConstantEventMap(1)]))
    for token in ("ContextDependency", 3, 1, "ToPdf"):
        out.token(token) if isinstance(token, str) else out.int32(token)
    out.event_map(split)
    out.token("EndContextDependency")


VALUES = np.array([[1.5, 2.0], [3.0, -4.0]])


#: What reads a file, and bytes that it accepts.
def accumulators() -> list[bytes]:
    """LDA statistics of two classes, binary and text."""
    stats = LdaAccumulator(2, 2)
    stats.accumulate(np.array([[1.0, 2.0], [3.0, 5.0]], np.float32), np.array([0, 1]))
    contents = []
    with tempfile.TemporaryDirectory() as folder:
        for binary in (True, False):
            save_accumulator(Path(folder) / "acc", stats, binary)
            contents.append((Path(folder) / "acc").read_bytes())
    return contents


READERS: dict[str, tuple[list[bytes], Callable[[Path], object]]] = {
    "topology": (objects(lambda out: write_topology(out, MODEL.topology)), load_topology),
    "transitions": (
        objects(lambda out: write_transition_model(out, MODEL)),
        load_transition_model,
    ),
    "gmm": (objects(lambda out: write_gmm(out, GMM)), lambda path: read_gmm(ObjectReader.open(path))),
    "tree": (objects(write_tree, EventMapWriter), load_tree),
    "vector": (objects(lambda out: out.vector(VALUES[0])), lambda path: ObjectReader.open(path).vector()),
    "matrix": (objects(lambda out: out.matrix(VALUES)), lambda path: ObjectReader.open(path).matrix()),
    "lda_accumulator": (accumulators(), load_accumulator),
    "int_vector": (
        objects(lambda out: out.int_vector([1, 2])),
        lambda path: ObjectReader.open(path).int_vector(),
    ),
    "openfst": (
        [encode_openfst(FST, kind) for kind in ("const", "vector")],
        lambda path: parse_openfst(path.read_bytes(), path),
    ),
    "riff": ([WAV], lambda path: mend_riff(path.read_bytes())),
    "arpa": ([ARPA], read_arpa),
    "symbols": ([b"<eps> 0\na 1\n#0 2\n"], read_symbol_table),
    "transcripts": (["u1 a b\nu2\nu3 \u00e9\n".encode()], read_transcripts),
    "lexicon": ([LEXICON], lambda path: read_lexicon(path, {"A", "B", "0.5"}, with_probs=False)),
    "lexiconp": ([b"a 1.0 A\na 0.5 B A\n"], lambda path: read_lexicon(path, {"A", "B"}, with_probs=True)),
    "phones": ([b"1 2\n3:4\n"], read_phones),
    "keyed_lines": ([b"u1 x y\nu2 z\n"], read_keyed_lines),
    "feature_config": ([b"--num-ceps=13 # comment\n\n--use-energy\n"], read_config),
    "yaml": ([b"a: {b: [1, 2.5, null]}\nc: 2001-01-01\n"], read_yaml),
    "option_file": (
        [b"--norm-vars=true --left-context=3", b"--norm-means --delta-order 2"],
        lambda path: parse_options(
            path.read_text(errors="replace"), path, norm_vars=False, left_context=4, delta_order=2
        ),
    ),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "x"


@pytest.mark.parametrize("name", READERS)
def test_undamaged_bytes_are_accepted(path, name):
    """Else damage would only ever meet the first check."""
    seeds, read = READERS[name]
    for content in seeds if name != "option_file" else seeds[:1]:
        path.write_bytes(content)
        read(path)


@pytest.mark.parametrize("name", READERS)
def test_small_damage(path, name):
    seeds, read = READERS[name]
    for content in chain.from_iterable(map(every_small_damage, seeds)):
        path.write_bytes(content)
        check_stands(lambda: read(path), len(content))


@pytest.mark.parametrize("name", READERS)
@FUZZ
@given(data=st.data())
def test_damage(path, name, data):
    seeds, read = READERS[name]
    content = data.draw(damaged(seeds))
    path.write_bytes(content)
    check_stands(lambda: read(path), len(content))


@FUZZ
@given(data=st.data())
def test_damaged_gzip(path, data):
    seeds = [gzip.compress(b"u1 x y\nu2 z\n", mtime=0)]
    content = data.draw(damaged(seeds))
    packed = path.with_suffix(".gz")
    packed.write_bytes(content)
    check_stands(lambda: read_lines(packed), len(content))
