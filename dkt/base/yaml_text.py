"""YAML as dkt reads it, wherever it does: plain values, no duplicate keys, plain decimal numbers."""

from __future__ import annotations

import re
from typing import Any

import yaml

_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
# What YAML 1.1 takes beyond this changed its meaning in YAML 1.2, or surprises: 020 is sixteen, 1:30 ninety,
# 0x10, 0b10 and 1_0 are numbers.
_PLAIN = re.compile(
    r"[-+]?(0|[1-9][0-9]*|(0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?|[-+]?\.(inf|nan)",
    re.ASCII | re.IGNORECASE,
)
_SHOWN = 80


class RefusedYamlError(yaml.YAMLError):
    """Text that YAML takes and dkt does not, as it would mean another thing than it seems to."""


class RepeatedKeyError(RefusedYamlError):
    """A duplicate key in a section; the message tells both lines."""


class OddNumberError(RefusedYamlError):
    """A number that is not written plainly; the message tells line and key."""


class Section(dict[Any, Any]):
    """A section of a file.

    Attributes:
        lines: key to its line.
    """

    lines: dict[Any, int]


def is_plain_number(text: str) -> bool:
    """Whether a text is a number that reads as one everywhere: ``20``, ``1.5``, ``.5`` or ``1e-3``."""
    return _PLAIN.fullmatch(text) is not None


class _Loader(yaml.SafeLoader):
    """As ``yaml.SafeLoader``, which takes the last of two equal keys and drops the first in silence."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node; of a value of a section ``index`` is the key."""
        node = super().compose_node(parent, index)
        if not isinstance(node, yaml.ScalarNode) or node.tag not in (_INT, _FLOAT):
            return node
        if not is_plain_number(node.value):
            key = f"'{index.value}' is " if isinstance(index, yaml.ScalarNode) else ""
            raise OddNumberError(
                f"line {node.start_mark.line + 1}: {key}{node.value[:_SHOWN]}, expected a plain decimal "
                "number, as 20, 0.5 or 1e-3, or text in quotes"
            )
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A section as it is written, ``<<`` not yet merged into it: its keys may win over merged ones."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            name = (key.tag, key.value)
            if name in lines:
                what = f"duplicate key '{key.value}', first in line {lines[name]}"
                raise RepeatedKeyError(f"line {line}: {what}")
            lines[name] = line
        return node


class _FileLoader(_Loader):
    """As ``_Loader``, and remembers the lines of the keys."""

    def construct_section(self, node: yaml.MappingNode) -> Any:
        """A section, empty until all that it refers to is there."""
        section = Section()
        section.lines = {
            key.value: key.start_mark.line + 1 for key, _ in node.value if isinstance(key, yaml.ScalarNode)
        }
        yield section
        section.update(self.construct_mapping(node))


_FileLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _FileLoader.construct_section)


def parse_yaml(text: str | bytes, with_lines: bool = False) -> Any:
    """The plain values of a YAML text.

    Args:
        text: the text.
        with_lines: whether its sections are of the class ``Section``.

    Raises:
        RefusedYamlError: there is a duplicate key in a section, or a number is not written plainly.
        yaml.YAMLError, ValueError, RecursionError: it is not YAML.
    """
    return yaml.load(text, _FileLoader if with_lines else _Loader)
