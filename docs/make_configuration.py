"""Writes docs/configuration.md: every key of the configurations, from the dataclasses they are read into.

    python docs/make_configuration.py             # writes the page anew
    python docs/make_configuration.py --check     # is it what the dataclasses say?

What stands in the page above the mark is written by hand, and stays.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from dkt.base.ranges import FileName, OneOf, Range
from dkt.nnet.networks import NETWORKS, network_class
from dkt.train.modes import OBJECTIVES, ModeName, ObjectiveConfig, mode_names
from dkt.train.recipes import recipe_class

RECIPES: dict[str, type] = {network: recipe_class(network) for network in NETWORKS}

PAGE = Path(__file__).with_name("configuration.md")
MARK = "<!-- From here on made by docs/make_configuration.py, from the docstrings of the dataclasses. -->\n"


class Key(NamedTuple):
    """A key of a section of one network."""

    kind: str
    default: str
    text: str


class Section(NamedTuple):
    """A section of one network's configuration."""

    name: str
    network: str
    of: type
    keys: dict[str, Key]


def sections_of(network: str, config: Any, name: str = "") -> list[Section]:
    """The section of that name and those inside it; the whole, without a name, if it has keys of its own."""
    hints, texts = typing.get_type_hints(type(config), include_extras=True), _texts(type(config))
    keys: dict[str, Key] = {}
    inside: list[Section] = []
    for field in dataclasses.fields(config):
        value, place = getattr(config, field.name), f"{name}.{field.name}" if name else field.name
        is_section = dataclasses.is_dataclass(value)
        if is_section:
            inside += sections_of(network, value, place)
            if not name:
                continue
        if field.name not in texts:
            raise SystemExit(f"{type(config).__name__}: its docstring says nothing of '{field.name}'")
        kind = "a section, see below" if is_section else kind_text(hints[field.name])
        keys[field.name] = Key(kind, "" if is_section else value_text(value), texts[field.name])
    return [Section(name, network, type(config), keys), *inside] if keys else inside


def _texts(cls: type) -> dict[str, str]:
    """What the ``Attributes`` of a class and of those that it comes from say of each field."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        _, _, attributes = (inspect.cleandoc(base.__doc__ or "")).partition("Attributes:\n")
        # A text goes on in lines that are indented further.
        for names, text in re.findall(
            r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", attributes.split("\n\n")[0], re.M
        ):
            texts |= dict.fromkeys(re.split(r", *", names), as_markdown(text).removesuffix("."))
    return texts


def kind_text(kind: Any) -> str:
    """What may be written as the value of a key."""
    if typing.get_origin(kind) is Annotated:
        kind, *checks = typing.get_args(kind)
        for check in checks:
            if isinstance(check, Range):
                return _or_null(kind, str(check))
            if isinstance(check, FileName):
                return _or_null(kind, "names of files" if check.several else "name of a file")
            if isinstance(check, OneOf | ModeName):
                return _words(check.words if isinstance(check, OneOf) else _modes(check))
    if typing.get_origin(kind) is typing.Literal:
        return _words(typing.get_args(kind))
    if typing.get_origin(kind) is list:
        return f"a list: {kind_text(*typing.get_args(kind))} each"
    if isinstance(kind, types.UnionType):
        return _or_null(kind, *(kind_text(one) for one in typing.get_args(kind) if one is not type(None)))
    plain = {bool: "`true`, `false`", int: "an integer", float: "a number", str: "text"}
    return plain.get(kind, getattr(kind, "__name__", str(kind)))


def _modes(check: ModeName) -> list[str]:
    return list(OBJECTIVES) if check.phase else mode_names()


def _words(words: Iterable[object]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _or_null(kind: Any, *texts: str) -> str:
    return " or ".join([*texts, "`null`"] if type(None) in typing.get_args(kind) else texts)


def value_text(value: Any) -> str:
    """A default as one would write it in YAML."""
    if value is None or isinstance(value, bool):
        return f"`{'null' if value is None else str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def families(sections: list[Section]) -> list[list[Section]]:
    """Sections of one name whose classes come from a common one: they are described once."""
    found: list[list[Section]] = []
    for section in sections:
        bases = set(section.of.__mro__[:-1])
        for family in found:
            if family[0].name == section.name and bases & set(family[0].of.__mro__[:-1]):
                family.append(section)
                break
        else:
            found.append([section])
    return found


def table(family: list[Section]) -> list[str]:
    """The keys of a family; those that differ in their names only stand in one line."""
    lines: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for section in family for name in section.keys):
        keys = {section.network: section.keys[name] for section in family if name in section.keys}
        where = "" if len(keys) == len(family) else f" ({', '.join(keys)} only)"
        cells = [
            _merged(keys, what) + (where if what == "text" else "") for what in ("kind", "default", "text")
        ]
        lines.setdefault(" | ".join(cells), []).append(f"`{name}`")
    return [
        "| key | values | default | |",
        "|---|---|---|---|",
        *(f"| {', '.join(names)} | {cells} |" for cells, names in lines.items()),
    ]


def _merged(keys: dict[str, Key], what: str) -> str:
    """One text if all networks have the same, else each with its networks."""
    networks: dict[str, list[str]] = {}
    for network, key in keys.items():
        networks.setdefault(getattr(key, what), []).append(network)
    if len(networks) == 1:
        return next(iter(networks))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in networks.items())


def differences(family: list[Section], known: dict[str, Section]) -> list[str]:
    """What is different from sections of the same class, of the networks' names, that stand further up."""
    named = next(iter(known.values())).name
    other: dict[str, dict[str, Key]] = {}
    for section in family:
        for name, key in section.keys.items():
            if key != known[section.network].keys[name]:
                other.setdefault(name, {})[section.network] = key
    defaults = [f"`{name}` ({_merged(keys, 'default')})" for name, keys in other.items()]
    but = f", but for the default of {', '.join(defaults)}" if defaults else ""
    return [f"The keys of `{named}`{but}."]


