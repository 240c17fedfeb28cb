"""docs/configuration.md is what the dataclasses say, and what it shows is read."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest

from dkt.base import ranges
from dkt.nnet.networks import NETWORKS
from dkt.train.recipes import load_recipe, recipe_class
from tests.docs.pages import PAGES, blocks
from tests.shell import ROOT

PROGRAM = ROOT / "docs/make_configuration.py"


@pytest.fixture
def program() -> ModuleType:
    """The program as a module of its own, so that its table can be exchanged."""
    spec = importlib.util.spec_from_file_location("make_configuration", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_dataclasses_say() -> None:
    done = subprocess.run([sys.executable, str(PROGRAM), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_page_that_is_not_current_is_told_and_made_anew(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "configuration.md"
    page.write_text(PAGES["docs/configuration.md"].replace("| `777` |", "| `778` |"))
    monkeypatch.setattr(program, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["make_configuration.py", "--check"])
    assert program.main() == 1 and "make_configuration.py" in capsys.readouterr().err
    assert "`778`" in page.read_text()
    monkeypatch.setattr(sys, "argv", ["make_configuration.py"])
    assert program.main() == 0 and page.read_text() == PAGES["docs/configuration.md"]


def test_every_key_of_every_network_is_on_the_page() -> None:
    page = PAGES["docs/configuration.md"]
    for network in NETWORKS:
        default = recipe_class(network)()
        for section in dataclasses.fields(default):
            assert f"## `{section.name}`" in page
            for key in dataclasses.fields(getattr(default, section.name)):
                assert f"`{key.name}`" in page, f"{section.name}.{key.name}"


def test_every_key_that_a_page_names_is_there(program: ModuleType) -> None:
    keys = {
        f"{section.name}.{key}"
        for network, recipe in program.RECIPES.items()
        for section in program.sections_of(network, recipe())
        for key in section.keys
    } | {"network.type"}
    names = "|".join(sorted({key.partition(".")[0] for key in keys}))
    named = {key for page in PAGES.values() for key in re.findall(rf"`((?:{names})\.[a-z_.]+)", page)}
    assert len(named) > 10 and named <= keys


def test_what_the_page_shows_is_a_configuration(tmp_path: Path) -> None:
    (shown,) = blocks(PAGES["docs/configuration.md"], "yaml")
    (tmp_path / "lstm.yaml").write_text(shown)
    recipe = load_recipe("lstm", tmp_path / "lstm.yaml")
    assert recipe.network.cells == 128 and recipe != load_recipe("lstm", None)


@dataclass
class Inner:
    """A section inside a section.

    Attributes:
        warm_up: the epochs of
            `nothing` yet.
    """

    warm_up: Annotated[int, ranges.EPOCHS] = 3


@dataclass
class Plain:
    """The first | the base.

    Attributes:
        rate: of <Rate>.
        file: a name.
    """

    rate: Annotated[float, ranges.SHARE] = 0.25
    file: Annotated[str | None, ranges.FileName()] = None


@dataclass
class More(Plain):
    """The base and more.

    Attributes:
        inner: what stands inside.
    """

    inner: Inner = field(default_factory=Inner)


@dataclass
class One:
    """A network.

    Attributes:
        kind: outside of sections.
    """

    kind: str = "one"
    section: Plain = field(default_factory=Plain)
    second: Plain = field(default_factory=lambda: Plain(0.5))


@dataclass
class Two:
    """Another."""

    section: More = field(default_factory=lambda: More(0.75))


def test_shared_sections_are_written_once(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "RECIPES", {"one": One, "two": Two})
    lines = program.page_part().splitlines()
    assert lines.count("## `section`") == 1 and "The first \\| the base." in lines
    assert "| `rate` | a number from 0 to 1 | one: `0.25`; two: `0.75` | of `<Rate>` |" in lines
    assert "| `file` | name of a file or `null` | `null` | a name |" in lines
    assert "| `inner` | a section, see below |  | what stands inside (two only) |" in lines
    assert "## `section.inner` of `two`" in lines
    assert "| `warm_up` | an integer from 1 to 10000 | `3` | the epochs of `nothing` yet |" in lines
    assert (
        lines[lines.index("## `second` of `one`") + 2]
        == "The keys of `section`, but for the default of `rate` (`0.5`)."
    )
    assert (
        "## Keys outside of sections of `one`" in lines
        and "| `kind` | text | `one` | outside of sections |" in lines
    )


@dataclass
class Silent:
    """A section of which one key is not told of."""

    untold: int = 1


def test_a_key_that_the_docstring_does_not_tell_of_is_an_error(program: ModuleType) -> None:
    with pytest.raises(SystemExit, match="Silent: its docstring says nothing of 'untold'"):
        program.sections_of("one", Silent())
