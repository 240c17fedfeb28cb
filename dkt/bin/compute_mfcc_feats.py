"""``dkt compute-mfcc-feats [--config=mfcc.conf] <wav-rspecifier> <wspecifier>``."""

from __future__ import annotations

import argparse

from dkt.bin.common import feature_options

add_arguments = feature_options.add_arguments("mfcc")


def run(args: argparse.Namespace) -> None:
    """Compute MFCC."""
    feature_options.run_extraction("mfcc", args)
