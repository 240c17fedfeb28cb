"""YAML configurations read into typed dataclasses: unknown keys and impossible values are errors."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml

from dkt.base.errors import DktError
from dkt.base.ranges import Range, shown
from dkt.base.spelling import nearest
from dkt.base.yaml_text import RefusedYamlError, RepeatedKeyError, Section, is_plain_number, parse_yaml

T = TypeVar("T")


def load_config(
    cls: type[T],
    path: str | Path | None,
    overrides: Sequence[str] = (),
    options: Sequence[str] = (),
    values: dict[str, Any] | None = None,
) -> T:
    """Read a configuration; keys that are missing keep the defaults that ``cls`` gives them.

    Args:
        cls: a dataclass, possibly of dataclasses. A section that is named in part keeps the rest of the
            default that the field of the section has in ``cls``, not of the default of its own class. Keys
            may have their earlier names, see ``current_names``.
        path: the YAML file; None for the defaults.
        overrides: ``section.key=value`` settings that win over the file. Of two settings of one key the last
            wins, as of two equal options of a program of Kaldi's; a section as the value, ``{key: value}``,
            sets the keys that it names.
        options: such settings that options of their own gave; they win over the others.
        values: what the file holds, if it was read before.

    Raises:
        DktError: not YAML, a duplicate key, an unknown key (the nearest known one is named), or a
            value of another type or outside the range of its key; the file or the setting is named.
    """
    values = _read_values(cls, path, values)
    given: list[tuple[str, str, Any]] = []
    for setting in (*overrides, *options):
        names, value = _parse_setting(cls, setting)
        try:
            _check_replaced(cls, values, _nested(names, value))
        except DktError as error:
            raise DktError(str(error), path=_at_fault(str(error), given) or path) from None
        _set(values, names, value, setting)
        what = f"--set {setting}" if len(given) < len(overrides) else "options"
        given.append((what, ".".join(names), value))
    try:
        return build(cls, values, "")
    except DktError as error:
        raise DktError(str(error), path=_at_fault(str(error), given) or path) from None


def _read_values(cls: type, path: str | Path | None, values: dict[str, Any] | None) -> dict[str, Any]:
    """The values of a file, which may have been read before, with the names that its keys have now."""
    if values is None:
        values = read_yaml(path) if path is not None else {}
    try:
        return copy.copy(current_names(cls, values))
    except DktError as error:
        raise DktError(str(error), path=path) from None


def _parse_setting(cls: type, setting: str) -> tuple[list[str], Any]:
    """The names that lead to the key of ``section.key=value``, those it has now, and the value.

    Raises:
        DktError: the setting is not of this form, or its value not YAML.
    """
    name, equals, text = setting.partition("=")
    if not equals:
        raise DktError(f"'{setting}': expected section.key=value")
    names = name.strip().split(".")
    try:
        value: Any = current_names(cls, _nested(names, parse_yaml(text)))
    except (RefusedYamlError, DktError) as error:
        raise DktError(f"'{setting}': {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise DktError(f"'{setting}': the value is not YAML") from None
    for depth in range(len(names)):
        ((names[depth], value),) = value.items()
    return names, value


def _nested(names: Sequence[str], value: Any) -> dict[str, Any]:
    """A value within the sections that it is in."""
    return functools.reduce(lambda inner, name: {name: inner}, reversed(names), value)


def current_names(cls: Any, values: dict[Any, Any], where: str = "") -> dict[Any, Any]:
    """A copy of plain values of a dataclass, with the names that its keys have now.

    Args:
        cls: the dataclass. Its attribute ``RENAMED``, if it has one, maps earlier names of keys to those of
            now.
        values: the keys and their values, those of inner dataclasses within them.
        where: the section's name, for errors.

    Raises:
        DktError: a key has a value under its earlier name and another under the one of now.
    """
    renamed = getattr(cls, "RENAMED", {})
    hints = typing.get_type_hints(cls, include_extras=True)
    result = Section() if isinstance(values, Section) else {}
    if isinstance(values, Section) and isinstance(result, Section):
        result.lines = {renamed.get(name, name): line for name, line in values.lines.items()}
    for name, value in values.items():
        key = renamed.get(name, name)
        place = f"{where}.{key}" if where else str(key)
        if key != name and key in values:
            earlier = f"{where}.{name}" if where else name
            error = DktError(f"'{earlier}' and '{place}' are one key", hint=f"keep '{place}', its name now")
            raise _with_line(error, values, name)
        section = _section_class(hints.get(key))
        result[key] = current_names(section, value, place) if section and isinstance(value, dict) else value
    return result


def _section_class(hint: Any) -> Any:
    """The dataclass that a field is of, None being allowed or not; None if it is of none."""
    kinds = () if typing.get_origin(hint) is dict else (hint, *typing.get_args(hint))
    return next((one for one in kinds if isinstance(one, type) and dataclasses.is_dataclass(one)), None)


def _check_replaced(kind: Any, values: Any, setting: dict[str, Any], where: str = "") -> None:
    """Make sure that what a setting is about to replace could have stood: slips without effect are told, too.

    Raises:
        DktError: one of these values is of another type or outside the range of its key.
    """
    if not isinstance(values, dict):
        return
    hints = typing.get_type_hints(kind, include_extras=True)
    for name, new in setting.items():
        if name not in values or name not in hints:
            continue
        place = f"{where}.{name}" if where else name
        section = _section_class(hints[name])
        if section is None:
            try:
                _convert(hints[name], values[name], place, None)
            except DktError as error:
                raise _with_line(error, values, name) from None
        elif isinstance(new, dict):
            _check_replaced(section, values[name], new, place)


def _at_fault(error: str, given: Sequence[tuple[str, str, Any]]) -> str | None:
    """The last setting, as (what to call it, key, value), of a key that an error names; None if none is."""
    keys = re.findall(r"'([\w.]+)'", error)
    for what, name, value in reversed(given):
        if any(_sets(name, value, key) for key in keys):
            return what
    return None


def _sets(name: str, value: Any, key: str) -> bool:
    if name == key:
        return True
    if not key.startswith(f"{name}.") or not isinstance(value, dict):
        return False
    return any(_sets(f"{name}.{inner}", of_inner, key) for inner, of_inner in value.items())


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file of ``key: value`` lines; an empty one is an empty dict.

    Raises:
        DktError: it cannot be read, holds a duplicate key or a number in another base, or is something else.
    """
    try:
        values = parse_yaml(Path(path).read_text(encoding="utf-8"), with_lines=True)
    except OSError as error:
        raise DktError(f"cannot be read: {error.strerror}", path=path) from None
    except RepeatedKeyError as error:
        raise DktError(str(error), path=path, hint="write it once: one of the two would be lost") from None
    except RefusedYamlError as error:
        raise DktError(str(error), path=path) from None
    # A date of month 13 or a number of thousands of digits is a ValueError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DktError(f"not YAML: {error}", path=path) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise DktError("expected 'key: value' lines", path=path)
    return values


