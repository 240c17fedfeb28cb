"""``dkt est-lda [options] <lda-matrix-out> <lda-acc-1> [<lda-acc-2> ...]``."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.flags import add_flag
from dkt.bin.common.options import Number
from dkt.util.option_text import boolean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; names and defaults are Kaldi's."""
    parser.add_argument("--binary", type=boolean, default=True, help="write in binary form")
    parser.add_argument("--dim", type=Number(ranges.DIMENSION), default=40, help="dimension to project to")
    add_flag(parser, "--remove-offset", "make the mean of the transformed features zero")
    add_flag(parser, "--allow-large-dim", "allow a dimension that the classes do not differ in")
    parser.add_argument(
        "--within-class-factor",
        type=Number(ranges.WEIGHT),
        default=1.0,
        help="less than 1 scales down directions in which the classes differ little",
    )
    parser.add_argument("--write-full-matrix", metavar="FILE", help="also write the matrix of all dimensions")
    parser.add_argument("matrix", metavar="lda-matrix-out", help="file to write")
    parser.add_argument("accs", metavar="lda-acc", nargs="+", help="statistics of acc-lda")


def run(args: argparse.Namespace) -> None:
    """Estimate the transform."""
    from dkt.base.errors import DktError
    from dkt.transform.lda_files import sum_accumulators
    from dkt.util.object_io import ObjectWriter

    stats = sum_accumulators(args.accs)
    try:
        transform = stats.estimate(
            args.dim, args.within_class_factor, args.remove_offset, args.allow_large_dim
        )
    except DktError as error:
        raise DktError(str(error), path=args.accs[0]) from None
    outputs = {args.matrix: transform}
    if args.write_full_matrix:
        outputs[args.write_full_matrix] = stats.estimate_full(args.within_class_factor, args.remove_offset)[0]
    for path, matrix in outputs.items():
        writer = ObjectWriter(args.binary)
        writer.matrix(matrix)
        writer.save(path)
