"""What the rows of open tables name: a thing itself, or where it is, imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

from dkt.base.errors import DktError


def referenced(reference: Any, what: str) -> Any:
    """What a reference ``module:name`` leads to; anything but a text stands for itself.

    Args:
        reference: of a row.
        what: whose it is, for errors: ``network 'gru'``.

    Raises:
        DktError: it leads nowhere. What goes wrong within the module is raised as it is.
    """
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        # Not one that this module imports itself.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
    except (AttributeError, ValueError):
        pass
    raise DktError(f"{what} is at '{reference}', and nothing is there", hint="write module:name")
