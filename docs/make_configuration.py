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
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from dkt.base.ranges import FileName, Range
from dkt.train.recipes import RECIPES

PAGE = Path(__file__).with_name("configuration.md")
MARK = "<!-- From here on made by docs/make_configuration.py, from the docstrings of the dataclasses. -->\n"


class Key(NamedTuple):
    """A key of a section of one network."""

    name: str
    kind: str
    default: str
    text: str


class Section(NamedTuple):
    """A section of one network's configuration."""

    name: str
    network: str
    of: type
    keys: dict[str, Key]


def sections_of(network: str, recipe: type) -> list[Section]:
    """The sections of a configuration; keys outside of sections are in one without a name, the first."""
    default, hints = recipe(), typing.get_type_hints(recipe, include_extras=True)
    outside: dict[str, Key] = {}
    sections = []
    for field in dataclasses.fields(recipe):
        value = getattr(default, field.name)
        if dataclasses.is_dataclass(value):
            sections.append(Section(field.name, network, type(value), keys_of(value)))
        else:
            text = _texts(recipe).get(field.name, "")
            outside[field.name] = Key(field.name, kind_text(hints[field.name]), value_text(value), text)
    return [Section("", network, recipe, outside), *sections] if outside else sections


def keys_of(config: Any, prefix: str = "") -> dict[str, Key]:
    """The keys of a section, those of sections inside it with their whole names."""
    hints, texts = typing.get_type_hints(type(config), include_extras=True), _texts(type(config))
    keys: dict[str, Key] = {}
    for field in dataclasses.fields(config):
        name, value = prefix + field.name, getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            keys |= keys_of(value, f"{name}.")
            continue
        if field.name not in texts:
            raise SystemExit(f"{type(config).__name__}: its docstring says nothing of '{field.name}'")
        keys[name] = Key(name, kind_text(hints[field.name]), value_text(value), texts[field.name])
    return keys


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
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(kind))
    if isinstance(kind, types.UnionType):
        return _or_null(kind, *(kind_text(one) for one in typing.get_args(kind) if one is not type(None)))
    plain = {bool: "`true`, `false`", int: "an integer", float: "a number", str: "text"}
    return plain.get(kind, getattr(kind, "__name__", str(kind)))


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
    recipes = {network: sections_of(network, recipe) for network, recipe in RECIPES.items()}
    several = [section for sections in recipes.values() for section in sections]
    order = list(dict.fromkeys(section.name for section in several))
    lines = ["", "## Networks and their sections", "", "| network | sections | |", "|---|---|---|"]
    for network, sections in recipes.items():
        named = ", ".join(f"`{section.name}`" for section in sections if section.name)
        lines.append(f"| `{network}` | {named} | {summary(RECIPES[network])} |")
    told: list[Section] = []
    for family in families(sorted(several, key=lambda section: order.index(section.name))):
        lines += ["", *_described(family, told)]
        told += family
    return "\n".join(lines) + "\n"


def _described(family: list[Section], told: list[Section]) -> list[str]:
    """The heading, the text and the table of a family of sections."""
    networks = [section.network for section in family]
    heading = f"`{family[0].name}`" if family[0].name else "Keys outside of sections"
    if len(networks) < len(RECIPES):
        heading += f" of {', '.join(f'`{network}`' for network in networks)}"
    known = {section.network: section for section in told if section.of is family[0].of}
    if known.keys() >= set(networks):
        return [f"## {heading}", "", *differences(family, known)]
    # That which the others come from.
    base = next(cls for cls in family[0].of.__mro__ if all(issubclass(one.of, cls) for one in family))
    return [f"## {heading}", "", summary(base), "", *table(family)]


def summary(cls: type) -> str:
    """The first paragraph of a class's docstring."""
    return as_markdown(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0])


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
