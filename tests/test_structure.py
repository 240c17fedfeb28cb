"""The rooms of the package: which may import which, where torch is, what their names are."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from dkt.bin import COMMANDS
from tests.shell import ROOT

#: A room imports from itself and from rooms on lower floors.
FLOORS = (
    {"base"}, {"matrix"}, {"util"}, {"fstext", "feat", "score"}, {"hmm", "lat", "lm"}, {"nnet", "lang"},
    {"decoder"}, {"gmm", "targets"}, {"dataset", "transform"}, {"validate"}, {"train"}, {"report", "export"},
    {"bin", "api"},
)  # fmt: skip
TORCH = {"nnet", "targets", "dataset", "train", "export", "api"}
#: Modules of one interface each, one of which is chosen when a command runs.
INTERFACES = {"dkt.matrix.compressed.with_native", "dkt.nnet.native_lstm"}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "dkt").rglob("*.py"))
}


def imports(path: Path) -> Iterator[str]:
    """The modules and names that a file imports, those in its functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def public(path: Path) -> set[str]:
    """The public names that a file defines."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")} - {"logger"}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_every_room_imports_only_from_lower_floors() -> None:
    floor = {name: number for number, rooms in enumerate(FLOORS) for name in rooms}
    assert {room(name) for name in MODULES} - {"", "__main__"} == set(floor)
    wrong = [
        f"{name} imports {imported}"
        for name, path in MODULES.items()
        if room(name) in floor
        for imported in imports(path)
        if imported.startswith("dkt.") and room(imported) != room(name) and room(imported) in floor
        if floor[room(imported)] >= floor[room(name)]
    ]
    assert wrong == []


def test_torch_is_only_where_networks_are() -> None:
    users = {name for name, path in MODULES.items() if any(i.split(".")[0] == "torch" for i in imports(path))}
    assert {name for name in users if room(name) not in TORCH} == {"dkt.bin.common.devices"}


def test_bin_holds_commands_only() -> None:
    files = {name.split(".")[2] for name in MODULES if name.startswith("dkt.bin.")} - {"common"}
    assert files == {module for module, _ in COMMANDS.values()}
    for name in files:
        assert public(MODULES[f"dkt.bin.{name}"]) == {"add_arguments", "run"}, name


def test_no_public_name_is_of_two_things() -> None:
    places = defaultdict(list)
    for name, path in MODULES.items():
        is_command = name.startswith("dkt.bin.") and not name.startswith("dkt.bin.common")
        if not is_command and name not in INTERFACES:
            for defined in public(path):
                places[defined].append(name)
    # Single letters are variables of types.
    assert {name: where for name, where in places.items() if len(where) > 1 and len(name) > 1} == {}


def test_every_dotted_name_in_the_text_of_a_module_is_there() -> None:
    dangling = []
    for path in [*MODULES.values(), ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for name in set(re.findall(r"`(dkt(?:\.\w+)+)`", path.read_text())):
            try:
                pkgutil.resolve_name(name)
            except (ImportError, AttributeError):
                dangling.append(f"{path.relative_to(ROOT)}: {name}")
    assert not dangling
