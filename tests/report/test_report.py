"""The command ``report``: its table, its files and its page."""

from __future__ import annotations

import base64
import csv
import re
import sys
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from dkt.bin import main
from tests.report_lab import score_into, write_curve, write_test_set
from tests.student_lab import lab

__all__ = ["lab"]


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    """A GMM with error rates, and a DNN whose last epoch was rejected and that has no test search."""
    for system, part, wer in [("mono", "dev", "12.50"), ("mono", "test", "5.25"), ("dnn", "dev", "7.00")]:
        scoring = tmp_path / system / f"decode_{part}/scoring_kaldi"
        scoring.mkdir(parents=True)
        (scoring / "best_wer").write_text(
            f"%WER {wer} [ 10 / 80, 1 ins, 2 del, 7 sub ] somewhere/wer_9_0.0\n"
        )
    write_curve(tmp_path / "dnn", 50.0, 5)
    return tmp_path


class Page(HTMLParser):
    """What is of interest in a page; every tag is closed, but those that stand alone."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str] = []
        self.headings: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action", "data")]
        self.ids += [values["id"] or ""] if "id" in values else []
        if tag == "img":
            self.images.append(values)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in ("img", "meta", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside in ("td", "th"):
            self.tables[-1][-1][-1] += data.replace("\N{NO-BREAK SPACE}", " ")
        elif inside in ("h1", "h2", "h3"):
            self.headings.append((inside, data))
        elif inside != "style":
            self.text += data


def report(directory: Path, *arguments: str) -> tuple[list[dict[str, str]], Page]:
    """The rows of results.csv, and the page."""
    out = directory / "report"
    assert main(["report", f"--out={out}", *arguments]) == 0
    return list(csv.DictReader((out / "results.csv").open())), Page((out / "report.html").read_text())


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Returns a function that calls a report which has to fail, and gives what it said."""

    def call(*arguments: str) -> str:
        assert main(["report", f"--out={tmp_path}/report", *arguments]) == 1
        return capsys.readouterr().err

    return call


def test_results_hold_the_accepted_epoch_and_gaps_where_nothing_is(exp, capsys):
    rows, _ = report(exp, f"gmm={exp}/mono", f"dnn={exp}/dnn")
    first = ["system", "seed", "train_frame_acc", "cv_frame_acc", "dev_wer", "test_wer"]
    assert list(rows[0])[:6] == first
    assert [[row[name] for name in first] for row in rows] == [
        ["gmm", "0", "", "", "12.50", "5.25"],
        ["dnn", "5", "60.00", "50.00", "7.00", ""],
        ["gmm", "all", "", "", "12.50", "5.25"],
        ["dnn", "all", "60.00", "50.00", "7.00", ""],
    ]
    assert rows[1]["cv_loss"] == "1.2500" and rows[0]["dev_sub"] == "8.75" and rows[0]["dev_wer_low"] == ""
    output = capsys.readouterr().out
    line = next(line for line in output.splitlines() if line.startswith("| dnn "))
    assert [cell.strip() for cell in line.split("|")[1:-1]][:5] == ["dnn", "1", "60.00", "50.00", "1.2500"]
    assert f"note: decode_test is not there, or not scored: {exp}/dnn\n" in output
    assert (exp / "report/learning_curves.png").read_bytes().startswith(b"\x89PNG")


def test_seeds_of_a_system_are_averaged(exp, capsys):
    arguments = ["report", f"--out={exp}/report", f"gmm={exp}/mono", f"dnn={exp}/dnn"]
    assert main(arguments) == 0
    assert "| seed " not in capsys.readouterr().out
    scoring = exp / "other/decode_dev/scoring_kaldi"
    scoring.mkdir(parents=True)
    (scoring / "best_wer").write_text("%WER 9.00 [ 9 / 100, 0 ins, 0 del, 9 sub ] x/wer_9_0.0\n")
    write_curve(exp / "other", 44.0)
    assert main([*arguments, f"dnn={exp}/other"]) == 0
    output = capsys.readouterr().out
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines() if "|" in line]
    chosen = [
        cells[0].index(name) for name in ("system", "seeds", "train frame acc", "cv frame acc", "dev WER")
    ]
    of_systems = [[line[place] for place in chosen] for line in cells[2:4]]
    # Accuracies 60 and 54, 50 and 44; error rates 7 and 9.
    assert of_systems == [
        ["gmm", "1", "-", "-", "12.50"],
        ["dnn", "2", "57.00 ±4.24", "47.00 ±4.24", "8.00 ±1.41"],
    ]
    assert [line[:2] for line in cells[6:]] == [["gmm", "0"], ["dnn", "5"], ["dnn", "0"]]


