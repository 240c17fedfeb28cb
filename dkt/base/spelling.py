"""Names that are not known: which known one was meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def near(name: str, known: Collection[str]) -> str | None:
    """That of the known names which somebody who wrote ``name`` may have meant; None if there is none."""
    found = difflib.get_close_matches(name, known, n=1)
    return found[0] if found else None


def nearest(name: str, known: Collection[str], form: str = "{}") -> str:
    """What to tell who gave a name that is not known: the nearest that is, or all of them.

    Args:
        name: what was given.
        known: what might have been.
        form: how the nearest is shown.
    """
    found = near(name, known)
    return f"did you mean {form.format(found)}?" if found else f"known are {', '.join(sorted(known))}"
