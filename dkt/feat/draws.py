"""Draws at random that depend on a seed and a name alone: neither on the order nor on the number of jobs."""

from __future__ import annotations

import hashlib

import numpy as np


def generator_of(seed: int, name: str) -> np.random.Generator:
    """The generator of all draws for an utterance, or a recording, by this name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])
