"""Every network learns every objective: tables, the command ``dkt train``, hints and schedules."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dkt.base.config import build
from dkt.base.errors import DktError
from dkt.bin import main
from dkt.hmm.alignments import AlignmentDir
from dkt.nnet.dnn import Dnn
from dkt.nnet.hidden_layer import HiddenLayer
from dkt.nnet.model_file import load_model
from dkt.nnet.networks import NETWORKS
from dkt.targets.soft_targets import top_k_targets
from dkt.targets.teacher import TeachingOptions
from dkt.train.criterion import Frames, make_criterion
from dkt.train.hint import Guided
from dkt.train.history import load_history
from dkt.train.inputs import Sources
from dkt.train.modes import OBJECTIVES, ObjectiveConfig, mode_names
from dkt.train.recipes import load_recipe
from dkt.train.value_schedule import SCHEDULES, ValueSchedule
from dkt.util.data_dir import DataDir
from dkt.util.object_io import ObjectReader, ObjectWriter
from dkt.util.table import read_matrices
from tests.shell import ROOT
from tests.student_lab import CPU, lab, same_weights, taught, weights

__all__ = ["lab"]

CONFIGS = {
    "dnn": {
        "features": {"splice": 3},
        "network": {"hidden_layers": 2, "hidden_dim": 24, "activation": "tanh"},
        "optimizer": {"type": "adam", "minibatch_size": 32},
    },
    "lstm": {"network": {"layers": 2, "cells": 20, "projection": 10, "target_delay": 3}},
    "blstm": {"network": {"layers": 1, "cells": 16, "projection": 8}},
    "gru": {"network": {"layers": 1, "units": 20, "target_delay": 3}},
}
SCHEDULE = {
    "schedule": {"learn_rate": 0.01, "max_iters": 2},
    "fine_tuning": {"learn_rate": 0.005, "max_iters": 1},
}


def config(folder: Path, kind: str) -> Path:
    network = {"type": kind, **CONFIGS[kind]["network"]}
    sequences = {} if kind == "dnn" else {"batches": {"num_streams": 4, "chunk": 10}}
    path = folder / f"{kind}.yaml"
    path.write_text(yaml.safe_dump({**CONFIGS[kind], **SCHEDULE, **sequences, "network": network}))
    return path


def train(lab: Path, directory: Path, kind: str, *options: str) -> int:
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    return main(["train", f"--config={config(lab, kind)}", *CPU, *options, *places, str(directory)])


def test_the_tables_are_those_of_this_test():
    """Who adds a row adds it here: everything below is for all of them."""
    assert set(CONFIGS) == set(NETWORKS)
    assert set(SCHEDULES) == {"constant", "linear", "by_epoch"}
    step = (ROOT / "steps/lib/training.sh").read_text()
    assert (
        f"--mode <mode>              {', '.join(mode_names())}".replace(
            "pretrain", "pretrain (soft, then hard)"
        )
        in step
    )

    *others, last = NETWORKS
    assert f"its type ({', '.join(others)} or {last})" in (ROOT / "steps/train_nnet.sh").read_text()


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("mode", mode_names())
def test_every_network_learns_every_objective(lab, tmp_path, kind, mode):
    needs = ObjectiveConfig(mode)
    options = [f"--teacher={lab}/dnn", "--top-k=2"] if needs.needs_teacher else []
    if mode == "hint":
        options.append("--set=objective.guided_layer=1")
    assert train(lab, tmp_path / "exp", kind, f"--mode={mode}", *options) == 0
    history = load_history(tmp_path / "exp/history.csv")
    if mode == "pretrain":
        history = load_history(tmp_path / "exp/soft/history.csv")
    first, last = history[0]["cv_loss"], history[-1]["cv_loss"]
    # A DNN has what another one takes for labels after an epoch, and nothing left to learn.
    assert last < (0.05 if (mode, kind) == ("teacher_labels", "dnn") else first)
    assert history[-1]["cv_frame_acc"] > 75.0 or mode == "hint"
    output = f"ark:{tmp_path}/output"
    assert main(["forward", *CPU, str(tmp_path / "exp/final.pt"), str(lab / "dev"), output]) == 0
    posteriors = dict(read_matrices(output))
    assert len(posteriors) == 20 and all(np.allclose(p.sum(1), 1.0, atol=1e-4) for p in posteriors.values())


def test_a_small_dnn_learns_from_a_large_one_and_a_dnn_from_an_lstm(lab, tmp_path):
    """From soft targets on disk, whoever made them."""
    for kind in ("dnn", "lstm"):
        assert train(lab, tmp_path / kind, kind) == 0
        for part in ("train", "dev"):
            places = [str(tmp_path / kind / "final.pt"), str(lab / part), str(tmp_path / f"{kind}_{part}")]
            assert main(["make-soft-targets", *CPU, "--top-k=2", *places]) == 0
        targets = [f"--soft-targets={tmp_path}/{kind}_train", f"--soft-targets-dev={tmp_path}/{kind}_dev"]
        small = ["--set=network.hidden_dim=8", "--mode=soft", "--temperature=2", *targets]
        places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
        student = str(tmp_path / f"student_of_{kind}")
        assert main(["train-dnn", f"--config={config(lab, 'dnn')}", *CPU, *small, *places, student]) == 0
        last = load_history(Path(student) / "history.csv")[-1]
        # Divergence from the teacher.
        assert last["cv_loss"] < 0.15 and last["cv_frame_acc"] > 80.0


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--set=training.average_epochs=0.5"],
        ["--set=schedule.type=plateau", "--set=schedule.patience=1", "--set=schedule.start_halving_impr=0.9"],
        ["--set=schedule.type=exponential", "--set=training.average_epochs=0.5"],
    ],
)
@pytest.mark.parametrize("kind", NETWORKS)
def test_an_interrupted_training_of_any_network_goes_on_to_the_same_weights(
    lab, tmp_path, monkeypatch, kind, options
):
    from dkt.train import loop

    options = ["--set=network.dropout=0.2", "--set=schedule.max_iters=3", *options]
    assert train(lab, tmp_path / "whole", kind, *options) == 0
    epoch = loop.TrainingLoop._epoch

    def stop_after_one(self):
        if self.schedule.epoch == 1:
            raise DktError("interrupted")
        epoch(self)

    monkeypatch.setattr(loop.TrainingLoop, "_epoch", stop_after_one)
    assert train(lab, tmp_path / "parts", kind, *options) == 1
    monkeypatch.setattr(loop.TrainingLoop, "_epoch", epoch)
    assert train(lab, tmp_path / "parts", kind, *options) == 0
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    # What a finished training holds is told by the same command, and its configuration trains another.
    assert train(lab, tmp_path / "whole", kind, *options) == 0
    assert yaml.safe_load((tmp_path / "whole/config.yaml").read_text())["network"]["type"] == kind


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_training_begins_from_a_model_of_its_kind_only(lab, tmp_path, capsys, kind):
    assert train(lab, tmp_path / "first", kind) == 0
    assert train(lab, tmp_path / "second", kind, f"--init-model={tmp_path}/first") == 0
    before, after = load_history(tmp_path / "second/history.csv")
    assert (before["epoch"], after["learn_rate"]) == (0.0, 0.005)
    assert before["cv_loss"] == load_history(tmp_path / "first/history.csv")[-1]["cv_loss"]
    other = next(name for name in NETWORKS if name != kind)
    assert train(lab, tmp_path / "third", other, f"--init-model={tmp_path}/first") == 1
    assert "the training cannot begin from this model: 'kind' was" in capsys.readouterr().err


def test_a_dnn_keeps_the_transform_of_the_model_that_it_begins_from(lab, tmp_path, capsys):
    lda = "--set=features.lda_dim=2"
    assert train(lab, tmp_path / "first", "dnn", lda) == 0
    options = [lda, "--set=fine_tuning.min_iters=1", f"--init-model={tmp_path}/first/final.pt"]
    assert train(lab, tmp_path / "second", "dnn", *options) == 0
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert torch.equal(first["lda.weight"], second["lda.weight"])
    assert not torch.equal(first["output.weight"], second["output.weight"])
    assert (tmp_path / "second/lda.mat").exists()
    assert train(lab, tmp_path / "third", "dnn", f"--init-model={tmp_path}/first") == 1
    assert "has a transform of the spliced features, the configuration none" in capsys.readouterr().err
    own = ObjectReader.open(tmp_path / "first/lda.mat").matrix()
    for name, matrix in (("same", own), ("other", own + 1.0), ("narrow", own[:1])):
        writer = ObjectWriter()
        writer.matrix(matrix)
        writer.save(tmp_path / name)
        given = ["--set=features.lda_dim=null", f"--set=features.lda={tmp_path}/{name}"]
        status = train(lab, tmp_path / f"by_{name}", "dnn", *given, f"--init-model={tmp_path}/first")
        assert status == (name != "same")
        told = capsys.readouterr().err
        assert ("'features.lda' is not the transform of the model" in told) == (name != "same")
    assert (
        train(lab, tmp_path / "fourth", "dnn", "--set=features.lda_dim=1", f"--init-model={tmp_path}/first")
        == 1
    )
    assert "'features.lda_dim' is 1, the model has 2" in capsys.readouterr().err


def test_a_network_that_knows_no_transform_is_not_given_one(lab, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("dkt.nnet.dnn.Dnn.build", lambda *args: Dnn(*args[:3]))
    assert train(lab, tmp_path / "exp", "dnn", "--set=features.lda_dim=2") == 1
    assert "a dnn does not apply a transform of spliced features - leave out" in capsys.readouterr().err


# --- names ---


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "network.type=grus",
            "unknown kind of network 'grus' - did you mean gru? known are dnn, lstm, blstm, gru",
        ),
        ("network.type=transformer", "known are dnn, lstm, blstm, gru"),
        (
            "objective.mode=softt",
            "'objective.mode' is 'softt', known are hard, soft, pretrain, interpolate, logits",
        ),
        ("objective.first=pretrain", "'objective.first' is 'pretrain', known are hard, soft, interpolate"),
        (
            "objective.then=hint",
            "'objective.then' is 'hint', known are hard, soft, interpolate, logits",
        ),
        ("objective.temperature_schedule={type: square}", "known are constant, linear, by_epoch"),
        ("batches.kind=stream", "'batches.kind' is 'stream', known are streams, utterances, chunks"),
        (
            "network={type: blstm, cells: 9}",
            "'batches.kind' is streams: a blstm sees an utterance from its end",
        ),
    ],
)
def test_wrong_names_list_those_there_are(lab, tmp_path, capsys, setting, message):
    settings = (
        [f"--set={setting}", "--set=batches.kind=streams"] if "blstm" in setting else [f"--set={setting}"]
    )
    if "cells" in setting:
        settings += ["--set=network.projection=4", "--set=network={}"]
    path = tmp_path / "x.yaml"
    path.write_text("network: {type: lstm}\n")
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    assert main(["train", f"--config={path}", *CPU, *settings, *places, str(tmp_path / "exp")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "exp/config.yaml").exists()


def test_a_configuration_that_does_not_say_of_what(lab, tmp_path, capsys):
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    for arguments, message in (
        (["train"], "says nothing of the network - network.type is one of dnn, lstm, blstm, gru"),
        (
            ["train-lstm", "--set=network.type=gru"],
            "'network.type' is gru, expected lstm - dkt train trains any",
        ),
    ):
        assert main([*arguments, *CPU, *places, str(tmp_path / "exp")]) == 1
        assert message in capsys.readouterr().err


def test_the_type_of_the_network_may_be_a_setting(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("network: {type: dnn}\n")
    assert load_recipe(None, path).kind == "dnn"
    assert load_recipe(None, path, ["network.type=gru", "network.units=3"]).network.units == 3
    recipe = load_recipe(None, path, ["network={type: blstm, cells: 300}"])
    assert recipe.kind == "blstm" and recipe.network.cells == 300 and recipe.batches.kind == "chunks"
    # What a training writes down is a configuration again.
    assert load_recipe(None, None, values=recipe.describe()) == recipe


def test_earlier_names_of_modes_are_taken(lab, tmp_path):
    assert ObjectiveConfig("mix") == ObjectiveConfig("interpolate")
    assert train(lab, tmp_path / "exp", "gru", "--mode=mix", *taught(lab)) == 0
    assert yaml.safe_load((tmp_path / "exp/config.yaml").read_text())["objective"]["mode"] == "interpolate"


def test_another_objective_is_a_function_and_a_row(lab, tmp_path, monkeypatch):
    module = tmp_path / "focal.py"
    module.write_text(
        "from dkt.train.criterion import Loss\n\n\n"
        "def focal(config, frames):\n"
        "    log_p = frames.logits.log_softmax(1).gather(1, frames.labels[:, None])\n"
        "    return Loss(-((1 - log_p.exp()) ** 2 * log_p).sum(), frames.logits.new_zeros(()))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    row = type(OBJECTIVES["hard"])("hard labels, easy frames less", "focal:focal", labels=True)
    monkeypatch.setitem(OBJECTIVES, "focal", row)
    for kind in ("dnn", "blstm"):
        assert train(lab, tmp_path / kind, kind, "--mode=focal") == 0
        history = load_history(tmp_path / kind / "history.csv")
        assert history[-1]["cv_loss"] < history[0]["cv_loss"] and history[-1]["cv_frame_acc"] > 75.0


# --- phases and hints ---


def test_pretraining_by_any_two_objectives(lab, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    options = ["--mode=pretrain", "--set=objective.first=logits", "--set=objective.then=interpolate"]
    assert train(lab, tmp_path / "exp", "gru", *options, f"--teacher={lab}/dnn") == 0
    assert (tmp_path / "exp/logits/final.pt").exists() and not (tmp_path / "exp/soft").exists()
    assert "mode logits" in caplog.text and "mode interpolate" in caplog.text
    first = load_history(tmp_path / "exp/logits/history.csv")[-1]
    assert load_history(tmp_path / "exp/history.csv")[0]["cv_frame_acc"] == first["cv_frame_acc"]


def test_a_hint_guides_a_layer_before_the_posteriors_are_learnt(lab, tmp_path):
    options = ["--mode=pretrain", "--set=objective.first=hint", "--set=objective.then=soft"]
    for kind in ("lstm", "dnn"):
        assert train(lab, tmp_path / kind, kind, *options, f"--teacher={lab}/dnn") == 0
        hint = load_history(tmp_path / kind / "hint/history.csv")
        assert hint[-1]["cv_loss"] < 0.9 * hint[0]["cv_loss"]
        assert load_history(tmp_path / kind / "history.csv")[-1]["cv_frame_acc"] > 75.0
        # The linear map was of the training alone.
        assert not any("regressor" in name for name in weights(tmp_path / kind / "hint"))


def test_what_a_hint_needs(lab, tmp_path, capsys):
    for options, message in (
        (taught(lab), "a hint needs the teacher itself, soft targets hold none of its hidden layers"),
        ([], "a hint needs the teacher itself"),
        (
            [f"--teacher={lab}/dnn", "--set=objective.hint_layer=2"],
            "there is no hidden layer 2 in the teacher: it has 1",
        ),
        (
            ["--teacher=nowhere", "--set=objective.guided_layer=3"],
            "'objective.guided_layer' is 3, but the network has 2 hidden layers",
        ),
    ):
        assert train(lab, tmp_path / "exp", "lstm", "--mode=hint", *options) == 1
        assert message in capsys.readouterr().err


def test_a_hint_moves_the_layers_up_to_the_guided_one_and_no_others():
    recipe = load_recipe("dnn", None, ["network.hidden_layers=3", "network.hidden_dim=8"])
    torch.manual_seed(1)
    network = Dnn(recipe.network, 6, 4)
    guided = Guided(network, 2, 5)
    assert guided.regressor.weight.shape == (5, 8)
    inputs = torch.randn(7, 6)
    logits = guided.runner(0)(inputs)
    mapped = guided.guided(inputs)
    expected = guided.regressor(network.hidden[:4](inputs))
    torch.testing.assert_close(mapped, expected)
    targets = top_k_targets(torch.randn(7, 4).log_softmax(1), None, ())
    targets.hint = torch.randn(7, 5)
    loss = make_criterion(ObjectiveConfig("hint"))(Frames(logits, torch.zeros(7).long(), targets, mapped))
    assert loss.reported.item() == pytest.approx(0.5 * (mapped - targets.hint).square().mean(1).sum().item())
    loss.objective.backward()
    moved = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved == {f"hidden.{n}.{what}" for n in (0, 2) for what in ("weight", "bias")}
    with pytest.raises(DktError, match="no hidden layer 4 in the teacher: it has 3"):
        HiddenLayer(network, 4, "the teacher")


def test_a_hint_alone_is_warned_of(lab, tmp_path, caplog):
    assert train(lab, tmp_path / "alone", "gru", "--mode=hint", f"--teacher={lab}/dnn") == 0
    assert "a hint trains no output layer" in caplog.text
    caplog.clear()
    options = ["--mode=pretrain", "--set=objective.first=hint", f"--teacher={lab}/dnn"]
    assert train(lab, tmp_path / "first", "gru", *options) == 0
    assert "a hint trains no output layer" not in caplog.text


def test_an_interrupted_pretraining_is_not_that_of_another_first_objective(lab, tmp_path, capsys):
    options = ["--mode=pretrain", f"--teacher={lab}/dnn"]
    assert train(lab, tmp_path / "exp", "gru", *options, "--set=objective.first=hint") == 0
    (tmp_path / "exp/final.pt").unlink()
    assert train(lab, tmp_path / "exp", "gru", *options) == 1
    assert "'objective.first' was 'hint' and is 'soft' now" in capsys.readouterr().err
    assert train(lab, tmp_path / "exp", "lstm", *options, "--set=objective.first=hint") == 1
    assert "'network.type' was 'gru' and is 'lstm' now" in capsys.readouterr().err
    assert not (tmp_path / "exp/soft").exists()


def test_alignments_of_one_part_only(lab):
    ali = AlignmentDir(lab / "ali_train")
    data = DataDir(lab / "train"), DataDir(lab / "dev")
    for pair, message in (
        ((ali, None), "of the training data and none of the dev"),
        ((None, ali), "of the dev data"),
    ):
        with pytest.raises(DktError, match=message):
            Sources(*data, *pair, TeachingOptions(teacher=str(lab / "dnn"))).check(ObjectiveConfig("soft"))


def test_what_an_objective_of_ones_own_has_to_give(monkeypatch):
    frames = Frames(torch.zeros(2, 3), torch.zeros(2).long())
    for function, message in (
        (lambda config, frames: frames.logits.sum(), "gives a Tensor, expected a Loss"),
        (lambda config, frames: frames.taught, "asks for a teacher - its row is to say so: teacher=True"),
    ):
        monkeypatch.setitem(OBJECTIVES, "own", type(OBJECTIVES["hard"])("mine", function, labels=True))
        with pytest.raises(DktError, match=message):
            make_criterion(ObjectiveConfig("own"))(frames)


# --- schedules ---


def test_values_by_epoch():
    linear = ValueSchedule("linear", end=1.0, epochs=5)
    assert [linear.at(5.0, epoch) for epoch in (1, 2, 3, 5, 9)] == [5.0, 4.0, 3.0, 1.0, 1.0]
    assert linear.all(5.0) == [5.0, 4.0, 3.0, 2.0, 1.0]
    assert ValueSchedule("linear", end=2.0, epochs=1).all(5.0) == [2.0]
    steps = ValueSchedule("by_epoch", values=[4.0, 2.0, 2.0, 1.0])
    assert [steps.at(7.0, epoch) for epoch in (1, 2, 4, 5, 99)] == [4.0, 2.0, 1.0, 1.0, 1.0]
    assert ValueSchedule().all(3.0) == [3.0]
    objective = ObjectiveConfig(
        "interpolate", 7.0, 0.9, temperature_schedule=steps, soft_weight_schedule=linear
    )
    assert objective.temperatures == (4.0, 2.0, 1.0)
    second, last = objective.in_epoch(2), objective.in_epoch(None)
    assert (second.temperature, second.soft_weight) == (2.0, pytest.approx(0.925))
    assert (last.temperature, last.soft_weight, last.temperatures) == (1.0, 1.0, (1.0,))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"type": "linear"}, "'end' is of type linear, which needs it"),
        ({"end": 2.0}, "'end' is of type linear, which needs it"),
        ({"type": "by_epoch"}, "'values' are of type by_epoch, which needs them"),
        ({"type": "by_epoch", "values": 3}, "expected a list"),
        ({"type": "by_epoch", "values": [1, "x"]}, "temperature_schedule.values' is 'x', expected a number"),
        ({"type": "by_epoch", "values": [1, -1]}, "temperature_schedule.values' is -1"),
        (
            {"type": "by_epoch", "values": [1, 0]},
            "'temperature_schedule' is 0.0, expected a number from 0.01",
        ),
    ],
)
def test_impossible_schedules(section, message):
    with pytest.raises(DktError, match=message):
        build(ObjectiveConfig, {"temperature_schedule": section}, "objective")


def test_the_weight_of_the_teacher_may_end(lab, tmp_path):
    """All labels from the second epoch on: cross-validation is of labels in both."""
    schedule = "--set=objective.soft_weight_schedule={type: by_epoch, values: [1.0, 0.0]}"
    assert train(lab, tmp_path / "a", "dnn", "--mode=interpolate", schedule, *taught(lab)) == 0
    assert (
        train(lab, tmp_path / "soft", "dnn", "--mode=soft", *taught(lab), "--set=schedule.max_iters=1") == 0
    )
    first = load_history(tmp_path / "a/history.csv")[0]
    soft = load_history(tmp_path / "soft/history.csv")[0]
    # The first epoch is that of the teacher alone, at T = 1, and is told as what the end makes of it.
    assert first["running_loss"] == pytest.approx(soft["running_loss"], rel=1e-5)
    assert first["cv_frame_acc"] == soft["cv_frame_acc"] and first["cv_loss"] != soft["cv_loss"]


def test_targets_without_a_tail_at_a_temperature_of_the_schedule_are_refused(lab, tmp_path, capsys):
    linear = "--set=objective.temperature_schedule={type: linear, end: 1, epochs: 3}"
    assert train(lab, tmp_path / "a", "gru", "--mode=soft", "--temperature=2", linear, *taught(lab)) == 1
    assert "the soft targets have no tail at temperature 1.5, but at 1 2 5" in capsys.readouterr().err
    # As they are written, with six digits.
    thirds = "--set=objective.temperature_schedule={type: linear, end: 1, epochs: 4}"
    for part in ("train", "dev"):
        temperatures = "--temperatures=2 1.66667 1.33333 1"
        places = [str(lab / "dnn"), str(lab / part), str(tmp_path / part)]
        assert main(["make-soft-targets", *CPU, "--top-k=2", temperatures, *places]) == 0
    targets = [f"--soft-targets={tmp_path}/train", f"--soft-targets-dev={tmp_path}/dev"]
    assert train(lab, tmp_path / "c", "gru", "--mode=soft", "--temperature=2", thirds, *targets) == 0
    options = ["--mode=soft", "--temperature=2", linear, f"--teacher={lab}/dnn", "--top-k=2"]
    assert train(lab, tmp_path / "b", "gru", *options) == 0
    assert load_history(tmp_path / "b/history.csv")[-1]["cv_loss"] < 0.15


def test_a_value_for_each_epoch_leaves_nothing_to_an_option(lab, tmp_path, capsys):
    schedule = "--set=objective.temperature_schedule={type: by_epoch, values: [2, 1]}"
    assert train(lab, tmp_path / "a", "gru", "--mode=soft", "--temperature=5", schedule, *taught(lab)) == 1
    assert "--temperature has no effect: objective.temperature_schedule" in capsys.readouterr().err


def test_what_changes_with_the_epochs_is_told(lab, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    schedule = "--set=objective.temperature_schedule={type: by_epoch, values: [2, 2, 1]}"
    assert train(lab, tmp_path / "a", "gru", "--mode=soft", schedule, *taught(lab)) == 0
    assert "epoch 1: temperature 2" in caplog.text
    assert "objective.temperature_schedule ends in epoch 3, the training in epoch 2" in caplog.text


def test_a_model_of_every_network_is_read_back(lab, tmp_path):
    for kind in NETWORKS:
        assert train(lab, tmp_path / kind, kind, "--set=schedule.max_iters=1") == 0
        info, network = load_model(tmp_path / kind / "final.pt")
        assert info.kind == kind and len(network.hidden_layers()) == len(set(network.hidden_layers()))
        assert network.of_utterance(torch.randn(9, 6), info.left_context, info.right_context, 0).shape == (
            9,
            3,
        )
