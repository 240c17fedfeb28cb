"""``dkt fix-data <data-dir>``: sorts and filters a data directory, as Kaldi's ``utils/fix_data_dir.sh``."""

from __future__ import annotations

import argparse

from dkt.base.errors import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments, named as in Kaldi's script."""
    for kind in ("utt", "spk"):
        whose = "utterances" if kind == "utt" else "speakers"
        parser.add_argument(
            f"--{kind}-extra-files",
            default="",
            metavar="NAMES",
            help=f"further files of the directory whose keys are {whose}, with blanks between them",
        )
    parser.add_argument("data_dir", help="files that change are kept in its .backup")


def run(args: argparse.Namespace) -> None:
    """Mend the directory and print what was done."""
    from dkt.base.files import BACKUP
    from dkt.util.fix_data import fix_data

    report = fix_data(args.data_dir, args.utt_extra_files.split(), args.spk_extra_files.split())
    for name, changes in sorted(report.changes.items()):
        print(printable(f"{args.data_dir}/{name}: {', '.join(changes)}"))
    if report.num_after == report.num_before:
        print(f"kept all {report.num_after} utterances")
    else:
        print(f"kept {report.num_after} utterances out of {report.num_before}")
    if report.changes:
        print(f"old files are kept in {args.data_dir}/{BACKUP}")
