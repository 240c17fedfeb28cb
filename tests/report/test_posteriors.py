"""What a report tells of posteriors: counted by hand, and of networks on the dev data of their trainings."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.hmm.alignments import AlignmentDir
from dkt.nnet.scorer import OutputOptions, load_scorer
from dkt.report.beliefs import ENTROPY_EDGES, Beliefs, PhoneMap, calibrate
from dkt.report.posteriors import Sample, look_at_posteriors
from dkt.report.systems import Experiment, System
from dkt.train.training_record import recorded_dev_data
from tests.hmm.test_transitions import two_phone_model
from tests.student_lab import lab

__all__ = ["lab"]
LOAD = partial(load_scorer, options=OutputOptions(apply_log=True), device=torch.device("cpu"))


def look(systems: list[System], notes: list[str], **options: Any) -> Beliefs | None:
    return look_at_posteriors(systems, LOAD, Sample(**options), notes)


def log_post(*rows: list[float]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows, dtype=np.float32))


def test_four_frames_by_hand():
    """Two sure of the right label, one of the wrong one, and one that knows nothing."""
    first = log_post([0.9, 0.1, 0.0, 0.0], [0.9, 0.1, 0.0, 0.0]), np.array([0, 1])
    second = log_post([0.0, 1.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]), np.array([1, 3])
    found = calibrate([first, second])
    assert (found.num_frames, found.accuracy) == (4, 50.0)
    assert found.cross_entropy == pytest.approx(-(np.log(0.9) + np.log(0.1) + 0.0 + np.log(0.25)) / 4)
    of_sure = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert found.entropy == pytest.approx((2 * of_sure + np.log(4)) / 4)
    # Bins of 1/15: 0.25 in the fourth, 0.9 in the fourteenth, 1.0 in the last.
    assert found.bins[:, 0].nonzero()[0].tolist() == [3, 13, 14]
    assert found.bins[13] == pytest.approx([2, 0.9, 0.5]) and np.isnan(found.bins[0, 1])
    assert found.ece == pytest.approx(100 * (2 * 0.4 + 0.0 + 0.25) / 4, rel=1e-5)
    assert found.entropies.sum() == 4 and found.entropies[0] == 1 and len(ENTROPY_EDGES) == 26


def test_pdfs_are_folded_into_phones_without_their_position():
    model = two_phone_model()
    folded = PhoneMap.of(model, {1: "SIL", 2: "A_B"})
    assert folded.names == ["SIL", "A"] and folded.shares.shape == (model.num_pdfs, 2)
    assert np.allclose(folded.shares.sum(axis=1), 1.0)
    together = PhoneMap.of(model, {1: "A_E", 2: "A_B"})
    assert together.names == ["A"] and (together.shares == 1.0).all() and set(together.places) == {1, 2}


def experiment(lab: Path, directory: Path, *, dev: Path | None = None, ali: Path | None = None) -> System:
    """The network of the lab as one that a step trained: its log tells where the data were."""
    (directory / "log").mkdir(parents=True)
    shutil.copy(lab / "dnn/final.pt", directory)
    places = [lab / "train", dev or lab / "dev", lab / "ali_train", ali or lab / "ali_dev", directory]
    words = " ".join(f"'{place}'" for place in places)
    command = f"set -o pipefail ; /opt/bin/dkt train-dnn --mode=hard --use-gpu=no {words} && touch x"
    (directory / "log/train.log").write_text(f"# Running on host\n# {command}\n")
    return System(directory.name, [Experiment(directory.name, directory, 1, None, [], {})])


def test_figures_are_those_of_the_training(lab, tmp_path):
    """On all dev utterances the accuracy and the loss are those of the learning curve."""
    notes = []
    system = experiment(lab, tmp_path / "dnn")
    found = look([system], notes)
    assert notes == [] and (found.data, found.ali) == (lab / "dev", lab / "ali_dev") and found.num_utts == 20
    last = (lab / "dnn/history.csv").read_text().splitlines()[-1].split(",")
    head = (lab / "dnn/history.csv").read_text().splitlines()[0].split(",")
    assert found.calibration["dnn"].accuracy == pytest.approx(
        float(last[head.index("cv_frame_acc")]), abs=1e-3
    )
    assert found.calibration["dnn"].cross_entropy == pytest.approx(
        float(last[head.index("cv_loss")]), abs=1e-4
    )
    shown = found.posteriorgram
    ids = dict(AlignmentDir(lab / "ali_dev").transition_ids())[shown.utt]
    assert shown.phones == ["SIL", "A"]
    assert shown.labels.tolist() == [int(phone) - 1 for phone in two_phone_model().id2phone[ids]]
    assert shown.post["dnn"].shape == (len(ids), 2) and np.allclose(shown.post["dnn"].sum(axis=1), 1.0)


def test_a_sample_is_bounded_the_same_at_every_call_and_has_the_utterance_asked_for(lab, tmp_path):
    system = experiment(lab, tmp_path / "dnn")
    first, second, other = (look([system], [], num_utts=4, seed=seed) for seed in (1, 1, 2))
    assert first.num_utts == 4
    assert (
        first.calibration["dnn"].entropy
        == second.calibration["dnn"].entropy
        != other.calibration["dnn"].entropy
    )
    found = look([system], [], num_utts=1, utterance="d1-007")
    assert found.posteriorgram.utt == "d1-007"
    with pytest.raises(DktError, match="ali_dev: utterance 'nobody': is not aligned there"):
        look([system], [], utterance="nobody")


def test_what_is_gone_is_a_note(lab, tmp_path):
    gone, whole = (
        experiment(lab, tmp_path / "gone", dev=tmp_path / "nowhere"),
        experiment(lab, tmp_path / "whole"),
    )
    damaged, silent = experiment(lab, tmp_path / "damaged"), experiment(lab, tmp_path / "silent")
    (tmp_path / "damaged/final.pt").write_bytes(b"PK damaged")
    (tmp_path / "silent/log/train.log").unlink()
    notes = []
    found = look([gone, damaged, silent, whole], notes)
    assert list(found.calibration) == list(found.posteriorgram.post) == ["whole"] and len(notes) == 3
    assert notes[0].startswith(f"{tmp_path}/gone: no posteriors: {tmp_path}/nowhere: not a directory")
    assert "damaged: no posteriors: " in notes[1] and "silent: no posteriors: nothing tells" in notes[2]
    notes = []
    assert look([silent], notes) is None and "give --data and --ali" in notes[0]
    notes = []
    shutil.copytree(lab / "ali_dev", tmp_path / "ali")
    (tmp_path / "ali/final.mdl").write_text("no model")
    assert look([experiment(lab, tmp_path / "bad", ali=tmp_path / "ali")], notes) is None
    assert "final.mdl" in notes[0]


def test_data_that_the_user_names_have_to_be_there(lab, tmp_path):
    system = experiment(lab, tmp_path / "dnn", dev=tmp_path / "nowhere", ali=tmp_path / "nowhere")
    found = look([system], [], data=lab / "dev", ali=lab / "ali_dev")
    assert found.calibration["dnn"].num_frames > 100
    with pytest.raises(DktError, match="missing: not a directory"):
        look([system], [], data=tmp_path / "missing", ali=lab / "ali_dev")
    with pytest.raises(DktError, match="missing: not a directory"):
        look([system], [], data=lab / "dev", ali=tmp_path / "missing")
    with pytest.raises(DktError, match=r"no log/train\.log tells of dev data and alignments"):
        look([system], [], data=lab / "dev")


def test_alignments_of_another_model_are_a_note(lab, tmp_path, monkeypatch):
    system = experiment(lab, tmp_path / "dnn")
    monkeypatch.setattr(type(two_phone_model()), "num_pdfs", 5)
    notes = []
    assert look([system], notes) is None
    assert "3 pdfs, the alignments have 5" in notes[0]


def test_the_record_of_a_training(tmp_path, monkeypatch):
    log = tmp_path / "recipe/exp/dnn/log/train.log"
    log.parent.mkdir(parents=True)
    experiment = tmp_path / "recipe/exp/dnn"
    assert recorded_dev_data(experiment) is None
    log.write_text("# Started at noon\nINFO (dkt train-dnn) dkt train a b c d e\n")
    assert recorded_dev_data(experiment) is None
    log.write_text(
        "# dkt train-lstm --transform-dir=t --transform-dir-dev=exp/t --ivectors-dev= a data/dev c ali e\n"
    )
    (tmp_path / "recipe/data/dev").mkdir(parents=True)
    (tmp_path / "recipe/exp/t").mkdir()
    monkeypatch.chdir(tmp_path)
    found = recorded_dev_data(Path("recipe/exp/dnn"))
    assert found.data == tmp_path / "recipe/data/dev" and found.ali == Path("ali")
    assert found.side == SpeakerInputs(str(tmp_path / "recipe/exp/t"), None)
    # Where a teacher alone labels the data there are no alignments.
    log.write_text("# set -o pipefail ; dkt train --ivectors-dev=scp:i.scp a data/dev exp/dnn | tee x\n")
    found = recorded_dev_data(Path("recipe/exp/dnn"))
    assert found.ali is None and found.side.ivectors == "scp:i.scp"


def test_report_runs_networks_on_request_only(lab, tmp_path, monkeypatch, capsys):
    system = experiment(lab, tmp_path / "dnn")
    arguments = ["report", f"--out={tmp_path}/report", f"dnn={system.runs[0].directory}"]
    assert main([*arguments, "--num-utts=0"]) == 0
    assert "Reliability" not in (tmp_path / "report/report.html").read_text()
    assert main([*arguments, "--num-utts=3"]) == 0
    page = (tmp_path / "report/report.html").read_text()
    assert "Reliability" in page and "3 utterances of" in page
    assert main([*arguments, f"--data={tmp_path}/none"]) == 1
    assert "none: not a directory" in capsys.readouterr().err
