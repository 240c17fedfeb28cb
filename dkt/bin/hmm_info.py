"""``dkt hmm-info <final.mdl>``: sizes of a transition model, as Kaldi prints them."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", help="final.mdl; what follows the transition model is ignored")


def run(args: argparse.Namespace) -> None:
    """Print the sizes."""
    from dkt.hmm.inspection import hmm_info
    from dkt.hmm.transition_model import load_transition_model

    print(hmm_info(load_transition_model(args.model)))
