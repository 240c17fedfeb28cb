"""``dkt report [--out=exp/report] <system>=<exp-dir>...``."""

from __future__ import annotations

import argparse
from pathlib import Path

from dkt.base.errors import DktError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--out", default="exp/report", help="directory of results.csv and the picture")
    parser.add_argument("systems", nargs="+", metavar="system=exp-dir", help="for example dnn=exp/dnn")


def run(args: argparse.Namespace) -> None:
    """Collect the figures, print the table, write results.csv and learning_curves.png."""
    from dkt.decoder.search_beams import compare_beams
    from dkt.train.learning_curves import plot_learning_curves
    from dkt.train.report import collect_rows, save_results, table, table_of_means

    systems = []
    for text in args.systems:
        name, equals, directory = text.partition("=")
        if not equals or not name:
            raise DktError(f"'{text}': expected system=exp-dir")
        systems.append((name, Path(directory)))
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    results = [collect_rows(name, directory) for name, directory in systems]
    save_results(out / "results.csv", results)
    print(table(results))
    means = table_of_means(results)
    if means:
        print(f"\n{means}\n")
    beams = compare_beams(systems)
    if beams:
        print(beams)
    print(f"figures: {out}/results.csv")
    if plot_learning_curves(out / "learning_curves.png", systems):
        print(f"learning curves: {out}/learning_curves.png")
