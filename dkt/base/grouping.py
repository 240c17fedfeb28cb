"""Ranges and groups of rows, as array operations."""

from __future__ import annotations

import numpy as np


def expand(begins: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All the integers of n ranges one after another: for each the number of its range, and the integer."""
    counts = ends - begins
    owners = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return owners, np.arange(len(owners)) + (begins - before)[owners]


def offsets_of(owners: np.ndarray, count: int) -> np.ndarray:
    """Where the rows of each of ``count`` owners are, once rows are in the order of owners.

    Args:
        owners: of each row, integers from 0 to ``count - 1`` in any order, shape ``(n,)``.
        count: how many owners there are.

    Returns:
        int64 of shape ``(count + 1,)``: the rows of owner k are those from ``[k]`` to ``[k + 1]``.
    """
    return np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=count))])


def best_of_each(groups: np.ndarray, members: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """The row of the lowest cost for each pair of group and member, in the order of groups, then members.

    Args:
        groups, members: integers from 0, shape ``(n,)``.
        costs: shape ``(n,)``; of two that are equal the first row is taken.
    """
    if not len(costs):
        return np.empty(0, dtype=np.int64)
    # One sort of whole numbers is much quicker than one by several keys.
    keys = groups.astype(np.int64) * (int(members.max()) + 1) + members
    order = np.argsort(keys)
    keys, costs = keys[order], costs[order]
    begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    best = np.repeat(np.minimum.reduceat(costs, begins), np.diff(np.append(begins, len(keys))))
    return np.minimum.reduceat(np.where(costs == best, order, len(order)), begins)
