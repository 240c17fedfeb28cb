"""How commands and options are shown by ``--help``, and what is said of misspelt ones."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence

from dkt.base.spelling import near
from dkt.util.option_text import boolean, plain_name

# As alike are two words of which one is a slip of the keyboard.
_SLIP = 0.85


class HelpFormatter(argparse.HelpFormatter):
    """Options with their defaults, as the parser has them, in the words in which they are given."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", default_text(action)
        return text if default is None else f"{text} (default: {default.replace('%', '%%')})".lstrip()

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return "BOOL" if action.type is boolean else super()._get_default_metavar_for_optional(action)


def default_text(action: argparse.Action) -> str | None:
    """The default of an option as one would give it; None for an option that has none."""
    value = action.default
    if not action.option_strings or value is None or value is argparse.SUPPRESS:
        return None
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or None
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) or '""'


def usage(groups: Mapping[str, Mapping[str, tuple[str, str]]], version: str) -> str:
    """All commands, group by group.

    Args:
        groups: the title of each group, and its commands with their module and their help.
        version: of dkt.
    """
    width = max(len(name) for commands in groups.values() for name in commands)
    lines = [
        "usage: dkt <command> [options] <arguments>",
        f"dkt {version}: dark knowledge transfer for acoustic models. Commands:",
    ]
    for title, commands in groups.items():
        lines += ["", f"{title}:", *(f"  {name:<{width}}  {text}" for name, (_, text) in commands.items())]
    return "\n".join([*lines, "", "'dkt <command> --help' tells the options of one."])


def unknown_command(name: str, known: Sequence[str]) -> str:
    """What to say of a command that there is not."""
    plain = plain_name(name)
    # latgen is called after latgen-faster-mapped, and does the same.
    shorter = next((command for command in known if plain.startswith(f"{command}-")), None)
    slip = difflib.get_close_matches(plain, known, n=1, cutoff=_SLIP)
    nearest = next(iter(slip), None) or shorter or near(plain, [*known, "--help", "--version"])
    hint = f"did you mean '{nearest}'?" if nearest else "'dkt --help' lists the commands"
    return f"no command '{name}' - {hint}"


def unknown_arguments(arguments: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """What to say of arguments that a command does not take."""
    known = [name for name in parser._option_string_actions if name.startswith("--")]
    hints = [
        f"did you mean '{nearest}'?"
        for argument in arguments
        if argument.startswith("-") and (nearest := near(_plain(argument), known))
    ]
    return " - ".join([f"unrecognized arguments: {' '.join(arguments)}", *hints[:1]])


def _plain(argument: str) -> str:
    """The name of an option that is not known, as known ones are written."""
    return f"--{plain_name(argument.partition('=')[0].lstrip('-'))}"
