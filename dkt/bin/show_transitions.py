"""``dkt show-transitions <phones.txt> <final.mdl> [<occs>]``: every transition-id, as Kaldi prints them."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("phones", metavar="phones.txt")
    parser.add_argument("model", help="final.mdl; what follows the transition model is ignored")
    parser.add_argument("occs", nargs="?", help="final.occs: frames of each pdf, printed too")


def run(args: argparse.Namespace) -> None:
    """Print the transition model."""
    from dkt.hmm.inspection import load_occupancies, show_transitions
    from dkt.hmm.transition_model import load_transition_model
    from dkt.util.symbols import read_symbol_table

    names = {number: symbol for symbol, number in read_symbol_table(args.phones).items()}
    model = load_transition_model(args.model)
    occs = load_occupancies(args.occs, model.num_pdfs) if args.occs else None
    for line in show_transitions(model, names, occs, args.phones):
        print(line)
