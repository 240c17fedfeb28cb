"""YAML as dkt reads it, wherever it does: plain values, and no key of a section twice."""

from __future__ import annotations

from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"


class RepeatedKeyError(yaml.YAMLError):
    """A key stands twice in one section; the message tells both lines."""


class _Loader(yaml.SafeLoader):
    """As ``yaml.SafeLoader``, which takes the last of two equal keys and drops the first in silence."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A section as it is written, ``<<`` not yet merged into it: its keys may win over merged ones."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            line = key.start_mark.line + 1
            name = (key.tag, key.value)
            if name in lines:
                raise RepeatedKeyError(f"line {line}: '{key.value}' stands in line {lines[name]} already")
            lines[name] = line
        return node


def parse_yaml(text: str | bytes) -> Any:
    """The plain values of a YAML text.

    Raises:
        RepeatedKeyError: a key stands twice in one section.
        yaml.YAMLError, ValueError, RecursionError: it is no YAML.
    """
    return yaml.load(text, _Loader)
