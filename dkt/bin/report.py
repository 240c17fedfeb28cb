"""``dkt report [--out=exp/report] <system>=<exp-dir>...``."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from dkt.base import ranges
from dkt.bin.common.devices import add_device_options, choose_device
from dkt.bin.common.options import Number
from dkt.score.significance import DEFAULT_REPLICATIONS, DEFAULT_SEED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--out",
        default="exp/report",
        help="directory of report.html, results.md, results.csv and learning_curves.png",
    )
    parser.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="SYSTEM",
        help="test the others against it; may be given several times (lstm-hard and dnn, if they are there)",
    )
    for part in ("dev", "test"):
        parser.add_argument(
            f"--decode-{part}",
            default=f"decode_{part}",
            metavar="NAME",
            help=f"the decode directory of {part}, within each exp-dir",
        )
    parser.add_argument(
        "--replications",
        type=Number(ranges.REPLICATIONS),
        default=DEFAULT_REPLICATIONS,
        help="of the bootstrap",
    )
    parser.add_argument("--seed", type=Number(ranges.SEED), default=DEFAULT_SEED, help="of all random draws")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="dev data to look at posteriors of (that of each training, as its log tells)",
    )
    parser.add_argument("--ali", metavar="DIR", help="alignments of it (those of the first training)")
    parser.add_argument(
        "--num-utts",
        type=Number(ranges.COUNT),
        default=100,
        help="how many of its utterances; 0 for no posteriors",
    )
    parser.add_argument("--utterance", metavar="UTT", help="the one whose posteriors are drawn")
    add_device_options(parser)
    # A minute's work is no reason to take a GPU from a training.
    parser.set_defaults(use_gpu="no")
    parser.add_argument(
        "systems",
        nargs="+",
        metavar="system=exp-dir",
        help="for example dnn=exp/dnn; a name again for another seed",
    )


def run(args: argparse.Namespace) -> None:
    """Compare the systems; print the table, write it and the page."""
    from dkt.decoder.search_beams import compare_beams
    from dkt.report.comparisons import compare_all, evaluate
    from dkt.report.outputs import tables, write_report
    from dkt.report.results import Results
    from dkt.report.systems import choose_references, load_systems, named_directories
    from dkt.report.table import make_rows

    named = named_directories(args.systems)
    decoded = {"dev": args.decode_dev, "test": args.decode_test}
    notes: list[str] = []
    systems = load_systems(named, notes, decoded)
    references = choose_references(systems, args.reference)
    found = {part: evaluate(part, systems, notes, args.replications, args.seed) for part in decoded}
    evaluations = {part: evaluation for part, evaluation in found.items() if evaluation is not None}
    comparisons = compare_all(list(evaluations.values()), systems, references, notes)
    beams = compare_beams(named, decoded)
    notes += [beams] if beams else []
    beliefs = None
    if args.num_utts and (args.data or any(system.network for system in systems)):
        from dkt.nnet.scorer import OutputOptions, load_scorer
        from dkt.report.posteriors import Sample, look_at_posteriors

        load = partial(load_scorer, options=OutputOptions(apply_log=True), device=choose_device(args))
        sample = Sample(
            Path(args.data) if args.data else None,
            Path(args.ali) if args.ali else None,
            args.num_utts,
            args.utterance,
            args.seed,
        )
        beliefs = look_at_posteriors(systems, load, sample, notes)
    names = [reference.name for reference in references]
    rows = make_rows(systems, evaluations, comparisons)
    results = Results(systems, names, rows, evaluations, comparisons, args.replications, beliefs, notes)
    print("\n\n".join([*tables(results), *filter(None, [results.method])]))
    for note in notes:
        print(f"note: {note}")
    for line in write_report(Path(args.out), results):
        print(line)
