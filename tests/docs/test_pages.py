"""README.md and docs/: what they name is there, what they tell of results is what there was."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import re
from pathlib import Path

import pytest

from dkt.bin import COMMANDS, command_parser, main
from dkt.train.modes import mode_names
from tests.docs.pages import PAGES, blocks, calls, files, table
from tests.shell import ROOT

README, STEPS = PAGES["README.md"], PAGES["docs/steps.md"]
#: All that people read, with links from one to the other.
LINKED = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("egs/*/s5/*.md"),
    )
)
#: Scripts of Kaldi's, and files that are made.
NOT_OURS = r"steps/(nnet|scoring|info|data)|local/(score|wer_hyp_filter)|egs/wsj|egs/mine"

#: Options that are no one's here: of queues, of programs and scripts of Kaldi's.
KALDIS_OPTIONS = {
    *("--gpu", "--mem", "--max-jobs-run"),
    *("--norm-means", "--norm-vars", "--network-type", "--write-lattices"),
    *(
        "--frames-per-chunk",
        "--extra-left-context",
        "--extra-left-context-initial",
        "--post-decode-acwt",
        "--acwt",
    ),
    *("--num-tgt", "--nnet-init", "--train-tool", "--feature-transform-proto"),
    *("--labels", "--target-type", "--frames-per-eg", "--online-ivector-dir", "--egs"),
}


def option_names(command: str) -> set[str]:
    """The options of a command of dkt, as its help tells them."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main([command, "--help"])
    return set(re.findall(r"--[a-z0-9-]+", out.getvalue()))


def script_text(path: str) -> str:
    """A script and the libraries of the steps that it reads."""
    text = (ROOT / path).read_text()
    libraries = re.findall(r'^\. "\$DKT_ROOT/(steps/lib/\w+\.sh)"$', text, re.MULTILINE)
    return "\n".join([text, *((ROOT / library).read_text() for library in libraries)])


def anchors(path: Path) -> set[str]:
    """What links to the headings of a page are called."""
    headings = re.findall(r"^#+ (.*)", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", path.read_text()):
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


def test_every_page_is_linked_from_the_readme() -> None:
    pages = {page for page in PAGES if page.startswith("docs/")}
    assert pages and {page for page in pages if f"]({page})" in README} == pages


@pytest.mark.parametrize("page", PAGES)
def test_every_path_named_is_there(page: str) -> None:
    named = re.findall(
        r"(?<![\w/.-])(?:\$DKT_ROOT\"?/|\./)?((?:steps|local|egs|docs|benchmarks|tests|dkt)/[\w./-]*\w)",
        PAGES[page],
    )
    assert named or page == "docs/features.md"
    for path in set(named) - set(files(PAGES[page])):
        if not re.match(NOT_OURS, path):
            assert list(ROOT.glob(f"{path}*")), path


def test_every_option_of_a_call_is_there() -> None:
    text = "\n\n".join(PAGES.values())
    scripts, commands = calls(text, "$DKT_ROOT/"), calls(text, "dkt")
    assert len(scripts) > 15 and len(commands) > 8
    for script, *words in scripts:
        source = script_text(script.removeprefix("$DKT_ROOT/"))
        for word in words:
            if word.startswith("--"):
                name = word[2:].replace("-", "_")
                assert re.search(rf"^{name}=", source, re.MULTILINE), f"{script} {word}"
    for _, command, *words in commands:
        options = option_names(command)
        assert options, command
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, command


def test_every_option_named_is_there() -> None:
    known = {
        name for command in COMMANDS for a in command_parser(command)._actions for name in a.option_strings
    }
    for scripts in ("steps/**/*.sh", "local/*.sh", "egs/*/s5/*.sh"):
        for path in ROOT.glob(scripts):
            names = re.findall(r"^(\w+)=", path.read_text(), re.MULTILINE)
            known |= {f"--{name.replace('_', '-')}" for name in names}
    for page, text in PAGES.items():
        inline = "\n".join(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text))
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*(?![\w-])", inline))
        assert named <= known | KALDIS_OPTIONS, page


def test_every_command_named_is_there() -> None:
    examples = {f"dkt/bin/{command.replace('-', '_')}.py" for command in ("copy-gselect",)}
    assert examples <= files(PAGES["docs/adding.md"]).keys()
    for text in PAGES.values():
        for command in re.findall(r"`dkt ([a-z]+[a-z-]*)[^`]*`", text):
            assert command in COMMANDS or command == "copy-gselect", command


def test_every_step_is_in_the_tables_with_its_arguments() -> None:
    usages: dict[str, str] = {}
    for path in (ROOT / "steps").glob("*.sh"):
        usage = re.search(
            r'^help_message="Usage: steps/(\S+) \[options\] (.*)$', path.read_text(), re.MULTILINE
        )
        if usage:
            for kind in ("fbank", "mfcc") if "$kind" in usage[1] else ("",):
                usages[usage[1].replace("$kind", kind)] = usage[2]
    rows = re.findall(r"^\| `steps/(\S+) ([^`]*)` \|(?: [^|]+\|){2}[^|]*\|$", STEPS, re.MULTILINE)
    assert len(usages) >= 19 and dict(rows) == usages and len(rows) == len(usages)


