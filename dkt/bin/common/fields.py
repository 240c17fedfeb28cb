"""Options that are the fields of a dataclass: its defaults are theirs."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any, TypeVar, cast

T = TypeVar("T")


def add_fields(parser: argparse.ArgumentParser, defaults: Any, **options: tuple[Any, str]) -> None:
    """Add options that are fields of a dataclass, under their names.

    Args:
        parser: where to.
        defaults: an instance of the dataclass, of the defaults.
        options: the name of each field, the type of its option, and the help.
    """
    for name, (kind, text) in options.items():
        default = getattr(defaults, name)
        if isinstance(default, tuple):
            default = " ".join(map(str, default))
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=text)


def of_arguments(cls: type[T], args: argparse.Namespace) -> T:
    """A dataclass whose fields are the arguments of their names, those that there are."""
    names = [field.name for field in fields(cast(Any, cls))]
    return cls(**{name: getattr(args, name) for name in names if hasattr(args, name)})
