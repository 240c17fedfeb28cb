"""Options as Kaldi's programs spell them, rewritten into those of argparse (``util/parse-options.cc``)."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.base.spelling import nearest
from dkt.bin.common.options import Number
from dkt.util.kaldi_io import NO_PIPES
from dkt.util.option_text import boolean, plain_name, read_option_lines

_CONFIG = "--config"
#: Options by the names that they had in earlier versions, which are still taken.
_RENAMED = {"--max-loss": "--max-dropped", "--streams": "--paste"}


def add_standard_options(parser: argparse.ArgumentParser) -> None:
    """Add what every program of Kaldi takes, ``--config`` unless the command has one of its own."""
    parser.add_argument("--verbose", type=Number(ranges.VERBOSITY), default=0, help="1: log in more detail")
    parser.add_argument("--print-args", type=boolean, default=False, help="print the command line first")
    text = f"run none of the commands in names and script files, as {NO_PIPES}=1 in the environment"
    parser.add_argument("--no-pipes", type=boolean, default=False, metavar="BOOL", help=text)
    if _CONFIG not in _options(parser):
        parser.add_argument(
            _CONFIG, action=_ConfigFile, metavar="FILE", help="options, one --name=value per line"
        )


class _ConfigFile(argparse.Action):
    """Marks a ``--config`` that is Kaldi's: ``rewrite`` has read it, so that here is nothing left to do."""

    def __call__(self, *arguments: object, **others: object) -> None:
        """Keep nothing."""


def rewrite(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[str]:
    """The arguments as argparse takes them.

    ``--no_softmax`` becomes ``--no-softmax=true``: ``_`` is ``-``, capitals are small letters, and a boolean
    option without value is true rather than swallowing the argument behind it. The options of ``--config``
    come first, so that those of the command line win over them.

    Args:
        parser: with all of the command's options.
        argv: the arguments of the command.

    Raises:
        DktError: a configuration file cannot be read, or holds a line that is not an option.
    """
    options = _options(parser)
    end = argv.index("--") if "--" in argv else len(argv)
    given = [_spelt(options, argument) for argument in argv[:end]]
    configured: list[str] = []
    if isinstance(options.get(_CONFIG), _ConfigFile):
        for place, argument in enumerate(given):
            name, equals, path = argument.partition("=")
            if name == _CONFIG and (equals or place + 1 < len(given)):
                configured += _read_config(options, path if equals else given[place + 1])
    return [*configured, *given, *argv[end:]]


def _options(parser: argparse.ArgumentParser) -> Mapping[str, argparse.Action]:
    # argparse has no public list of its options.
    return parser._option_string_actions


def _spelt(options: Mapping[str, argparse.Action], argument: str) -> str:
    name, equals, value = argument.partition("=")
    plain = _current(options, plain_name(name))
    if not argument.startswith("--") or plain not in options:
        return argument
    if not equals and options[plain].type is boolean:
        return f"{plain}=true"
    return f"{plain}{equals}{value}"


def _current(options: Mapping[str, argparse.Action], name: str) -> str:
    """The name that an option has now."""
    renamed = _RENAMED.get(name, name)
    return renamed if renamed in options else name


def _read_config(options: Mapping[str, argparse.Action], path: str) -> list[str]:
    known = [name[2:] for name in options if name.startswith("--")]
    given = []
    for number, name, value in read_option_lines(path):
        plain = _current(options, f"--{name}")
        option = plain if value is None else f"{plain}={value}"
        action = options.get(plain)
        if action is None or plain == _CONFIG:
            raise DktError(
                f"line {number}: '{option}' is not an option of this command",
                path=path,
                hint=nearest(name, known, "--{}"),
            )
        if value is None and action.type is boolean:
            option += "=true"
        elif value is None and action.nargs != 0:
            raise DktError(f"line {number}: '{option}' has no value, expected {option}=value", path=path)
        _check_value(action, value, f"line {number}: {option}", path)
        given.append(option)
    return given


def _check_value(action: argparse.Action, value: str | None, place: str, path: str) -> None:
    """Have a wrong value told with file and line: argparse knows neither."""
    if value is None or not callable(action.type):
        return
    try:
        action.type(value)
    except argparse.ArgumentTypeError as error:
        raise DktError(f"{place}: {error}", path=path) from None
    except (TypeError, ValueError):
        expected = getattr(action.type, "__name__", "another value")
        raise DktError(f"{place}: expected {expected}, got '{value}'", path=path) from None
