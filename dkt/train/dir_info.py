"""What a directory of Kaldi's or of dkt holds, in one line, as of Kaldi's ``steps/info/*_dir_info.pl``.

PyTorch is not needed for it: of models, the headers are read.
"""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dkt.base.directory_kinds import ALIGNMENTS, NUMBERED_MODEL, Kind, kinds_in
from dkt.base.errors import DktError
from dkt.base.files import cannot_read, is_there, read_file
from dkt.train.network_info import network_facts
from dkt.util.text import read_lines
from dkt.validate.data_info import data_facts

Facts = dict[str, Any]

_DECODE = "decode"
_LATTICES = re.compile(r"lat\.[0-9]+\.gz")
_SCORES = re.compile(r"wer_[0-9].*")
# Directories of an experiment without decode directories in them, some with very many files.
_NOT_SEARCHED = ("log", "q", "egs", "phones", "configs")
# Said only of what is not so.
_UNLESS = {"finished": "unfinished", "scored": "not-scored"}
_MILLION = 1_000_000
# Numbers below it are shown with four decimals.
_SMALL = 10
_HINT = "give a directory of data, a lang, a GMM, alignments, a graph, a network, soft targets or lattices"


def directory_info(directory: str | Path) -> Facts:
    """What a directory holds.

    Args:
        directory: of data, a lang, a GMM, alignments, a graph, a network, soft targets or lattices.

    Returns:
        Plain values by their names: ``dir``, ``kind``, and what there is to tell of a directory of that kind.
        What is not known is left out.

    Raises:
        DktError: it is missing, empty, damaged or something else.
    """
    path = Path(directory)
    try:
        kind = _kind_of(path)
        facts = _DESCRIBERS[kind](path)
    except DktError as error:
        if str(path) in str(error):
            raise
        # An archive elsewhere is at fault.
        raise DktError(str(error), path=path) from None
    except OSError as error:
        raise cannot_read(Path(error.filename or path), error) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DktError(f"cannot be read ({type(error).__name__}: {error})", path=path) from None
    known = {name: value for name, value in facts.items() if value not in (None, {})}
    return {"dir": str(directory), "kind": kind, **known}


