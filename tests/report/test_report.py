"""The table, results.csv and the picture of a recipe."""

from __future__ import annotations

import csv

import pytest

from dkt.bin import main
from dkt.train.history import EpochRecord, save_history


def record(epoch, accepted, acc):
    return EpochRecord(epoch, 0.1, 1.0, 0.9, acc + 10, 1.1, acc, 0.5, accepted, 2.0)


@pytest.fixture
def exp(tmp_path):
    """A GMM with error rates, and a DNN whose last epoch was rejected and that has no test search."""
    for system, part, wer in [("mono", "dev", "12.50"), ("mono", "test", "5.25"), ("dnn", "dev", "7.00")]:
        scoring = tmp_path / system / f"decode_{part}/scoring_kaldi"
        scoring.mkdir(parents=True)
        (scoring / "best_wer").write_text(
            f"%WER {wer} [ 10 / 80, 1 ins, 2 del, 7 sub ] somewhere/wer_9_0.0\n"
        )
    save_history(
        tmp_path / "dnn/history.csv", [record(1, True, 40.0), record(2, True, 50.0), record(3, False, 45.0)]
    )
    (tmp_path / "dnn/config.yaml").write_text("training: {seed: 5}\n")
    return tmp_path


def test_results_hold_the_accepted_epoch_and_gaps_where_nothing_is(exp, capsys):
    systems = [f"gmm={exp}/mono", f"dnn={exp}/dnn"]
    assert main(["report", f"--out={exp}/report", *systems]) == 0
    rows = list(csv.DictReader((exp / "report/results.csv").open()))
    assert rows[0] == {
        "system": "gmm", "seed": "0", "train_frame_acc": "", "cv_frame_acc": "", "dev_wer": "12.50",
        "test_wer": "5.25",
    }  # fmt: skip
    assert rows[1] == {
        "system": "dnn", "seed": "5", "train_frame_acc": "60.00", "cv_frame_acc": "50.00", "dev_wer": "7.00",
        "test_wer": "",
    }  # fmt: skip
    assert (
        "| dnn    |    5 |           60.00 |        50.00 |    7.00 |        - |" in capsys.readouterr().out
    )
    assert (exp / "report/learning_curves.png").read_bytes().startswith(b"\x89PNG")


def test_seeds_of_a_system_are_averaged(exp, capsys):
    assert main(["report", f"--out={exp}/report", f"gmm={exp}/mono", f"dnn={exp}/dnn"]) == 0
    assert "| seeds" not in capsys.readouterr().out
    scoring = exp / "other/decode_dev/scoring_kaldi"
    scoring.mkdir(parents=True)
    (scoring / "best_wer").write_text("%WER 9.00 [ 9 / 100, 0 ins, 0 del, 9 sub ] x/wer_9_0.0\n")
    save_history(exp / "other/history.csv", [record(1, True, 44.0)])
    assert (
        main(["report", f"--out={exp}/report", f"gmm={exp}/mono", f"dnn={exp}/dnn", f"dnn={exp}/other"]) == 0
    )
    output = capsys.readouterr().out
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines() if "|" in line]
    assert ["gmm", "1", "-", "-", "12.50", "5.25"] in cells
    # Accuracies 60 and 54, 50 and 44; error rates 7 and 9.
    assert ["dnn", "2", "57.00 ±4.24", "47.00 ±4.24", "8.00 ±1.41", "-"] in cells


def test_missing_experiment_and_damaged_files(exp, capsys):
    assert main(["report", f"--out={exp}/report", f"dnn={exp}/nowhere"]) == 1
    assert "nowhere: does not exist - run the stage that makes it" in capsys.readouterr().err
    (exp / "dnn/history.csv").write_text("epoch,accepted\nx,True\n")
    assert main(["report", f"--out={exp}/report", f"dnn={exp}/dnn"]) == 1
    assert "history.csv: is not a learning curve" in capsys.readouterr().err
    assert main(["report", f"--out={exp}/report", "dnn"]) == 1
    (exp / "mono/decode_dev/scoring_kaldi/best_wer").write_text("")
    assert main(["report", f"--out={exp}/report", f"gmm={exp}/mono"]) == 1
    assert "best_wer: holds no %WER line" in capsys.readouterr().err


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
