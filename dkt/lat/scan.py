"""Best paths of lattices at several language-model weights and word insertion penalties."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from dkt.base.tally import Tally
from dkt.lat.lattice import CompactLattice
from dkt.lat.paths import CostScale, best_paths
from dkt.score.scan_points import ScanTexts, acoustic_scale
from dkt.util.progress import told
from dkt.util.symbols import to_words

logger = logging.getLogger(__name__)


def scan_lattices(
    lattices: Iterable[tuple[str, CompactLattice]],
    lmwts: Sequence[str],
    penalties: Sequence[str],
    words: dict[int, str],
    out_dir: str | Path,
    tally: Tally,
) -> None:
    """Write the words of every lattice's best path at each point to ``out_dir/<lmwt>_<penalty>.txt``.

    At weight w acoustic costs are multiplied by 1 / w, then the penalty is added to every word (Kaldi's
    ``lattice-scale --inv-acoustic-scale``, ``lattice-add-penalty``, ``lattice-best-path``). A lattice without
    a path gets lines without words, so that it counts as deletions, and is counted as lost.

    Args:
        lattices: utterances and lattices.
        lmwts, penalties: as they are to stand in the file names.
        words: integers of ``words.txt`` to words.
        out_dir: where to; each file is written whole, at the end.
        tally: counts the lattices without a path.

    Raises:
        DktError: a weight is not above 0, a word is not in ``words``, or a file cannot be written.
    """
    scales = {lmwt: acoustic_scale(lmwt) for lmwt in lmwts}
    texts = ScanTexts(lmwts, penalties, out_dir)
    points = [CostScale(1.0, scales[lmwt], float(penalty)) for lmwt, penalty in texts]
    for utt, lattice in told(lattices, tally.what):
        paths = best_paths(lattice, points)
        for point, path in zip(texts, paths, strict=True):
            texts.add(point, utt, to_words(path.words if path else [], words, "words.txt"))
        if None in paths:
            tally.drop(utt, "no path leads to a final state")
        else:
            tally.done()
    texts.write()
    logger.info("Best paths of %d lattices at %d points, into %s", tally.num_done, len(texts), out_dir)
