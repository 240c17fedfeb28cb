"""YAML configurations read into typed dataclasses: an unknown key or a value of another type is an error."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from dkt.errors import DktError

T = TypeVar("T")


def load_config(cls: type[T], path: str | Path | None, overrides: Sequence[str] = ()) -> T:
    """Read a configuration; keys that are missing keep their defaults.

    Args:
        cls: a dataclass, possibly of dataclasses.
        path: the YAML file; None for the defaults.
        overrides: ``section.key=value`` settings that win over the file.

    Raises:
        DktError: no YAML, an unknown key (the nearest known one is named) or a value of another type.
    """
    values = read_yaml(path) if path is not None else {}
    for setting in overrides:
        name, equals, text = setting.partition("=")
        if not equals:
            raise DktError(f"'{setting}': expected section.key=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise DktError(f"'{setting}': the value is no YAML") from None
        _set(values, name.strip().split("."), value, setting)
    try:
        return build(cls, values, "")
    except DktError as error:
        raise DktError(str(error), path=path) from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file of ``key: value`` lines; an empty one is an empty dict.

    Raises:
        DktError: it cannot be read or is something else.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DktError(f"cannot be read: {error.strerror}", path=path) from None
    # A date of month 13 or a number of thousands of digits is a ValueError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DktError(f"is no YAML: {error}", path=path) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise DktError("expected 'key: value' lines", path=path)
    return values


def _set(values: dict[str, Any], names: list[str], value: Any, setting: str) -> None:
    for name in names[:-1]:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise DktError(f"'{setting}': '{name}' is no section")
    values[names[-1]] = value


def build(cls: type[T], values: Any, where: str) -> T:
    """Make a dataclass of plain values.

    Args:
        cls: the dataclass.
        values: a dict, its keys the fields.
        where: the section's name, for errors.

    Raises:
        DktError: an unknown key, or a value of another type.
    """
    if not isinstance(values, dict):
        raise DktError(f"'{where}' is a section, found {values!r}")
    hints = typing.get_type_hints(cls)
    arguments = {}
    for name, value in values.items():
        place = f"{where}.{name}" if where else str(name)
        if name not in hints:
            near = difflib.get_close_matches(str(name), hints, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(sorted(hints))}"
            raise DktError(f"unknown key '{place}'", hint=hint)
        arguments[name] = _convert(hints[name], value, place)
    return cls(**arguments)


def _convert(kind: Any, value: Any, place: str) -> Any:
    kind = typing.get_origin(kind) if typing.get_origin(kind) is dict else kind
    if dataclasses.is_dataclass(kind):
        return build(typing.cast(type, kind), value, place)
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if typing.get_origin(kind) is typing.Literal:
        if value not in typing.get_args(kind):
            known = ", ".join(map(str, typing.get_args(kind)))
            raise DktError(f"'{place}' is {value!r}, known are {known}")
        return value
    if kind is float and isinstance(value, str):
        # YAML 1.1 takes 1e-4 (no dot) for a string.
        try:
            return float(value)
        except ValueError:
            pass
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise DktError(f"'{place}' is {value!r}, expected {kind.__name__}")
    return value


def first_difference(old: Any, new: Any, where: str = "") -> str | None:
    """Name the first key in which two configurations, as plain dicts, differ; None if they are alike."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*new, *(n for n in old if n not in new)]:
            place = f"{where}.{name}" if where else str(name)
            found = first_difference(old.get(name), new.get(name), place)
            if found:
                return found
        return None
    return None if old == new else f"'{where}' was {old!r} and is {new!r} now"