def test_missing_experiment_and_damaged_files(exp, refused):
    assert "nowhere: does not exist - run the stage" in refused(f"dnn={exp}/nowhere")
    (exp / "file").write_text("")
    assert "file: is not a directory" in refused(f"dnn={exp}/file")
    (exp / "dnn/history.csv").write_text("epoch,accepted\nx,True\n")
    assert "history.csv: is not a learning curve" in refused(f"dnn={exp}/dnn")
    assert "'dnn': expected system=exp-dir" in refused("dnn")
    (exp / "mono/decode_dev/scoring_kaldi/best_wer").write_text("")
    assert "best_wer: holds no %WER line" in refused(f"gmm={exp}/mono")


def test_beams_are_named_where_they_differ(exp, capsys):
    log = exp / "mono/decode_dev/log"
    log.mkdir()
    head = "# dkt decode-scan --beam={} --max-active=7000 --min-active=200 final.mdl graph\n# Started\n"
    (log / "decode.1.log").write_text(head.format("13.0"))
    mark = exp / "dnn/decode_dev/.decode.done"
    mark.write_text("nj=4\nbeam=13\nlattice_beam=8.0\nmin_active=200\nmax_active=7000\nresults:\nx 1 2\n")
    arguments = ["report", f"--out={exp}/report", f"gmm={exp}/mono", f"dnn={exp}/dnn"]
    assert main(arguments) == 0
    assert "different beams" not in capsys.readouterr().out
    (log / "decode.1.log").write_text(head.format("'11'"))
    assert main(arguments) == 0
    expected = "decoded with different beams, compare with care: gmm dev beam 11; dnn dev beam 13\n"
    assert expected in capsys.readouterr().out


def test_a_grid_without_its_best_point_and_a_choice_on_test(exp, capsys):
    """Kaldi's older scripts leave only wer_N; where test has several of them, the best was chosen on test."""
    decode = exp / "dnn/decode_test"
    decode.mkdir()
    for weight, errors in (("9", 12), ("10", 8), ("11", 9)):
        line = f"%WER {errors}.00 [ {errors} / 100, 1 ins, 2 del, {errors - 3} sub ]\n"
        (decode / f"wer_{weight}").write_text(line)
    rows, _ = report(exp, f"dnn={exp}/dnn")
    assert (rows[0]["test_wer"], rows[0]["test_sub"]) == ("8.00", "5.00")
    assert "the best was chosen on test itself" in capsys.readouterr().out


NAMES = ("dnn", "lstm-hard", '_a <b>&"$x$')
FIGURES = (
    *("wer", "curve-loss", "curve-frame-acc", "gap"),
    *("reliability", "entropy", "posteriorgram", "speakers"),
)


@pytest.fixture
def page_lab(lab: Path, tmp_path: Path) -> list[str]:
    """The arguments that name systems with all there is: networks, curves, two seeds, errors by speaker."""
    data = write_test_set(tmp_path / "data")
    wrong = {"dnn": {"ann-0": "ONE ONE"}, "lstm-hard": {"ann-0": "ONE", "bob-1": "ONE ONE THREE"}}
    arguments = []
    for name in NAMES:
        for seed in (1, 2):
            directory = tmp_path / f"{name[:2]}_{seed}"
            write_curve(directory, 40.0 + seed, seed)
            for part in ("dev", "test"):
                score_into(directory / f"decode_{part}", data, wrong.get(name))
            (directory / "final.pt").symlink_to(lab / "dnn/final.pt")
            (directory / "log").mkdir()
            places = " ".join(str(lab / place) for place in ("train", "dev", "ali_train", "ali_dev"))
            (directory / "log/train.log").write_text(
                f"# dkt train-dnn --set=training.seed={seed} {places} {directory} && touch x\n# Started at\n"
            )
            arguments.append(f"{name}={directory}")
    return arguments


def test_the_page_holds_everything_and_needs_nothing(page_lab, tmp_path):
    rows, page = report(tmp_path, "--num-utts=7", *page_lab)
    assert [name for name in page.ids if name.startswith("figure-")] == [f"figure-{name}" for name in FIGURES]
    assert len(set(page.ids)) == len(page.ids) and len(page.images) == len(FIGURES)
    for image in page.images:
        assert image["alt"] and len(image["alt"]) > 30
        head, _, data = (image["src"] or "").partition(",")
        svg = base64.b64decode(data).decode()
        assert head == "data:image/svg+xml;base64" and "<svg" in svg and "<script" not in svg
        # Names in figures are text too, whatever they hold.
        assert all(escape(name, quote=False) in svg for name in NAMES)
        # Names of formats look like addresses, but nobody goes there.
        assert not re.search(r'(?:href|src)="(?!#|data:image/png)', svg)
    # Nothing is fetched: links lead to places in the page, images are in it.
    assert page.addresses and all(
        address.startswith("data:") or address[1:] in page.ids for address in page.addresses
    )
    text = (tmp_path / "report/report.html").read_text()
    assert (
        "http" not in re.sub(r"base64,[\w+/=]+", "", text) and "<script" not in text and "@import" not in text
    )
    assert '<html lang="en">' in text and '<meta name="viewport" content="width=device-width' in text
    levels = [int(heading[1]) for heading, _ in page.headings]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(second - first <= 1 for first, second in pairwise(levels))
    # A name is text, whatever it holds.
    names = [line[0] for line in page.tables[0][1:]]
    assert names == list(NAMES) and "<b>" not in text
    assert [row["system"] for row in rows if row["seed"] == "all"] == names


