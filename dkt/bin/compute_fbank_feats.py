"""``dkt compute-fbank-feats [--config=fbank.conf] <wav-rspecifier> <wspecifier>``."""

from __future__ import annotations

import argparse

from dkt.bin.common import feature_options

add_arguments = feature_options.add_arguments("fbank")


def run(args: argparse.Namespace) -> None:
    """Compute filterbanks."""
    feature_options.run_extraction("fbank", args)
