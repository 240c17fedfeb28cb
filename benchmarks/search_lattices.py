"""How fast lattices are made, against the one-best search of kaldi_decoder and Kaldi's own program.

Usage: python benchmarks/search_lattices.py [--utts N] <final.mdl> <HCLG.fst> <loglikes-rspecifier>
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dkt.decoder.faster_decoder import Searcher
from dkt.decoder.lattice_decoder import LatticeSearcher
from dkt.decoder.lattice_generation import LatticeGenerator
from dkt.decoder.token_passing import Beams
from dkt.fstext.fst import load_fst
from dkt.hmm.transition_model import load_transition_model
from dkt.util.table import MatrixWriter, read_matrices

FRAMES_PER_SECOND = 100.0
BEAMS = Beams(beam=13.0, max_active=7000, min_active=200, lattice_beam=8.0)


def seconds_of(search: Callable[[np.ndarray], object], utterances: dict[str, np.ndarray]) -> float:
    """Seconds of processor time of a search of all utterances."""
    begin = time.process_time()
    for loglikes in utterances.values():
        search(loglikes)
    return time.process_time() - begin


def seconds_of_kaldi(program: str, model: str, graph: str, utterances: dict[str, np.ndarray]) -> float:
    """Seconds that Kaldi's program says it took, without reading the graph."""
    options = [
        f"--beam={BEAMS.beam}",
        f"--max-active={BEAMS.max_active}",
        f"--min-active={BEAMS.min_active}",
        f"--lattice-beam={BEAMS.lattice_beam}",
        "--acoustic-scale=0.1",
        "--allow-partial=true",
    ]
    with tempfile.TemporaryDirectory() as folder:
        table = f"ark:{folder}/loglikes.ark"
        with MatrixWriter(table) as writer:
            for utt, loglikes in utterances.items():
                writer.write(utt, loglikes)
        command = [program, *options, model, graph, table, "ark:/dev/null"]
        log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return float(log.rpartition("Time taken")[2].split()[0].rstrip("s:"))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utts", type=int, help="only the first N utterances")
    parser.add_argument("model", help="final.mdl")
    parser.add_argument("graph", help="HCLG.fst")
    parser.add_argument("loglikes", help="rspecifier of log-likelihoods")
    args = parser.parse_args()
    utterances = dict(itertools.islice(read_matrices(args.loglikes), args.utts))
    graph, id2pdf = load_fst(Path(args.graph)), load_transition_model(args.model).id2pdf
    one_best = Searcher(graph, id2pdf, BEAMS.beam, BEAMS.max_active, BEAMS.min_active)
    searcher = LatticeSearcher(graph, id2pdf, BEAMS, allow_partial=True)
    seconds = {
        "kaldi_decoder FasterDecoder, one best": seconds_of(one_best.search, utterances),
        "dkt, search only": seconds_of(searcher.search, utterances),
        "dkt latgen": seconds_of(LatticeGenerator(searcher).search, utterances),
    }
    program = shutil.which("latgen-faster-mapped")
    if program:
        seconds["Kaldi latgen-faster-mapped"] = seconds_of_kaldi(program, args.model, args.graph, utterances)
    num_frames = sum(map(len, utterances.values()))
    print(f"{len(utterances)} utterances, {num_frames} frames")
    print(f"{'':40}{'seconds':>9}{'x real time':>13}{'dkt latgen is':>15}")
    for name, taken in seconds.items():
        times = taken / seconds["dkt latgen"]
        print(f"{name:40}{taken:9.2f}{taken * FRAMES_PER_SECOND / num_frames:13.3f}{times:13.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
