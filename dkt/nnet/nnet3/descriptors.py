"""Descriptors of nnet3: what a node of a network reads, and at which times (``nnet3/nnet-descriptor.h``).

A descriptor is a tree of expressions, for example ``Append(input, IfDefined(Offset(lstm1.r, -1)))``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dkt.base.errors import DktError

#: A node is read by its name alone.
NODE = ""
# What stands between the brackets: d is a descriptor, d+ one or more, r a real number, i an integer.
_FORMS = {
    "Append": ("d+",),
    "Sum": ("d+",),
    "Switch": ("d+",),
    "Failover": ("d", "d"),
    "IfDefined": ("d",),
    "Offset": ("d", "i"),
    "Round": ("d", "i"),
    "ReplaceIndex": ("d", "t", "i"),
    "Scale": ("r", "d"),
    "Const": ("r", "i"),
}
_TOKEN = re.compile(r"\s*([(),]|[^\s(),]+)")
_INTEGER = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
# Times are 32-bit in Kaldi; what goes beyond this is no network of speech.
_LONGEST_STEP = 100_000
_DEEPEST = 60


@dataclass(frozen=True)
class Expression:
    """One expression.

    Attributes:
        op: ``Append``, ``Offset``, ...; empty for the name of a node.
        inputs: the expressions in its brackets.
        name: of the node, if it is one.
        number: the frames of ``Offset``, ``Round`` and ``ReplaceIndex``, the dimension of ``Const``.
        factor: of ``Scale``, and the value of ``Const``.
        spelled: the factor, as it was written.
    """

    op: str
    inputs: tuple[Expression, ...] = ()
    name: str = ""
    number: int = 0
    factor: float = 1.0
    spelled: str = ""

    def __str__(self) -> str:
        if self.op == NODE:
            return self.name
        inner = ", ".join(map(str, self.inputs))
        if self.op == "Const":
            return f"Const({self.spelled}, {self.number})"
        if self.op == "Scale":
            return f"Scale({self.spelled}, {inner})"
        if self.op == "ReplaceIndex":
            return f"ReplaceIndex({inner}, t, {self.number})"
        if self.op in ("Offset", "Round"):
            return f"{self.op}({inner}, {self.number})"
        return f"{self.op}({inner})"

    def nodes(self) -> Iterator[str]:
        """The names of the nodes that are read."""
        if self.op == NODE:
            yield self.name
        for expression in self.inputs:
            yield from expression.nodes()

    def dim(self, dims: Mapping[str, int]) -> int:
        """The dimension of what is read; ``dims`` has that of every node.

        Raises:
            DktError: terms of a sum or of a choice differ in theirs.
        """
        if self.op == NODE:
            return dims[self.name]
        if self.op == "Const":
            return self.number
        inner = [expression.dim(dims) for expression in self.inputs]
        if self.op == "Append":
            return sum(inner)
        if len(set(inner)) > 1:
            raise DktError(f"{self.op} of dimensions {' and '.join(map(str, inner))} in '{self}'")
        return inner[0]


def node(name: str) -> Expression:
    """The node of a name."""
    return Expression(NODE, name=name)


def offset(source: Expression, frames: int) -> Expression:
    """What stands ``frames`` later."""
    return Expression("Offset", (source,), number=frames) if frames else source


def append(*sources: Expression) -> Expression:
    """Descriptors side by side."""
    return Expression("Append", sources) if len(sources) > 1 else sources[0]


def total(*sources: Expression) -> Expression:
    """The sum of descriptors of one dimension; nnet3's ``Sum`` takes two."""
    first, *others = sources
    return Expression("Sum", (first, total(*others))) if others else first


def scaled(factor: int, source: Expression) -> Expression:
    """A descriptor times a whole number."""
    return Expression("Scale", (source,), factor=float(factor), spelled=str(factor))


def if_defined(source: Expression) -> Expression:
    """A descriptor, zero where it cannot be computed."""
    return Expression("IfDefined", (source,))


def parse_descriptor(text: str) -> Expression:
    """Read a descriptor; it comes back as Kaldi holds it, with ``Append`` outermost.

    Raises:
        DktError: it is none, or one that dkt does not know.
    """
    tokens = _TOKEN.findall(text)
    parser = _Parser(tokens, text)
    expression = parser.descriptor(0)
    if parser.place < len(tokens):
        raise parser.fail("the end")
    parts = _terms(expression, text)
    return parts[0] if len(parts) == 1 else Expression("Append", tuple(parts))


class _Parser:
    def __init__(self, tokens: Sequence[str], text: str) -> None:
        self.tokens = tokens
        self.text = text
        self.place = 0

    def fail(self, expected: str) -> DktError:
        found = self.tokens[self.place] if self.place < len(self.tokens) else "its end"
        return DktError(f"expected {expected}, found '{found[:40]}' in the descriptor '{self.text[:200]}'")

    def take(self, expected: str, pattern: re.Pattern[str]) -> str:
        if self.place >= len(self.tokens) or not pattern.fullmatch(self.tokens[self.place]):
            raise self.fail(expected)
        self.place += 1
        return self.tokens[self.place - 1]

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def descriptor(self, depth: int) -> Expression:
        if depth > _DEEPEST:
            raise DktError(f"a descriptor of more than {_DEEPEST} levels: '{self.text[:60]}'")
        word = self.take("a descriptor", re.compile(r"[^(),]+"))
        if self.peek() != "(":
            return node(word)
        if word not in _FORMS:
            self.place -= 1
            raise self.fail(f"one of {', '.join(_FORMS)}")
        expression = Expression(word)
        for number, form in enumerate(_FORMS[word]):
            self.take("'(' or ','", re.compile(r"\(" if number == 0 else ","))
            expression = self.argument(expression, form, depth)
        if word == "Offset" and self.peek() == ",":
            self.place += 1
            if int(self.take("an integer", _INTEGER)) != 0:
                raise DktError(f"dkt knows no offset but in time, found one in '{self.text[:200]}'")
        self.take("')'", re.compile(r"\)"))
        return expression

    def argument(self, expression: Expression, form: str, depth: int) -> Expression:
        if form == "t":
            self.take("t, the only index that dkt replaces", re.compile("t"))
            return expression
        if form == "i":
            number = int(self.take("an integer", _INTEGER))
            least = 1 if expression.op in ("Round", "Const") else -_LONGEST_STEP
            if not least <= number <= _LONGEST_STEP:
                self.place -= 1
                raise self.fail(f"an integer from {least} to {_LONGEST_STEP}")
            return replace(expression, number=number)
        if form == "r":
            spelled = self.take("a number", _REAL)
            return replace(expression, factor=float(spelled), spelled=spelled)
        inputs = [self.descriptor(depth + 1)]
        while form == "d+" and self.peek() == ",":
            self.place += 1
            inputs.append(self.descriptor(depth + 1))
        return replace(expression, inputs=(*expression.inputs, *inputs))


def _terms(expression: Expression, text: str) -> list[Expression]:
    # IfDefined(Append(a, b)) is Append(IfDefined(a), IfDefined(b)): each part is there or not on its own.
    if not expression.inputs:
        return [expression]
    inner = [_terms(source, text) for source in expression.inputs]
    if expression.op == "Append":
        return [term for terms in inner for term in terms]
    if len({len(terms) for terms in inner}) > 1:
        raise DktError(f"{expression.op} of different numbers of appended parts in '{text[:200]}'")
    return [replace(expression, inputs=sources) for sources in zip(*inner, strict=True)]