def test_figures_of_table_page_and_csv_are_the_same(page_lab, tmp_path, capsys):
    rows, page = report(tmp_path, "--num-utts=0", *page_lab)
    by_name = {row["system"]: row for row in rows if row["seed"] == "all"}
    printed = capsys.readouterr().out.splitlines()
    markdown = (tmp_path / "report/results.md").read_text().splitlines()
    head = page.tables[0][0]
    for line in page.tables[0][1:]:
        row, cells = by_name[line[0]], dict(zip(head, line, strict=True))
        assert cells["seeds"] == row["num_seeds"] == "2"
        for title, name in (
            ("dev WER", "dev_wer"),
            ("test WER", "test_wer"),
            ("cv frame acc", "cv_frame_acc"),
        ):
            assert cells[title] == f"{row[name]} ±{row[f'{name}_sd']}"
        assert cells["test 95 %"] == f"{row['test_wer_low']} to {row['test_wer_high']}"
        assert cells["test ins/del/sub"] == "/".join(row[f"test_{edit}"] for edit in ("ins", "del", "sub"))
        assert cells["cv loss"] == row["cv_loss"] and cells["parameters"] == f"{int(row['num_params']):,}"
        for reference in ("lstm-hard", "dnn"):
            told = cells[f"p vs {reference} (dev/test)"]
            p_values = [row[f"{part}_p_vs_{reference}"] for part in ("dev", "test")]
            assert told == ("/".join(f"{float(p):.3f}" for p in p_values) if p_values[0] else "-")
            assert (told == "-") == (line[0] == reference)
        in_text = " | ".join(line[1:])
        for lines in (printed, markdown):
            assert any(re.sub(" +", " ", text).find(in_text) >= 0 for text in lines), in_text
    assert by_name["dnn"]["test_wer"] == "8.33" and by_name["lstm-hard"]["test_wer"] == "16.67"


def test_the_same_input_makes_the_same_files(page_lab, tmp_path):
    files = []
    for _ in range(2):
        report(tmp_path, "--num-utts=5", "--replications=500", *page_lab)
        files.append({p.name: p.read_bytes() for p in (tmp_path / "report").iterdir()})
    assert files[0] == files[1]
    assert set(files[0]) == {"report.html", "results.csv", "results.md", "learning_curves.png"}


def test_confusions_and_speakers(page_lab, tmp_path):
    _, page = report(tmp_path, "--num-utts=0", *page_lab)
    errors = ["substitutions", "insertions", "deletions"]
    of_dnn, of_lstm = (table for table in page.tables if table[0][1:] == errors)
    assert of_dnn[1:] == [["1", "TWO → ONE (2)", "", ""]]
    # Both seeds: a deletion of TWO, an insertion of ONE.
    assert of_lstm[1:] == [["1", "", "ONE (2)", "TWO (2)"]]
    (speakers,) = [t for t in page.tables if t[0][0] == "speaker"][1:]
    assert speakers[0][:4] == ["speaker", "words", "dnn", "lstm-hard"]
    assert speakers[1][:4] == ["ann", "4", "25.00", "25.00"] and speakers[3][:4] == [
        "cy",
        "4",
        "0.00",
        "0.00",
    ]


def test_references_are_chosen(page_lab, tmp_path, refused):
    rows, _ = report(tmp_path, "--num-utts=0", "--reference=dnn", *page_lab)
    assert [name for name in rows[0] if "_p_vs_" in name] == ["dev_p_vs_dnn", "test_p_vs_dnn"]
    assert "did you mean dnn?" in refused("--reference=dn", *page_lab)


def test_a_file_in_the_place_of_the_directory(exp, refused):
    (exp / "report").write_text("")
    assert "report: cannot be written: File exists" in refused(f"dnn={exp}/dnn")


def test_without_matplotlib_the_page_has_its_tables(page_lab, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    _, page = report(tmp_path, "--num-utts=0", *page_lab)
    assert page.images == [] and len(page.tables) > 3
    assert "matplotlib is not installed" in page.text
    assert not (tmp_path / "report/learning_curves.png").exists()