def page_part() -> str:
    """The part of the page that is made."""
    recipes = {network: sections_of(network, recipe()) for network, recipe in RECIPES.items()}
    several = [section for sections in recipes.values() for section in sections]
    order = list(dict.fromkeys(section.name for section in several))
    lines = ["", "## Networks and their sections", "", "| network | sections | |", "|---|---|---|"]
    for network, sections in recipes.items():
        named = _words(section.name for section in sections if section.name and "." not in section.name)
        text = summary(sys.modules[network_class(network).__module__]) if network in NETWORKS else ""
        lines.append(f"| `{network}` | {named} | {text} |")
    told: list[Section] = []
    for family in families(sorted(several, key=lambda section: order.index(section.name))):
        lines += ["", *_described(family, told)]
        told += family
        if family[0].of is ObjectiveConfig:
            lines += ["", *modes_table()]
    return "\n".join(lines) + "\n"


def modes_table() -> list[str]:
    """What each mode learns, and what it needs for that."""
    lines = ["| mode | learns | teacher | labels | keys |", "|---|---|---|---|---|"]
    for name, row in OBJECTIVES.items():
        needs = ["needed" if needed else "" for needed in (row.teacher, row.labels)]
        lines.append(" | ".join([f"| `{name}`", row.text, *needs, f"{_words(row.options)} |"]))
    return lines


def _described(family: list[Section], told: list[Section]) -> list[str]:
    """The heading, the text and the table of a family of sections."""
    networks = [section.network for section in family]
    heading = f"`{family[0].name}`" if family[0].name else "Keys outside of sections"
    if len(networks) < len(RECIPES):
        heading += f" of {_words(networks)}"
    known = {section.network: section for section in told if section.of is family[0].of}
    if known.keys() >= set(networks):
        return [f"## {heading}", "", *differences(family, known)]
    # That which the others come from.
    base = next(cls for cls in family[0].of.__mro__ if all(issubclass(one.of, cls) for one in family))
    return [f"## {heading}", "", summary(base), "", *table(family)]


def summary(of: type | types.ModuleType) -> str:
    """The first paragraph of the docstring of a class or a module."""
    return as_markdown(inspect.cleandoc(of.__doc__ or "").split("\n\n")[0])


def as_markdown(text: str) -> str:
    """Text of a docstring in one line; Kaldi's ``<Tokens>`` are no HTML."""
    text = " ".join(text.replace("``", "`").replace("|", "\\|").split())
    return re.sub(r"(?<!`)<[/\w]+>(?!`)", r"`\g<0>`", text)


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description="docs/configuration.md from the dataclasses")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the page is not current")
    args = parser.parse_args()
    old = PAGE.read_text(encoding="utf-8")
    by_hand, mark, _ = old.partition(MARK)
    if not mark:
        raise SystemExit(f"{PAGE}: the mark is missing: {MARK.strip()}")
    new = by_hand + mark + page_part()
    if new == old:
        return 0
    if args.check:
        print(f"{PAGE}: is not what the dataclasses say: python docs/make_configuration.py", file=sys.stderr)
        return 1
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
