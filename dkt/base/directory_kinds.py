"""What a directory holds, so that nothing is written over something of another kind."""

from __future__ import annotations

import enum
import re
from pathlib import Path

from dkt.base.errors import DktError

#: What a training of a GMM calls its models, by their iteration.
NUMBERED_MODEL = re.compile(r"([0-9]+)\.mdl")
#: An archive of alignments.
ALIGNMENTS = re.compile(r"ali\.[0-9]+\.gz")


class Kind(enum.Enum):
    """What directories of Kaldi's and of dkt hold, in words."""

    DATA = "a data directory"
    LANG = "a lang directory"
    GRAPH = "a decoding graph"
    TARGETS = "soft targets"
    NETWORK = "a network"
    GMM = "a GMM"
    ALIGNMENTS = "alignments"


# A training writes its configuration before anything else.
_FILES = {
    Kind.DATA: ("utt2spk", "wav.scp", "feats.scp"),
    Kind.LANG: ("L.fst", "topo"),
    Kind.GRAPH: ("HCLG.fst",),
    Kind.TARGETS: ("header.yaml", "soft.scp"),
    Kind.NETWORK: ("final.pt", "final.nnet", "config.yaml", "final.raw"),
}


def kinds_in(directory: str | Path) -> dict[Kind, str]:
    """What a directory holds, each with the file that tells it.

    Networks, alignments and soft targets have a copy of the GMM's ``final.mdl``, a GMM has the alignments of
    its training: of these, one is told.
    """
    try:
        names = sorted(path.name for path in Path(directory).iterdir())
    except OSError:
        return {}
    found = {kind: file for kind, files in _FILES.items() for file in reversed(files) if file in names}
    if Kind.NETWORK in found:
        return found
    model = Path(directory) / "final.mdl"
    numbered = next(filter(NUMBERED_MODEL.fullmatch, names), None)
    alignments = next((name for name in names if ALIGNMENTS.fullmatch(name) or name == "num_jobs"), None)
    if numbered or model.is_symlink():
        found[Kind.GMM] = numbered or model.name
    elif alignments:
        found[Kind.ALIGNMENTS] = alignments
    elif model.is_file() and Kind.TARGETS not in found:
        found[Kind.GMM] = model.name
    return found


def refuse_other_kinds(directory: str | Path, kind: Kind, model: Path | None = None) -> None:
    """Make sure that a directory is empty or holds what is to be written, of an earlier time.

    Args:
        directory: where to write; it need not exist.
        kind: what.
        model: of alignments, the ``final.mdl`` that they are made by: a copy of it alone is what a writer
            that was killed leaves.

    Raises:
        DktError: it holds something else, which is named.
    """
    found = kinds_in(directory)
    found.pop(kind, None)
    if kind in (Kind.NETWORK, Kind.GMM):
        # No file of a graph is one of these.
        found.pop(Kind.GRAPH, None)
    if model is not None and found.get(Kind.GMM) == model.name and _same(Path(directory) / model.name, model):
        del found[Kind.GMM]
    for other, file in found.items():
        raise DktError(
            f"holds {other.value} ({file}), over which {kind.value} would be written",
            path=directory,
            hint="choose another directory",
        )


def _same(first: Path, second: Path) -> bool:
    try:
        return not first.is_symlink() and first.read_bytes() == second.read_bytes()
    except OSError:
        return False