def named_files(path: str | Path, directories: Sequence[Path] = ()) -> list[str]:
    """The files that a configuration of any training names: its result depends on their content too.

    Args:
        path: the YAML file.
        directories: places, beside the working directory, that a name may be relative to; several names may
            stand in one value there, with white space between them, as in ``features.paste``.

    Returns:
        The names as they can be opened, each once, in the order of the file.

    Raises:
        DktError: the configuration cannot be read, or is not YAML.
    """
    found: dict[str, None] = {}
    for text in _texts(read_yaml(path)):
        places = [Path(text), *(place / word for place in directories for word in text.split())]
        found.update({str(place): None for place in places if _is_file(place)})
    return list(found)


def _is_file(path: Path) -> bool:
    # Not every text can be a name.
    with contextlib.suppress(OSError, ValueError):
        return path.is_file()
    return False


def _texts(value: Any) -> Iterator[str]:
    """All strings among the values of plain values."""
    pending, seen = [value], set()
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        # Aliases may make a section a part of itself, or of very many others.
        elif isinstance(value, (dict, list)) and id(value) not in seen:
            seen.add(id(value))
            pending += reversed(value.values() if isinstance(value, dict) else value)


def _set(values: dict[str, Any], names: list[str], value: Any, setting: str) -> None:
    for name in names[:-1]:
        _forget_line(values, name)
        section = values.get(name)
        if section is not None and not isinstance(section, dict):
            raise DktError(f"'{setting}': '{name}' is not a section")
        # A section without keys is None in YAML. A copy: an alias may make it another section, too.
        values[name] = section = dict(section or {})
        values = section
    old = values.get(names[-1])
    if isinstance(value, dict) and isinstance(old, dict):
        value = {**old, **value}
    values[names[-1]] = value
    _forget_line(values, names[-1])


