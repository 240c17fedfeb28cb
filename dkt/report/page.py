"""The page of a report: one HTML file that holds all of it, for any browser, without a network."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from dkt.base.version import __version__
from dkt.report.beliefs import Beliefs
from dkt.report.comparisons import Evaluation
from dkt.report.drawing import Picture
from dkt.report.results import Results
from dkt.report.systems import DECODED, System
from dkt.report.table import comparison_cells, table_cells
from dkt.score.wer_details import NO_WORD, operation

#: Of each system the most frequent errors of each kind.
_NUM_CONFUSIONS = 10
_OPERATIONS = {"S": "substitutions", "I": "insertions", "D": "deletions"}
_STYLE = """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 74rem; padding: 0 1rem 3rem; color: #1a1a1a; background: #fff;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 1.2rem 0 0.2rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 0.6rem; padding-top: 0.5rem; border-top: 1px solid #ccc; }
h3 { font-size: 1rem; margin: 0.4rem 0; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; padding: 0; margin: 0.5rem 0; list-style: none; }
a { color: #0b57a4; }
p, li { max-width: 46rem; }
.scroll { overflow-x: auto; max-width: 100%; margin: 0.6rem 0; border: 1px solid #ddd; }
.scroll:focus-visible { outline: 2px solid #0b57a4; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: 0.8125rem;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; padding: 0.4rem 0.6rem; font-weight: 600; }
th, td { padding: 0.3rem 0.45rem; text-align: right; border-top: 1px solid #e4e4e4; }
thead th { background: #f1f3f5; vertical-align: bottom; }
th.name, td.name { text-align: left; white-space: nowrap; }
tbody th { font-weight: 600; background: #fff; }
tr > th:first-child { position: sticky; left: 0; border-right: 1px solid #ccc; }
caption span { position: sticky; left: 0.6rem; display: inline-block; max-width: calc(100vw - 4rem); }
tbody tr:nth-child(even) > * { background: #fafafa; }
.figures { display: grid; gap: 1.2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figure.wide { grid-column: 1 / -1; }
figure img { display: block; width: 100%; height: auto; max-width: 40rem; }
figcaption { font-size: 0.875rem; color: #444; max-width: 40rem; }
.notes li { margin: 0.2rem 0; }
details { margin: 0.6rem 0; }
summary { cursor: pointer; color: #0b57a4; }
footer { margin-top: 2.5rem; font-size: 0.875rem; color: #444; }
@media (max-width: 30rem) { tbody th.name { white-space: normal; max-width: 9rem; } }
@media print { .scroll { overflow: visible; border: 0; } body { max-width: none; } }
"""


def table_html(cells: Sequence[Sequence[str]], caption: str, names: int = 1) -> str:
    """A table in a box of its own, in which it scrolls where the page is too narrow.

    Args:
        cells: rows, the first of them the head.
        caption: what it is.
        names: how many columns hold names rather than numbers.
    """

    def cell(tag: str, text: str, place: int, scope: str) -> str:
        kind = ' class="name"' if place < names else ""
        # Where a column is narrow, a number and what belongs to it go on lines of their own.
        shown = escape(text).replace(" to ", "&nbsp;to ").replace(" %", "&nbsp;%")
        if text.count("/") == 1 or tag == "th":
            shown = shown.replace("/", "/<wbr>")
        return f"<{tag}{kind}{scope}>{shown}</{tag}>"

    head = "".join(cell("th", text, place, ' scope="col"') for place, text in enumerate(cells[0]))
    body = "\n".join(
        "<tr>"
        + "".join(
            cell("th" if not place else "td", text, place, "" if place else ' scope="row"')
            for place, text in enumerate(row)
        )
        + "</tr>"
        for row in cells[1:]
    )
    label = escape(caption, quote=True)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table>'
        f"<caption><span>{escape(caption)}</span></caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def figure_html(picture: Picture) -> str:
    """A figure, its drawing within the page."""
    data = base64.b64encode(picture.svg).decode("ascii")
    kind = ' class="wide"' if picture.wide else ""
    return (
        f'<figure{kind} id="figure-{escape(picture.name)}"><h3>{escape(picture.title)}</h3>'
        f'<img alt="{escape(picture.alt, quote=True)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def page_html(results: Results, pictures: Sequence[Picture]) -> str:
    """The whole page.

    Args:
        results: what it tells.
        pictures: the figures.
    """
    full = {
        title: text for title, parts in _sections(results, pictures).items() if (text := "\n".join(parts))
    }
    places = {title: title.lower() for title in full}
    links = "".join(f'<li><a href="#{place}">{title}</a></li>' for title, place in places.items())
    body = "\n".join(
        f'<section aria-labelledby="{places[title]}">'
        f'<h2 id="{places[title]}">{title}</h2>\n{text}\n</section>'
        for title, text in full.items()
    )
    names = ", ".join(system.name for system in results.systems)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Report: {escape(names)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>Report</h1>
<p>{escape(names)}</p>
<nav aria-label="Sections"><ul>{links}</ul></nav></header>
<main>
{body}
</main>
<footer>Made by dkt {escape(__version__)} (dkt report).</footer>
</body>
</html>
"""


def _sections(results: Results, pictures: Sequence[Picture]) -> dict[str, list[str]]:
    """The parts of each section, by its title; none where there is nothing to tell."""
    drawn = {picture.name: picture for picture in pictures}
    seeds = table_html(table_cells(results.of_seeds, ()), "Seed by seed") if results.of_seeds else ""
    differences = table_html(
        comparison_cells(results.comparisons), "Paired differences of word error rates", names=3
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in results.notes)
    return {
        "Results": [
            table_html(table_cells(results.of_systems, results.references), "Systems: means over seeds"),
            *([f"<p>{escape(results.method)}</p>"] if results.method else []),
            *_figures(drawn, "wer"),
            *([_folded(seeds, "Seed by seed")] if seeds else []),
        ],
        "Differences": [differences] if results.comparisons else [],
        "Training": _figures(drawn, "curve-loss", "curve-frame-acc", "gap"),
        "Posteriors": _posteriors(results.beliefs, drawn),
        "Words": _confusions(results.systems),
        "Speakers": [*_figures(drawn, "speakers"), *_speakers(results.systems, results.evaluations)],
        "Notes": [f'<ul class="notes">{notes}</ul>'] if notes else [],
    }


def _figures(drawn: Mapping[str, Picture], *names: str) -> list[str]:
    found = [figure_html(drawn[name]) for name in names if name in drawn]
    return [f'<div class="figures">{"".join(found)}</div>'] if found else []


def _folded(content: str, title: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _posteriors(beliefs: Beliefs | None, drawn: Mapping[str, Picture]) -> list[str]:
    if beliefs is None:
        return []
    cells = [["system", "frames", "frame acc", "cross-entropy", "entropy", "ECE"]]
    for name, found in beliefs.calibration.items():
        figures = [found.accuracy, found.cross_entropy, found.entropy, found.ece]
        cells.append(
            [str(beliefs.runs[name]), f"{found.num_frames:,}", *(f"{value:.2f}" for value in figures)]
        )
    told = (
        f"{beliefs.num_utts} utterances of {beliefs.data}, labels of {beliefs.ali}. Accuracy and expected "
        "calibration error (ECE) in percent, cross-entropy with the labels and entropy in nats per frame."
    )
    return [
        table_html(cells, "Posteriors on dev labels"),
        f"<p>{escape(told)}</p>",
        *_figures(drawn, "reliability", "entropy", "posteriorgram"),
    ]


def _confusions(systems: Sequence[System]) -> list[str]:
    """A table of the most frequent errors of each system, all seeds together."""
    part = next((p for p in reversed(DECODED) if any(_pairs(system, p) for system in systems)), None)
    if part is None:
        return []
    found = [f"<p>The most frequent errors on {part}, all seeds of a system together.</p>"]
    for system in systems:
        counts: dict[str, Counter[str]] = {kind: Counter() for kind in _OPERATIONS}
        for ref, hyp in _pairs(system, part):
            kind = operation(ref, hyp)
            if kind in counts:
                counts[kind][f"{ref} → {hyp}" if kind == "S" else hyp if kind == "I" else ref] += 1
        if not any(counts.values()):
            continue
        columns = [
            [
                f"{name} ({count})"
                for name, count in sorted(of_kind.items(), key=lambda item: (-item[1], item[0]))
            ]
            for of_kind in counts.values()
        ]
        cells = [["", *_OPERATIONS.values()]]
        for place in range(min(_NUM_CONFUSIONS, max(map(len, columns)))):
            cells.append(
                [str(place + 1), *(column[place] if place < len(column) else "" for column in columns)]
            )
        found.append(table_html(cells, system.name, names=4))
    return [found[0], f'<div class="figures">{"".join(found[1:])}</div>'] if found[1:] else []


def _pairs(system: System, part: str) -> Iterable[tuple[str, str]]:
    return [
        (ref, hyp)
        for run in system.runs
        if part in run.scored
        for pairs in (run.scored[part].alignments or {}).values()
        for ref, hyp in pairs
        if ref != hyp or NO_WORD in (ref, hyp)
    ]


def _speakers(systems: Sequence[System], evaluations: Mapping[str, Evaluation]) -> list[str]:
    tables = []
    for part, evaluation in evaluations.items():
        if evaluation.unit != "speakers":
            continue
        known = [system for system in systems if evaluation.runs(system)]
        rates = {system.name: evaluation.unit_rates(system) for system in known}
        cells = [["speaker", "words", *rates]]
        for place, speaker in enumerate(evaluation.units):
            of_speaker = [values[place] for values in rates.values()]
            shown = ["-" if value != value else f"{value:.2f}" for value in of_speaker]
            cells.append([speaker, str(evaluation.words[place]), *shown])
        caption = f"Word error rates of the speakers of {part}, means over seeds"
        tables.append(_folded(table_html(cells, caption), f"Every speaker of {part}"))
    return tables
