"""Word error rates as Kaldi counts and prints them, and the best of a scan."""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys

import pytest

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.score.best_wer import best_of_scan, read_scan
from dkt.score.compute_wer import WerStats, compute_wer, score
from dkt.util.symbols import read_texts


def kaldi_edit_distance(ref, hyp):
    """Insertions, deletions, substitutions with the choices of Kaldi's util/edit-distance-inl.h at a tie."""
    row = [(0, n, 0) for n in range(len(ref) + 1)]
    for word in hyp:
        new = [(row[0][0] + 1, row[0][1], row[0][2])]
        for place, expected in enumerate(ref, 1):
            wrong = word != expected
            insertion, deletion = sum(row[place]) + 1, sum(new[-1]) + 1
            substitution = sum(row[place - 1]) + wrong
            if substitution < insertion and substitution < deletion:
                ins, dele, sub = row[place - 1]
                new.append((ins, dele, sub + wrong))
            elif deletion < insertion:
                ins, dele, sub = new[-1]
                new.append((ins, dele + 1, sub))
            else:
                ins, dele, sub = row[place]
                new.append((ins + 1, dele, sub))
        row = new
    return row[-1]


def test_errors_are_split_as_in_kaldi():
    rng = random.Random(0)
    for _ in range(500):
        ref, hyp = (rng.choices("abc", k=rng.randint(0, 8)) for _ in range(2))
        stats = WerStats()
        stats.add(ref, hyp)
        assert (stats.num_ins, stats.num_del, stats.num_sub) == kaldi_edit_distance(ref, hyp)
        assert stats.num_sentence_errors == (ref != hyp)


def test_report():
    refs = {"u1": ["a", "b", "c", "d"], "u2": ["a"], "u3": []}
    hyps = {"u1": ["a", "x", "c"], "u2": ["a"], "u3": ["b"]}
    assert score(refs, hyps).report() == (
        "%WER 60.00 [ 3 / 5, 1 ins, 1 del, 1 sub ]\n%SER 66.67 [ 2 / 3 ]\n"
        "Scored 3 sentences, 0 not present in hyp."
    )


def test_percentages_are_rounded_in_single_precision():
    # In double precision 14.275 would be printed as 14.28.
    stats = WerStats(num_words=4000, num_sub=571, num_sentences=1)
    assert stats.report().startswith("%WER 14.27 [ 571 / 4000, ")


def test_missing_hypotheses():
    refs, hyps = {"u1": ["a", "b"], "u2": ["a"]}, {"u2": ["a"]}
    present = score(refs, hyps, "present")
    assert present.report() == (
        "%WER 0.00 [ 0 / 1, 0 ins, 0 del, 0 sub ] [PARTIAL]\n%SER 0.00 [ 0 / 1 ]\n"
        "Scored 1 sentences, 1 not present in hyp."
    )
    everything = score(refs, hyps, "all")
    assert everything.report() == (
        "%WER 66.67 [ 2 / 3, 0 ins, 2 del, 0 sub ] [PARTIAL]\n%SER 50.00 [ 1 / 2 ]\n"
        "Scored 2 sentences, 1 not present in hyp."
    )
    with pytest.raises(DktError, match=r"hyp.txt: utterance 'u1': there is no hypothesis .* --mode=present"):
        score(refs, hyps, "strict", hyp_name="hyp.txt")


@pytest.mark.parametrize(
    ("refs", "hyps", "mode", "message"),
    [
        ({"u1": ["a"]}, {"u2": ["a"]}, "present", "no utterance can be scored"),
        ({}, {}, "strict", "no utterance can be scored"),
        ({"u1": []}, {"u1": ["a"]}, "strict", "the references have no words"),
        ({"u1": ["a"]}, {"u1": ["a"]}, "some", "--mode is 'some', expected one of strict, present, all"),
    ],
)
def test_what_has_no_error_rate(refs, hyps, mode, message):
    with pytest.raises(DktError, match=message):
        score(refs, hyps, mode)


def test_surplus_hypotheses_are_told(caplog):
    score({"u1": ["a"]}, {"u1": ["a"], "u2": ["b"]})
    assert "1 hypotheses have no reference (u2)" in caplog.text


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "ref").write_text("u1 one two\nu2 three\n")
    (tmp_path / "hyp").write_text("u2 three\nu1 one\n")
    return tmp_path


@pytest.mark.parametrize("prefix", ["", "ark:", "ark,t:", "ark,p:", "ark,s,cs:"])
def test_rspecifiers(texts, prefix):
    assert read_texts(f"{prefix}{texts}/hyp") == {"u2": ["three"], "u1": ["one"]}