def as_json(infos: list[Facts]) -> str:
    """A list of what ``directory_info`` found, in JSON; what is not a number there is null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps([plain(info) for info in infos], indent=1)


def as_line(info: Facts) -> str:
    """What ``directory_info`` found, in one line."""
    left_out = ["dir", "kind", *(["num_pdfs"] if "shape" in info else [])]
    words = [_shown(name, value) for name, value in info.items() if name not in left_out]
    # A name may hold a line end.
    name = info["dir"].replace("\n", "\\n")
    return f"{name}: {_LABELS[info['kind']]}: {' '.join(filter(None, words))}"


def _shown(name: str, value: Any) -> str:
    label = name.replace("_", "-")
    if name in _UNLESS:
        return "" if value else _UNLESS[name]
    if name == "best_wer":
        rates = value if isinstance(value, dict) else {"": value}
        return " ".join(f"best-wer{of and f'[{of}]'}={rate:.2f}%" for of, rate in rates.items())
    if isinstance(value, dict):
        return f"{label}:{'/'.join(value)}={'/'.join(map(_decimal, value.values()))}"
    if isinstance(value, list):
        return f"{label}={','.join(map(_text, value))}"
    if name == "hours":
        return f"{label}={_decimal(value)}"
    if name == "num_params" and value >= _MILLION:
        return f"{label}={value / _MILLION:.2f}M"
    # The kind of network and its shape are known by what they look like.
    return str(value) if name in ("network", "shape") else f"{label}={_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _decimal(value: float) -> str:
    return f"{value:.4f}" if abs(value) < _SMALL else f"{value:.2f}"


def _kind_of(directory: Path) -> str:
    """The name of a kind of directory: of ``Kind`` in small letters, or ``decode``."""
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise DktError(what, path=directory, hint=_HINT)
    names = [path.name for path in directory.iterdir()]
    if not names:
        raise DktError("is empty", path=directory, hint=_HINT)
    _refuse_pipes(directory)
    found = list(kinds_in(directory))
    # num_jobs alone, by which alignments are known otherwise, is of lattices too.
    if found in ([], [Kind.ALIGNMENTS]) and _is_decoded(names):
        return _DECODE
    if not found:
        inside = any(kinds_in(path) for path in directory.iterdir() if path.is_dir())
        hint = f"give what is in it: {directory}/*" if inside else _HINT
        raise DktError("holds nothing that dkt knows", path=directory, hint=hint)
    # An experiment may have its graph beside its model.
    return next((kind for kind in found if kind is not Kind.GRAPH), found[0]).name.lower()


def _refuse_pipes(directory: Path) -> None:
    """Make sure that no file of a directory is a pipe, from which reading would wait for ever."""
    with os.scandir(directory) as entries:
        for entry in entries:
            # What the directory itself tells spares a look at each file.
            plain = entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
            if not plain and Path(entry).is_fifo():
                raise DktError("is a pipe, expected a file", path=entry.path, hint="remove it")


def _is_decoded(names: list[str]) -> bool:
    if any(map(ALIGNMENTS.fullmatch, names)):
        return False
    return "scoring_kaldi" in names or any(
        pattern.fullmatch(name) for name in names for pattern in (_LATTICES, _SCORES)
    )


def _decode_directories(experiment: Path, depth: int = 2) -> Iterator[Path]:
    """The decode directories of an experiment, and of the experiments within it."""
    for path in sorted(experiment.iterdir()):
        if path.name.startswith(".") or path.name in _NOT_SEARCHED or not path.is_dir():
            continue
        if experiment.resolve().is_relative_to(path.resolve()):
            # A link back.
            continue
        if _is_decoded([inner.name for inner in path.iterdir()]):
            yield path
        elif depth > 1:
            yield from _decode_directories(path, depth - 1)


def _best_wers(experiment: Path) -> dict[str, float]:
    """Decode directory to its best word error rate, in percent; those that were not scored are left out."""
    rates = ((path, _best_wer(path)) for path in _decode_directories(experiment))
    return {path.relative_to(experiment).as_posix(): rate for path, rate in rates if rate is not None}


def _best_wer(directory: Path) -> float | None:
    from dkt.score.best_wer import lowest, read_scan
    from dkt.score.scored_dir import read_best_wer

    for place in filter(Path.is_dir, (directory, directory / "scoring_kaldi")):
        _refuse_pipes(place)
    best = read_best_wer(directory)
    rate = None if best is None else best.wer
    # They are empty while the scoring is at work.
    scores = (path for path in directory.iterdir() if _SCORES.fullmatch(path.name))
    if rate is None and any(path.is_file() and path.stat().st_size for path in scores):
        # Kaldi's older scripts leave only the scan.
        rate = 100.0 * lowest(read_scan(directory)).error_rate
    return rate


def _network(directory: Path) -> Facts:
    return network_facts(directory) | {"best_wer": _best_wers(directory)}


def _gmm(directory: Path) -> Facts:
    numbers = sorted(int(m[1]) for path in directory.iterdir() if (m := NUMBERED_MODEL.fullmatch(path.name)))
    final = directory / "final.mdl"
    linked = NUMBERED_MODEL.fullmatch(Path(final.readlink()).name) if final.is_symlink() else None
    finished = is_there(final)
    num_iters = int(linked[1]) if linked else max(numbers, default=None)
    facts = model_facts(final if finished else directory / f"{num_iters}.mdl")
    model = facts.pop("model")
    if model == "transition-model":
        raise DktError("no GMM follows the transition model", path=final, hint="copy or make it again")
    if model != "gmm":
        return {"kind": "network", **facts, "finished": finished, "best_wer": _best_wers(directory)}
    jobs = {"nj": _num_jobs(directory, "ali")} if (directory / "num_jobs").is_file() else {}
    progress = {"num_iters": num_iters, "finished": finished}
    return facts | jobs | progress | {"best_wer": _best_wers(directory)}


def model_facts(path: Path) -> Facts:
    """What is in a ``final.mdl``: a transition model, and the mixtures or the network of Kaldi's after it.

    Raises:
        DktError: it is damaged.
    """
    from dkt.gmm.gmm import load_gmm
    from dkt.hmm.transition_model import read_transition_model
    from dkt.util.object_io import ObjectReader

    reader = ObjectReader.open(path)
    transitions = read_transition_model(reader)
    num_pdfs = transitions.num_pdfs
    network = {"<Nnet3>": "nnet3", "<Nnet>": "nnet2"}.get(reader.peek_token())
    if reader.at_end():
        return {"model": "transition-model", "num_pdfs": num_pdfs}
    if network is not None:
        return {"model": network, "network": network, "num_pdfs": num_pdfs}
    _, gmm = load_gmm(path)
    return {"model": "gmm", "num_pdfs": num_pdfs, "num_gauss": gmm.num_gauss, "dim": gmm.dim}


def _num_jobs(directory: Path, stem: str) -> int:
    """What ``num_jobs`` says, the files of all jobs being there."""
    from dkt.hmm.alignments import read_num_jobs

    number = read_num_jobs(directory)
    for job in range(1, number + 1):
        file = directory / f"{stem}.{job}.gz"
        if not file.is_file() or not file.stat().st_size:
            what = "is empty" if file.is_file() else "does not exist"
            raise DktError(f"{what}, num_jobs is {number}", path=file, hint="make the directory again")
    return number


def _alignments(directory: Path) -> Facts:
    from dkt.util.table import read_gzipped_int_vectors

    num_jobs, num_utts, num_frames = _num_jobs(directory, "ali"), 0, 0
    for job in range(1, num_jobs + 1):
        for _, ids in read_gzipped_int_vectors(directory / f"ali.{job}.gz"):
            num_utts += 1
            num_frames += len(ids)
    sizes = {"nj": num_jobs, "num_utts": num_utts, "num_frames": num_frames}
    return sizes | model_facts(directory / "final.mdl")


def _targets(directory: Path) -> Facts:
    from dkt.targets.header import load_header

    file = load_header(directory)
    script = directory / "soft.scp"
    finished = file.num_utterances is not None and script.is_file()
    if finished and file.script_crc32 is not None and zlib.crc32(read_file(script)) != file.script_crc32:
        raise DktError("is damaged, or was changed (its checksum is wrong)", path=script)
    header = file.header()
    return {
        "num_utts": file.num_utterances if finished else None,
        "num_pdfs": header.num_pdfs,
        "top_k": "all" if header.top_k is None else header.top_k,
        "temperatures": list(header.temperatures),
        "teacher": header.fingerprint or None,
        "nj": file.num_jobs,
        "finished": finished,
    }


def _lang(directory: Path) -> Facts:
    from dkt.util.symbols import RESERVED, read_symbol_table

    def count(name: str) -> int:
        # Symbols of disambiguation are neither words nor phones.
        symbols = read_symbol_table(directory / name)
        return sum(symbol not in RESERVED and not re.fullmatch(r"#[0-9]+", symbol) for symbol in symbols)

    facts = {"num_words": count("words.txt"), "num_phones": count("phones.txt")}
    return facts | {"has_grammar": (directory / "G.fst").is_file()}


def _graph(directory: Path) -> Facts:
    from dkt.fstext.openfst import parse_openfst
    from dkt.util.object_io import read_object_bytes

    path = directory / "HCLG.fst"
    fst = parse_openfst(read_object_bytes(path), path)
    return {"num_states": len(fst.final), "num_arcs": len(fst.arcs)}


def _decoded(directory: Path) -> Facts:
    has_lattices = any(_LATTICES.fullmatch(path.name) for path in directory.iterdir())
    num_jobs = _num_jobs(directory, "lat") if has_lattices else None
    rate = _best_wer(directory)
    sizes = {"nj": num_jobs, "num_utts": _num_decoded(directory, num_jobs)}
    return sizes | {"scored": rate is not None, "best_wer": rate}


def _num_decoded(directory: Path, num_jobs: int | None) -> int | None:
    """Utterances with a lattice, as ``steps/decode.sh`` noted them; None of other lattices."""
    noted = [directory / f".decoded.{job}" for job in range(1, (num_jobs or 0) + 1)]
    if not noted or not all(path.is_file() for path in noted):
        return None
    return sum(len(read_lines(path)) for path in noted)


_DESCRIBERS: Mapping[str, Callable[[Path], Facts]] = {
    "data": data_facts,
    "lang": _lang,
    "graph": _graph,
    "targets": _targets,
    "network": _network,
    "gmm": _gmm,
    "alignments": _alignments,
    _DECODE: _decoded,
}
_LABELS = {kind.name.lower(): kind.value.removeprefix("a ") for kind in Kind} | {_DECODE: "decode directory"}
