"""Model directories of vosk: a network of nnet3, its graph, and the configuration of features and search.

Vosk computes features of what it hears (``Model::ReadDataFiles`` in vosk-api's ``src/model.cc``) and knows no
speakers. Where there are statistics for online CMVN, its package (0.3.45) subtracts the mean of all speech
from every frame, not what ``apply-cmvn-online`` does; so a model is fit for it that was trained without CMVN.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.files import copy_file, replace_file
from dkt.decoder.decoding_graph import load_graph
from dkt.export.nnet3 import compare_nnet3, whole_nnet3
from dkt.export.parity import Parity, ParityData
from dkt.export.trained import TrainedModel
from dkt.feat.extraction import FeatureExtractor, read_config
from dkt.nnet.nnet3.model import encode_nnet3_model
from dkt.util.option_text import to_bool
from dkt.util.symbols import read_symbol_table
from dkt.util.text import read_lines

# Kaldi's defaults: the option that says how many dimensions there are, and their number without it.
_DIMENSIONS = {"mfcc": ("num-ceps", 13), "fbank": ("num-mel-bins", 23)}
# That vosk multiplies the costs of the graph in lattices by, before it takes words from them.
_GRAPH_SCALE = 0.9
_GRAPH_FILES = ("HCLG.fst", "words.txt", "phones.txt")
_PHONES = ("silence.csl", "word_boundary.int")


@dataclass(frozen=True)
class VoskOptions:
    """What vosk has to know beside the network.

    Attributes:
        graph: the graph directory.
        feature_type: ``mfcc`` or ``fbank``.
        feature_config: the options that the features were computed with.
        lmwt: the language-model weight, as of scoring.
        beam, lattice_beam, max_active: of the search.
    """

    graph: Path
    feature_type: str
    feature_config: Path
    lmwt: float = 10.0
    beam: float = 13.0
    lattice_beam: float = 6.0
    max_active: int = 7000


def export_vosk(model: TrainedModel, out: Path, data: ParityData, options: VoskOptions) -> Parity:
    """Write the directory and compare its network with that of dkt.

    Args:
        model: what to export.
        out: an empty directory.
        data: utterances to compare on.
        options: the rest of what vosk has to know.

    Raises:
        DktError: vosk cannot make the features that the model takes, the graph is of another model, or the
            written network does not compute the same.
    """
    _check_pipeline(model)
    raw_dim = data.raw_dim(model.info)
    _check_features(raw_dim, options)
    for name in ("am", "conf", "graph/phones"):
        (out / name).mkdir(parents=True)
    silence = _copy_graph(model, options.graph, out / "graph")
    _write_feature_config(options, out / "conf" / f"{options.feature_type}.conf")
    lines = [
        f"--beam={options.beam:g}",
        f"--lattice-beam={options.lattice_beam:g}",
        f"--max-active={options.max_active}",
        f"--acoustic-scale={_GRAPH_SCALE / options.lmwt:.6g}",
        "--frame-subsampling-factor=1",
        f"--endpoint.silence-phones={silence}",
    ]
    replace_file(out / "conf" / "model.conf", "".join(f"{line}\n" for line in lines).encode())
    replace_file(out / "am" / "final.mdl", encode_nnet3_model(whole_nnet3(model, raw_dim)))
    copy_file(model.file("tree"), out / "am" / "tree")
    return compare_nnet3(model, out / "am" / "final.mdl", data)


def _check_pipeline(model: TrainedModel) -> None:
    """Raise DktError unless vosk can normalise features as the model was trained."""
    features = model.info.feature_options
    hint = "train it with features.cmvn_opts null: the network normalises its input by itself"
    if features.parse_cmvn(model.directory) is not None:
        raise DktError(
            f"was trained with CMVN per speaker ({features.describe()}), which vosk cannot do",
            path=model.directory,
            hint=hint,
        )
    if features.online_cmvn_opts is not None:
        raise DktError(
            f"was trained with online CMVN ({features.describe()}), which vosk does otherwise",
            path=model.directory,
            hint=hint,
        )
    if features.ivector_dim:
        raise DktError(
            "takes i-vectors, whose extractor dkt has no form of", path=model.directory, hint="train without"
        )


def _check_features(expected: int, options: VoskOptions) -> None:
    """Raise DktError unless the features are of the dimension that the model takes."""
    values = read_config(options.feature_config)
    try:
        # Kaldi knows the same options, and ends at another one.
        FeatureExtractor(options.feature_type, values)
    except DktError as error:
        raise DktError(str(error), path=options.feature_config) from None
    name, default = _DIMENSIONS[options.feature_type]
    dim = int(values.get(name, default))
    # Of MFCC it is in the place of one of them.
    dim += options.feature_type == "fbank" and to_bool(values.get("use-energy", "false"))
    if dim != expected:
        raise DktError(
            f"makes features of dimension {dim}, the model takes {expected}",
            path=options.feature_config,
            hint="give the configuration that its features were computed with",
        )


def _write_feature_config(options: VoskOptions, path: Path) -> None:
    """Copy the configuration, without dither, which would make results differ from run to run."""
    # Of an option that is given twice Kaldi takes the last.
    lines = [*read_lines(options.feature_config), "--dither=0"]
    replace_file(path, "".join(f"{line}\n" for line in lines).encode())


def _copy_graph(model: TrainedModel, graph: Path, target: Path) -> str:
    """Copy what vosk reads of a graph directory; the silence phones, between colons."""
    for name in (*_GRAPH_FILES, f"phones/{_PHONES[0]}"):
        if not (graph / name).is_file():
            raise DktError("does not exist", path=graph / name, hint="give the graph directory of mkgraph.sh")
    phones = model.file("phones.txt")
    if read_symbol_table(phones) != read_symbol_table(graph / "phones.txt"):
        raise DktError(
            f"has other phones than {phones}", path=graph / "phones.txt", hint="give the graph of this model"
        )
    _check_pdfs(model, graph / "num_pdfs")
    words = read_symbol_table(graph / "words.txt")
    load_graph(graph / "HCLG.fst", model.transition_model, set(words.values()))
    silence = "".join(read_lines(graph / "phones" / _PHONES[0])).strip()
    if not re.fullmatch(r"\d+(:\d+)*", silence):
        raise DktError(
            f"holds {silence[:80]!r}, expected the numbers of the silence phones between colons",
            path=graph / "phones" / _PHONES[0],
            hint="make the language directory and the graph again",
        )
    for name in _GRAPH_FILES:
        copy_file(graph / name, target / name)
    for name in _PHONES:
        if (graph / "phones" / name).is_file():
            copy_file(graph / "phones" / name, target / "phones" / name)
    return silence


def _check_pdfs(model: TrainedModel, path: Path) -> None:
    """Raise DktError if ``mkgraph.sh`` noted that a graph is of another number of pdfs."""
    expected = str(model.info.num_pdfs)
    if path.is_file() and (found := "".join(read_lines(path)).strip()) != expected:
        raise DktError(
            f"says {found[:80]!r}, the model has {expected} pdfs",
            path=path,
            hint="give the graph of this model",
        )
