"""How a search for lattices can fail, whichever way it is computed."""

from __future__ import annotations

from dkt.base.errors import DktError
from dkt.decoder.decode_table import NoPathError


class TooManyLinksError(Exception):
    """The search holds too many arcs."""


def no_path_left(num_frames: int) -> NoPathError:
    """Every path was pruned."""
    return NoPathError(f"no path is left after {num_frames} frames", hint="widen the beam")


def no_final_state() -> NoPathError:
    """No path ends in a final state."""
    return NoPathError("no path reached a final state", hint="widen the beam, or allow partial paths")


def lost_in_rounding() -> NoPathError:
    """Sums of costs are rounded by more than the lattice beam: the best path seems to be beyond it."""
    return NoPathError(
        "its costs are too large, or --lattice-beam too small, for the precision of their sums",
        hint="look at the log-likelihoods",
    )


def negative_loop() -> DktError:
    """Round and round, a path becomes better and better."""
    return DktError("the graph has a loop of arcs without frames whose cost is negative")


def loop_without_frames() -> DktError:
    """States of a lattice would have no order."""
    return DktError("the graph has a loop of arcs without frames", hint="make it again without them")