def test_pipe_and_standard_input(texts, monkeypatch):
    assert read_texts(f"ark:sort {texts}/hyp |") == {"u1": ["one"], "u2": ["three"]}
    with pytest.raises(DktError, match="status"):
        read_texts("ark:exit 3 |")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"u1 x\nu2\n")))
    assert compute_wer(f"ark:{texts}/ref", "ark:-").num_errors == 3
    with pytest.raises(DktError, match="both come from standard input"):
        compute_wer("ark:-", "-")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("u1 a\nu1 b\n", r"hyp: utterance 'u1': line 2: duplicate key"),
        ("u1 a\n\n", r"hyp: line 2 is empty"),
        (b"u1 \xff\n", r"hyp: line 1 is not UTF-8"),
        (None, r"hyp: cannot be read: No such file"),
    ],
)
def test_broken_texts(texts, content, message):
    (texts / "hyp").unlink()
    if content is not None:
        (texts / "hyp").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DktError, match=message):
        compute_wer(f"ark:{texts}/ref", f"ark:{texts}/hyp")
    with pytest.raises(DktError, match="archives only"):
        read_texts(f"scp:{texts}/hyp")


@pytest.mark.parametrize("options", [[], ["--text"], ["--text=true", "--mode=present"]])
def test_command(texts, capsys, options):
    assert main(["compute-wer", *options, f"ark:{texts}/ref", f"ark:{texts}/hyp"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "%WER 33.33 [ 1 / 3, 0 ins, 1 del, 0 sub ]"


def test_command_starts_without_the_heavy_packages(texts):
    code = (
        "import sys; from dkt.bin import main; main(sys.argv[1:]);"
        "print([m for m in ('torch', 'kaldifst', 'kaldiio') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, "compute-wer", f"ark:{texts}/ref", f"ark:{texts}/hyp"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


def test_search_results_of_kaldi(kaldi_fixtures):
    """Twenty utterances of a system whose error rate on the whole test set is 64.92 %."""
    refs = read_texts(str(kaldi_fixtures / "data" / "test" / "text"))
    for weight in (8, 10, 12, 14):
        hyps = read_texts(f"ark:{kaldi_fixtures}/golden/nnet1/best_path_lmwt{weight}.txt")
        stats = score(refs, hyps, "present")
        assert (stats.num_sentences, stats.num_absent) == (20, 380)
        assert 50 < stats.wer < 75
        total = sum(sum(kaldi_edit_distance(refs[utt], hyp)) for utt, hyp in hyps.items())
        assert stats.num_errors == total


def write_scan(directory, errors, words=1000, template="wer_{}"):
    directory.mkdir(parents=True, exist_ok=True)
    for name, count in errors.items():
        rate = 100 * count / words
        (directory / template.format(name)).write_text(
            "compute-wer --text ark:ref ark:hyp\n"
            f"%WER {rate:.2f} [ {count} / {words}, 0 ins, 0 del, {count} sub ]\n"
            "%SER 50.00 [ 1 / 2 ]\n"
        )


def test_best_of_a_scan(tmp_path, capsys, caplog):
    write_scan(tmp_path, {"7_0.0": 120, "8_0.0": 100, "9_0.0": 110, "10_0.0": 130, "9_0.5": 90, "9_1.0": 95})
    assert main(["best-wer", "--write", str(tmp_path)]) == 0
    line = f"%WER 9.00 [ 90 / 1000, 0 ins, 0 del, 90 sub ] {tmp_path}/wer_9_0.5"
    assert capsys.readouterr().out == line + "\n"
    assert (tmp_path / "scoring_kaldi" / "best_wer").read_text() == line + "\n"
    assert (tmp_path / "scoring_kaldi" / "wer_details" / "lmwt").read_text() == "9\n"
    assert (tmp_path / "scoring_kaldi" / "wer_details" / "wip").read_text() == "0.5\n"
    assert caplog.text == ""


def test_ties_go_to_the_smallest_penalty_then_weight(tmp_path):
    write_scan(tmp_path, {"9_0.0": 90, "10_0.0": 90, "8_0.5": 90, "11_0.0": 95})
    best = best_of_scan(read_scan(tmp_path))
    assert (best.lmwt, best.wip) == ("9", "0.0")


def test_the_lower_count_wins_where_rounding_hides_it(tmp_path):
    write_scan(tmp_path, {"9_0.0": 10001, "10_0.0": 10000, "11_0.0": 10002}, words=1_000_000)
    assert best_of_scan(read_scan(tmp_path)).lmwt == "10"


def test_a_best_at_the_edge_that_others_reach_is_no_reason_to_widen_the_scan(tmp_path, caplog):
    for weight in (7, 8, 9):
        for penalty in ("0.0", "0.5", "1.0"):
            errors = 10 if weight < 9 and penalty != "1.0" else 11
            (tmp_path / f"wer_{weight}_{penalty}").write_text(
                f"%WER {errors}.00 [ {errors} / 100, 0 ins, 0 del, {errors} sub ]\n"
            )
    assert best_of_scan(read_scan(tmp_path)).path.name == "wer_7_0.0"
    assert "widen it" not in caplog.text


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ({"7_0.0": 10, "8_0.0": 12}, "the best weight, 7, is at the edge of the LM-weight grid, from 7 to 8"),
        ({"9_0.0": 12, "10_0.0": 10}, "the best weight, 10, is at the edge"),
        ({"7_0.0": 20, "8_1.0": 10, "9_0.0": 20}, "penalty, 1.0, is the largest of the grid"),
        ({"7_1.0": 20, "8_0.0": 10, "9_0.5": 20}, "penalty, 0.0, is the smallest of the grid, from 0 to 1"),
    ],
)
def test_a_best_at_the_edge_is_told(tmp_path, caplog, errors, message):
    write_scan(tmp_path, errors)
    best_of_scan(read_scan(tmp_path))
    assert message in caplog.text


def test_other_places_and_names(tmp_path, capsys):
    write_scan(tmp_path / "old", {"9": 50, "10": 40, "11": 45})
    write_scan(tmp_path / "new" / "scoring_kaldi", {"10_0.0": 50})
    (tmp_path / "old" / "wer_details").mkdir()
    (tmp_path / "old" / "wer_12").write_text("killed\n")
    assert main(["best-wer", "--write", str(tmp_path / "old"), str(tmp_path / "new")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("/")[2] for line in lines] == ["wer_10", "wer_10_0.0"]
    assert not (tmp_path / "old" / "scoring_kaldi" / "wer_details" / "wip").exists()


def test_partial_scores_and_failed_jobs_are_told(tmp_path, caplog):
    (tmp_path / "wer_9_0.0").write_text("%WER 10.00 [ 1 / 10, 0 ins, 0 del, 1 sub ] [PARTIAL]\n")
    (tmp_path / "wer_10_0.0").write_text("Killed\n")
    best = best_of_scan(read_scan(tmp_path))
    assert "wer_10_0.0: left out because it holds no %WER line" in caplog.text
    assert "wer_9_0.0: some utterances have no hypothesis" in caplog.text
    assert str(best).startswith("%WER 10.00 [ 1 / 10, 0 ins, 0 del, 1 sub ] [PARTIAL] ")


def test_directories_without_a_scan(tmp_path):
    with pytest.raises(DktError, match="nowhere: no such decoding directory"):
        read_scan(tmp_path / "nowhere")
    with pytest.raises(DktError, match="score the directory first"):
        read_scan(tmp_path)
    (tmp_path / "wer_10_0.0").write_text("Killed\n")
    with pytest.raises(DktError, match="no file wer_\\* holds a result"):
        read_scan(tmp_path)


def test_words_against_integers_are_warned_of(tmp_path, caplog):
    (tmp_path / "ref").write_text("u A B\n")
    (tmp_path / "hyp").write_text("u 1 2\n")
    assert main(["compute-wer", f"ark:{tmp_path}/ref", f"ark:{tmp_path}/hyp"]) == 0
    assert f"ark:{tmp_path}/hyp holds integers and the other table words" in caplog.text
    caplog.clear()
    for name in ("ref", "hyp"):
        assert main(["compute-wer", f"ark:{tmp_path}/{name}", f"ark:{tmp_path}/{name}"]) == 0
    assert "integers" not in caplog.text


NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("ref", "hyp", "told"),
    [
        (
            f"{NFC} " + "a " * 99,
            f"{NFD} " + "a " * 99,
            "1 of 100 words count as errors, .* the Unicode form .NFC or NFD.",
        ),
        ("\uff41 b", "a b", "1 of 2 words .* full-width letters"),
        (
            "A B",
            "a b",
            r"2 of 2 words count as errors, .* the hypotheses in letter case \('A' for 'a'\)",
        ),
        ("a, b.", "a b", "2 of 2 words .* punctuation"),
        ("A " + "b " * 99, "a " + "b " * 99, None),
        ("a b c", "a b d", None),
        ("a b", "a b", None),
    ],
)
def test_another_spelling_of_the_references_is_told(tmp_path, caplog, capsys, ref, hyp, told):
    (tmp_path / "ref").write_text(f"u1 {ref}\n", encoding="utf-8")
    (tmp_path / "hyp").write_text(f"u1 {hyp}\n", encoding="utf-8")
    assert main(["compute-wer", f"ark:{tmp_path}/ref", f"ark:{tmp_path}/hyp"]) == 0
    assert capsys.readouterr().out.startswith("%WER ")
    assert (re.search(told, caplog.text) is not None) if told else caplog.text == ""


def test_the_best_of_a_scan_compares_with_the_words_of_the_graph(tmp_path, caplog):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/text").write_text(f"u1 {NFC} ONE\n", encoding="utf-8")
    (tmp_path / "words.txt").write_text(f"<eps> 0\n{NFD} 1\none 2\ntwo 3\n", encoding="utf-8")
    scan = tmp_path / "decode"
    (scan / "scoring").mkdir(parents=True)
    (scan / "scoring/7_0.0.txt").write_text("u1 two\n")
    (scan / "wer_7_0.0").write_text("%WER 100.00 [ 2 / 2, 0 ins, 1 del, 1 sub ]\n")
    words = f"--words={tmp_path}/words.txt"
    assert main(["best-wer", "--write", f"--data={tmp_path}/data", words, str(scan)]) == 0
    assert (
        "1 of 2 words count as errors, differing from those of words.txt in the Unicode form" in caplog.text
    )
    assert "differing from those of words.txt in letter case ('ONE' for 'one')" in caplog.text
