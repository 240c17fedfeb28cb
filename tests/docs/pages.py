"""The pages of the documentation, their links and the code on them."""

from __future__ import annotations

import re
import shlex

from tests.shell import ROOT

#: The pages that tell how to use dkt, by their paths.
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
_FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced code of a page in some languages."""
    return [body for language, body in _FENCED.findall(text) if language in languages]


def files(text: str) -> dict[str, str]:
    """The blocks of a page that begin with the name of the file that they are."""
    found = {}
    for _, body in _FENCED.findall(text):
        name = re.match(r"# ([\w.-]+/\S+\.\w+)\n", body)
        if name:
            found[name[1]] = body[name.end() :]
    return found


def code(text: str) -> str:
    """All shell code of a page, fenced or indented, a command a line, without comments."""
    indented = re.findall(r"^    (.*)", _FENCED.sub("", text), re.MULTILINE)
    lines = "".join(blocks(text, "bash", "sh")) + "\n".join(indented)
    return re.sub(r"(^|\s)#.*", "", lines.replace("\\\n", " "), flags=re.MULTILINE)


def calls(text: str, program: str) -> list[list[str]]:
    """The calls of programs whose name begins so, as words."""
    found: list[list[str]] = []
    for line in code(text).splitlines():
        if program not in line:
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;")
        lexer.whitespace_split, lexer.commenters = True, ""
        commands: list[list[str]] = [[]]
        for word in lexer:
            if set(word) <= set("|;"):
                commands.append([])
            else:
                commands[-1].append(word)
        found += [words for words in commands if words and words[0].startswith(program)]
    return found


def table(text: str, heading: str) -> dict[str, list[str]]:
    """The rows of the first table after a text, by their first cells."""
    lines = text[text.index(heading) :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows: dict[str, list[str]] = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *others = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        rows[first] = others
    return rows
