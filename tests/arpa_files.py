"""ARPA files as tests compare them."""

from __future__ import annotations

from pathlib import Path

from dkt.lm.arpa import ArpaModel, NGram, iter_arpa


def read_arpa(path: str | Path, unk: str | None = None) -> ArpaModel:
    """Read a whole ARPA file; ``unk`` is the name of its unknown word."""
    order, entries = iter_arpa(path)
    tables: list[dict[NGram, tuple[float, float]]] = [{} for _ in range(order)]
    for ngram, log_prob, backoff in entries:
        tables[len(ngram) - 1][ngram] = (log_prob, backoff)
    return ArpaModel(tables, unk)