def test_every_command_is_in_the_tables_with_its_arguments() -> None:
    rows = re.findall(r"^\| `dkt (\S+) ([^`]*)` \|", STEPS, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(COMMANDS)
    for name, told in rows:
        # An argument with several words stands for as many.
        arguments = [
            (action.nargs, word)
            for action in command_parser(name)._actions
            for word in (action.metavar or action.dest).split()
            if not action.option_strings
        ]
        optional, several = (
            (argparse.OPTIONAL, argparse.ZERO_OR_MORE),
            (argparse.ONE_OR_MORE, argparse.ZERO_OR_MORE),
        )
        told = told.replace("=<", "=")
        assert told.count("<") == len(arguments), name
        assert re.sub(r"\[.*\]", "", told).count("<") == sum(
            nargs not in optional for nargs, _ in arguments
        ), name
        alone = sum(nargs in several for nargs, _ in arguments) == 1
        assert told.count("...") == alone, name


def test_the_messages_that_are_explained_are_those_that_there_are() -> None:
    sources = [*ROOT.glob("dkt/**/*.py"), *ROOT.glob("steps/**/*.sh"), *ROOT.glob("steps/**/*.py")]
    source = "\n".join(path.read_text() for path in sources)
    messages = [
        m for row in table(PAGES["docs/kaldi.md"], "| message |") for m in re.findall(r"`(.*?)`", row)
    ]
    assert len(messages) > 10
    for message in messages:
        # What is between values.
        for part in re.split(r"'?\.\.\.'?|\d+|[()]", message):
            assert part.strip(" ,") in source, message


def test_all_modes_are_told() -> None:
    assert set(table(STEPS, "| mode |")) == {f"`{name}`" for name in mode_names()}


def test_the_main_job_and_the_tests_are_what_continuous_integration_runs() -> None:
    ci = (ROOT / ".ci/run").read_text()
    for script in ("./egs/digits/s5/run.sh", "./tests/run.sh"):
        assert re.search(rf"^    {re.escape(script)} +# ", README, re.MULTILINE)
        assert re.search(rf'^stage ".*" (\./)?{re.escape(script[2:])}$', ci, re.MULTILINE), script


def word_error_rates(system: str, recipe: str, heading: str) -> tuple[str, ...]:
    """What the row of a system, in the first table after a heading in results, tells of dev and test."""
    results = (ROOT / f"egs/{recipe}/s5/RESULTS.md").read_text()
    (cells,) = [
        cells
        for name, cells in table(results, heading).items()
        if re.match(rf"(tri2b )?{system}\b(?!-)", name, re.IGNORECASE)
    ]
    return tuple(re.sub(r" \(.*\)", "", cell) for cell in cells[-2:])


DIGITS = ("digits", "## Free Spoken Digit Dataset")
ENGLISH = ("speechocean762", "## On Kaldi's features")
KALDIS = ("speechocean762", "| Kaldi's systems on these data")


def test_the_results_are_those_of_the_recipes() -> None:
    shown = table(README, "| system |")
    assert len(shown) == 5
    for label, cells in shown.items():
        system = re.match(r"`(.*?)`", label)[1]
        assert tuple(cells[:2]) == word_error_rates(system, *DIGITS), label
        assert tuple(cells[2:]) == word_error_rates(system, *(KALDIS if system == "gmm" else ENGLISH)), label
    (beside,) = re.findall(r"(DNN) and\s(LSTM),\s+untuned, have (\S+) and (\S+) on test", README)
    for kind, figure in zip(beside[:2], beside[2:], strict=True):
        assert word_error_rates(f"nnet1 {kind}", *KALDIS)[1] == figure


def test_the_run_that_is_shown_is_one_of_the_main_job() -> None:
    (shown,) = blocks(README, "text")
    lines = shown.splitlines()
    recipe = (ROOT / "egs/digits/s5/run.sh").read_text()
    students = re.search(r'^students="(.*)"$', recipe, re.MULTILINE)[1].split()
    rows = {
        cells[0]: cells[1:]
        for cells in ([*map(str.strip, line.split("|")[1:-1])] for line in lines if "|" in line)
    }
    assert list(rows) == ["system", "---" + "-" * 13, "gmm", "dnn", *students]
    assert re.fullmatch(r"=== stage 11: report \[\d+ s\]", lines[0]) and re.fullmatch(
        r"=== done in \d+ s", lines[-1]
    )
    for line in lines[-3:-1]:
        what = line.split(":")[0]
        assert any(f"{what}: " in path.read_text() for path in (ROOT / "dkt").rglob("*.py")), line
    # Within the bounds that continuous integration sets to such a run.
    spec = importlib.util.spec_from_file_location("check_results", ROOT / ".ci/check_results.py")
    bounds = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bounds)
    columns = [column.replace(" ", "_").lower() for column in rows["system"]]
    for system, column, low, high in bounds.BOUNDS["espeak"]:
        assert low <= float(rows[system][columns.index(column)]) <= high, (system, column)


def test_the_rooms_are_those_that_there_are() -> None:
    rooms = {f"dkt/{path.parent.name}" for path in (ROOT / "dkt").glob("*/__init__.py")}
    told = [room for cell in table(README, "| room |") for room in re.findall(r"`(dkt/\w+)`", cell)]
    assert rooms and sorted(told) == sorted(rooms)