def _forget_line(values: dict[str, Any], name: str) -> None:
    """What a setting has changed is not what stands in the file."""
    if isinstance(values, Section):
        values.lines.pop(name, None)


def build(cls: type[T], values: Any, where: str, default: T | None = None) -> T:
    """Make a dataclass of plain values.

    Args:
        cls: the dataclass.
        values: a dict, its keys the fields; None for none of them, as a section without keys is in YAML.
        where: the section's name, for errors.
        default: where the fields that are not among ``values`` come from; None for the defaults of ``cls``.

    Raises:
        DktError: an unknown key, a value of another type, or one that the field's annotation refuses (see
            ``dkt.base.ranges.Check``).
    """
    if values is None and where:
        values = {}
    if not isinstance(values, dict):
        raise DktError(f"'{where}' is a section, found {shown(values)}")
    values = current_names(cls, values, where)
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, cls))}
    arguments = {} if default is None else {name: getattr(default, name) for name in fields}
    for name, value in values.items():
        place = f"{where}.{name}" if where else str(name)
        if name not in fields:
            hint = nearest(str(name), fields, "'{}'")
            raise _with_line(DktError(f"unknown key '{place}'", hint=hint), values, name)
        inner = arguments[name] if name in arguments else _default(fields[name])
        try:
            arguments[name] = _convert(hints[name], value, place, inner)
        except DktError as error:
            raise _with_line(error, values, name) from None
    try:
        return cls(**arguments)
    except DktError as error:
        # A class knows its fields, not the section that it is.
        raise DktError(f"'{where}': {error}" if where and where not in str(error) else str(error)) from None


def _with_line(error: DktError, values: dict[str, Any], name: str) -> DktError:
    """The error of a key with the line of its file, where that is known; an inner section's is nearer."""
    line = values.lines.get(name) if isinstance(values, Section) else None
    if line is None or str(error).startswith("line "):
        return error
    return DktError(f"line {line}: {error}")


def _default(field: dataclasses.Field[Any]) -> Any:
    """The default of a field; None where it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _convert(kind: Any, value: Any, place: str, default: Any, wanted: str = "") -> Any:
    if typing.get_origin(kind) is Annotated:
        kind, *checks = typing.get_args(kind)
        wanted = ", ".join(str(check) for check in checks if isinstance(check, Range))
        converted = _convert(kind, value, place, default, wanted)
        if converted is not None:
            for check in checks:
                check.check(converted, place)
        return converted
    kind = typing.get_origin(kind) if typing.get_origin(kind) is dict else kind
    if typing.get_origin(kind) is list:
        (inner,) = typing.get_args(kind)
        if not isinstance(value, list):
            raise DktError(f"'{place}' is {shown(value)}, expected a list, as [1, 2]")
        return [_convert(inner, element, place, None, wanted) for element in value]
    if dataclasses.is_dataclass(kind):
        return build(typing.cast(type, kind), value, place, default)
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if typing.get_origin(kind) is typing.Literal:
        if value not in typing.get_args(kind):
            known = ", ".join(map(str, typing.get_args(kind)))
            raise DktError(f"'{place}' is {shown(value)}, known are {known}")
        return value
    if kind is float:
        value = _as_float(value)
    if kind is dict and isinstance(value, Section):
        value = dict(value)
    if type(value) is not kind:
        raise DktError(f"'{place}' is {shown(value)}, expected {wanted or kind.__name__}")
    return value


def _as_float(value: Any) -> Any:
    """The number that YAML gave as something else; what is none is left for the caller to refuse."""
    if isinstance(value, str) and not is_plain_number(value):
        return value
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        # YAML 1.1 takes 1e-4 (no dot) for a string.
        try:
            return float(value)
        except ValueError:
            return value
        except OverflowError:
            return math.inf if int(value) > 0 else -math.inf
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
