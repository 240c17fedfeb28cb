"""The face for Python: what ``import dkt`` offers, and that it does what the commands do."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import dkt
from dkt.bin import main
from dkt.hmm.counts import load_counts
from dkt.nnet.model_file import load_model as read_model_file
from dkt.nnet.network import FrameNetwork
from dkt.train.criterion import Frames, Loss
from dkt.train.modes import Objective, ObjectiveConfig
from dkt.train.recipes import recipe_class
from tests.shell import BIN, ROOT
from tests.student_lab import CPU, DNN, LSTM, lab, same_weights, taught, train
from tests.synthetic import random_corpus, write_data_dir, write_matrices

__all__ = ["lab"]


# What is offered.


def stubs() -> dict[str, str]:
    """The names that type checkers see, and where they come from, as ``module:name``."""
    found: dict[str, str] = {}
    for node in ast.parse((ROOT / "dkt/__init__.py").read_text()).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                if isinstance(statement, ast.ImportFrom):
                    found |= {alias.name: f"{statement.module}:{alias.name}" for alias in statement.names}
                elif isinstance(statement, ast.Assign):
                    (name,) = statement.targets
                    found[ast.unparse(name)] = ast.unparse(statement.value)
    return found


def test_type_checkers_see_what_there_is() -> None:
    seen = stubs()
    assert sorted(seen) == sorted(dkt.__all__) and set(dkt.__all__) <= set(dir(dkt))
    assert seen.pop("load_model") == "Model.load" and dkt.load_model == dkt.Model.load
    assert seen.pop("objectives") == "dkt.train:objectives"
    assert dkt.objectives is sys.modules["dkt.train.objectives"]
    for name, place in seen.items():
        module, _, attribute = place.partition(":")
        assert getattr(dkt, name) is getattr(sys.modules[module], attribute)
    assert (ROOT / "dkt/py.typed").is_file() and '"dkt": ["py.typed"]' in (ROOT / "setup.py").read_text()


def run_python(code: str, *options: str) -> str:
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_import_is_quick_and_brings_nothing_large() -> None:
    for code in (
        "import dkt",
        "import dkt.bin",
        "import dkt; dkt.DktError, dkt.OBJECTIVES, dkt.NETWORKS, dir(dkt)",
    ):
        loaded = run_python(f"{code}\nimport sys\nprint(*sys.modules)").split()
        assert not {"torch", "numpy", "kaldiio"} & set(loaded), code
    for command in ([sys.executable, "-c", "import dkt"], [str(BIN / "dkt"), "--version"]):
        assert min(processor_seconds(command) for _ in range(5)) < 0.15, command


def processor_seconds(command: list[str]) -> float:
    """What a command takes of a processor: on a busy machine the clock tells of others."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_packages_and_modules_are_where_they_were() -> None:
    told = run_python(
        "import dkt\n"
        "from dkt import train_nnet, objectives, nnet\n"
        "import dkt.train.modes, dkt.train.training\n"
        "from dkt import train\n"
        "print(dkt.train is train, train.__name__, nnet.__name__, train.modes.OBJECTIVES is dkt.OBJECTIVES)\n"
        "print(hasattr(dkt, 'nothing'))\n"
        "try: dkt.load_modl\n"
        "except AttributeError as error: print(error, error.name)\n"
    )
    assert told.splitlines() == [
        "True dkt.train dkt.nnet True",
        "False",
        "module 'dkt' has no attribute 'load_modl' load_modl",
    ]


# Models.


@pytest.fixture(scope="module")
def teacher(lab: Path) -> dkt.Model:
    return dkt.load_model(lab / "dnn")


@pytest.fixture(scope="module")
def utterance(lab: Path, teacher: dkt.Model) -> np.ndarray:
    return next(teacher.features(lab / "dev"))[1]


def outputs(model: dkt.Model, data: Path, method: str, **options: object) -> dict[str, np.ndarray]:
    return {utt: getattr(model, method)(features, **options) for utt, features in model.features(data)}


@pytest.mark.parametrize(
    ("method", "given", "options"),
    [
        ("posteriors", {}, []),
        ("log_posteriors", {}, ["--apply-log=true"]),
        ("logits", {}, ["--no-softmax=true"]),
        ("log_likelihoods", {"prior_scale": 0.7}, ["--apply-log=true", "--prior-scale=0.7"]),
    ],
)
@pytest.mark.parametrize("kind", ["dnn", "gru"])
def test_outputs_are_those_of_dkt_forward(lab, tmp_path, method, given, options, kind) -> None:
    directory = lab / "dnn"
    if kind == "gru":
        directory = lab / "gru"
        config = {**LSTM, "network": {"type": "gru", "layers": 1, "units": 8}, "schedule": {"max_iters": 1}}
        if not directory.exists():
            places = [lab / name for name in ("train", "dev", "ali_train", "ali_dev")]
            dkt.train_nnet(config, *places, directory)
    if "prior_scale" in given:
        options = [*options, f"--class-frame-counts={directory}/ali_train_pdf.counts"]
    assert main(["forward", *CPU, *options, str(directory), str(lab / "dev"), f"ark:{tmp_path}/out.ark"]) == 0
    written = dict(dkt.read_matrices(f"ark:{tmp_path}/out.ark"))
    made = outputs(dkt.load_model(directory / "final.pt"), lab / "dev", method, **given)
    assert list(made) == list(written) and len(made) == 20
    for utt, values in made.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, written[utt])


def test_priors_are_the_mean_posteriors_if_there_are_or_those_that_are_given(
    lab, tmp_path, utterance
) -> None:
    for name in ("final.pt", "ali_train_pdf.counts"):
        (tmp_path / name).write_bytes((lab / "dnn" / name).read_bytes())
    model = dkt.load_model(tmp_path)
    counts = load_counts(tmp_path / "ali_train_pdf.counts")
    expected = model.log_posteriors(utterance) - np.log(counts / counts.sum())
    np.testing.assert_allclose(model.log_likelihoods(utterance), expected, atol=1e-5)
    np.testing.assert_allclose(model.log_likelihoods(utterance, counts), expected, atol=1e-5)
    (tmp_path / "prior_counts").write_text(" [ 1 2 1 ]\n")
    for given in (None, np.array([1.0, 2.0, 1.0]), tmp_path / "prior_counts"):
        values = dkt.load_model(tmp_path).log_likelihoods(utterance, given)
        np.testing.assert_allclose(
            values, model.log_posteriors(utterance) - np.log([0.25, 0.5, 0.25]), atol=1e-5
        )


def test_a_model_tells_what_it_is(lab, teacher) -> None:
    assert repr(teacher) == f"<dkt.Model {lab}/dnn/final.pt: dnn 1x32, 6 features, 3 pdfs>"
    assert (teacher.feature_dim, teacher.num_pdfs, teacher.device) == (6, 3, torch.device("cpu"))
    assert not teacher.network.training


def test_utterances_without_features_are_told_and_limited(tmp_path, teacher, caplog) -> None:
    features, _ = random_corpus(2, "d", 20)
    write_data_dir(tmp_path / "data", features)
    missing = list(features)[3]
    write_matrices(tmp_path / "data", "feats", {utt: x for utt, x in features.items() if utt != missing})
    assert len(dict(teacher.features(dkt.DataDir(tmp_path / "data")))) == 19
    assert f"dropped utterance '{missing}': no features" in caplog.text
    with pytest.raises(dkt.DktError, match=r"1 of 20 utterances were dropped, over the limit of 1 %"):
        list(teacher.features(tmp_path / "data", max_dropped=0.01))
    with pytest.raises(dkt.DktError, match=r"1 of 20 utterances were dropped"):
        dkt.make_soft_targets(teacher, tmp_path / "data", tmp_path / "soft", max_dropped=0.01)
    with pytest.raises(dkt.DktError, match="half-written"):
        dkt.TargetDir(tmp_path / "soft")


def test_what_cannot_be_run_is_told(lab, tmp_path, teacher, utterance) -> None:
    for given, message in [
        (
            utterance[:, :4],
            r"dnn/final.pt: features of shape \(.*, 4\), the model was trained on dimension 6",
        ),
        (utterance[:0], "no frames"),
        (np.full_like(utterance, np.nan), "not a number"),
        (("d0-000", utterance), "the features are a tuple, expected a matrix of 6 columns"),
        (utterance[0], r"features of shape \(6,\)"),
    ]:
        with pytest.raises(dkt.DktError, match=message):
            teacher.posteriors(given)
    (tmp_path / "text").write_text("text")
    (tmp_path / "nnet1").write_bytes(b"\0B<Nnet> ")
    for path, message in [
        ("", "'path' is '', expected the name of a file or directory"),
        (tmp_path, "final.pt: does not exist|does not exist"),
        (tmp_path / "text", "not a file of dkt"),
        (tmp_path / "nnet1", "a network of Kaldi's, expected a model file of dkt"),
    ]:
        with pytest.raises(dkt.DktError, match=message):
            dkt.load_model(path)
    for device in ("gpu", "meta", 3.5, "cuda:99"):
        with pytest.raises(dkt.DktError, match=f"'device' is {device}"):
            dkt.load_model(lab / "dnn", device=device)
    for counts, message in [
        (np.ones(4), "4 priors for a model of 3 pdfs"),
        (np.zeros(3), "counts are not"),
        (np.array([1.0, -1.0, np.nan]), "counts are not"),
        (tmp_path / "none", "none: cannot be read"),
    ]:
        with pytest.raises(dkt.DktError, match=message):
            teacher.log_likelihoods(utterance, counts)
    # At once, not with the first utterance.
    for call, message in [
        (lambda: teacher.features(tmp_path / "none"), "none: not a directory"),
        (lambda: teacher.features(lab / "dev", ivectors="ark:x"), "take no i-vectors"),
        (lambda: teacher.features(lab / "dev", transform_dir=tmp_path), "holds no trans.1"),
    ]:
        with pytest.raises(dkt.DktError, match=message):
            call()


# Soft targets.


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.suffix != ".scp"}


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, []),
        ({"top_k": 2, "temperatures": [1, 3]}, ["--top-k=2", "--temperatures=1 3"]),
        ({"top_k": "all"}, ["--top-k=all"]),
    ],
)
def test_soft_targets_are_those_of_the_command(lab, tmp_path, teacher, utterance, given, options) -> None:
    assert (
        main(["make-soft-targets", *CPU, *options, str(lab / "dnn"), str(lab / "dev"), str(tmp_path / "a")])
        == 0
    )
    made = dkt.make_soft_targets(teacher, lab / "dev", tmp_path / "b", **given)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    one = teacher.soft_targets(utterance, **given)
    kept = made[next(iter(made))]
    torch.testing.assert_close(kept.log_post, one.log_post, atol=2e-3, rtol=2e-3)
    assert torch.equal(kept.pdfs, one.pdfs) and kept.temperatures == one.temperatures
    assert len(made) == 20 and made.header.temperatures == kept.temperatures


def test_posteriors_of_any_teacher_become_soft_targets(lab, tmp_path, teacher) -> None:
    post = outputs(teacher, lab / "dev", "posteriors")
    made = {
        form: dkt.write_soft_targets(tmp_path / form, values.items(), top_k=2, temperatures=[2], form=form)
        for form, values in {
            "posteriors": post,
            "log-posteriors": outputs(teacher, lab / "dev", "log_posteriors"),
            "logits": outputs(teacher, lab / "dev", "logits"),
        }.items()
    }
    for targets in made.values():
        assert list(targets) == sorted(post)
        for utt, rows in post.items():
            best = np.sort(np.log(rows), axis=1)[:, ::-1]
            np.testing.assert_allclose(targets[utt].log_post.numpy(), best[:, :2], atol=0.01, rtol=1e-3)
            np.testing.assert_allclose(targets[utt].tail(2.0).numpy(), best[:, 2] / 2, atol=0.01, rtol=1e-3)
    with pytest.raises(dkt.DktError, match=r"soft.scp: utterance 'nobody': has no soft targets"):
        made["logits"]["nobody"]


def test_posteriors_that_are_none_are_refused_and_what_was_there_stays(lab, tmp_path) -> None:
    place = tmp_path / "soft"
    half = np.full((4, 2), 0.5)
    assert len(dkt.write_soft_targets(place, [("a", half), ("b", half)])) == 2
    for wrong, message in [
        ([], "there is no utterance to write"),
        ([("a", half + 1.0)], "utterance 'a': the posteriors of frame 0 sum to 3, expected 1"),
        ([("a", half[0])], r"utterance 'a': posteriors of shape \(2,\), expected \(T, P\)"),
        ([("a", [["x", "y"]])], "utterance 'a': posteriors that are not a matrix of numbers"),
    ]:
        with pytest.raises(dkt.DktError, match=message):
            dkt.write_soft_targets(place, wrong)
        assert len(dkt.TargetDir(place)) == 2
    with pytest.raises(dkt.DktError, match=r"utterance 'b': posteriors of shape \(4, 3\), expected 2 pdfs"):
        dkt.write_soft_targets(place, [("a", half), ("b", np.full((4, 3), 1 / 3))])
    with pytest.raises(dkt.DktError, match="half-written"):
        dkt.TargetDir(place)
    with pytest.raises(dkt.DktError, match="over which soft targets would be written"):
        dkt.write_soft_targets(lab / "dev", [("a", half)])
    for given, message in [
        ({"form": "logit"}, "is 'logit', known are posteriors, log-posteriors, logits")
    ] + [({"temperatures": wrong}, "temperature") for wrong in (0, "hot", [1, None], [1, 1], [])]:
        with pytest.raises(dkt.DktError, match=message):
            dkt.write_soft_targets(place, [("a", half)], **{"top_k": 1, **given})
    for top_k in (0, 3, "some", None):
        with pytest.raises(dkt.DktError, match=r"top.k"):
            dkt.write_soft_targets(place, [("a", half)], top_k=top_k)


# Trainings.

SHORT = {
    **LSTM,
    "network": {"type": "lstm", **LSTM["network"]},
    "schedule": {"learn_rate": 0.01, "max_iters": 1},
}


def places(lab: Path) -> list[Path]:
    return [lab / name for name in ("train", "dev", "ali_train", "ali_dev")]


def test_a_training_gives_the_model_of_the_command(lab, tmp_path) -> None:
    before = torch.get_num_threads()
    config = {**DNN, "network": {"type": "dnn", **DNN["network"]}}
    made = dkt.train_nnet(config, *places(lab), tmp_path / "dnn", num_threads=2)
    assert same_weights(tmp_path / "dnn", lab / "dnn") and made.path == tmp_path / "dnn/final.pt"
    assert config["network"] == {"type": "dnn", **DNN["network"]} and "type" not in DNN["network"]
    assert torch.get_num_threads() == before

    options = ["--mode=pretrain", "--temperature=2", "--set=schedule.max_iters=1", "--set=training.seed=5"]
    assert train(lab, tmp_path / "lstm", *options, *taught(lab)) == 0
    soft, soft_dev = (dkt.TargetDir(lab / f"soft_{part}") for part in ("train", "dev"))
    data, dev, *ali = places(lab)
    dkt.train_nnet(
        lab / "lstm.yaml",
        dkt.DataDir(data),
        str(dev),
        *map(dkt.AlignmentDir, ali),
        str(tmp_path / "lstm2"),
        soft_targets=soft,
        soft_targets_dev=soft_dev,
        network={"type": "lstm"},
        objective={"mode": "pretrain", "temperature": 2},
        schedule={"max_iters": np.int64(1)},
        training={"seed": 5},
    )
    assert same_weights(tmp_path / "lstm", tmp_path / "lstm2")
    assert same_weights(tmp_path / "lstm/soft", tmp_path / "lstm2/soft")


def test_a_model_teaches_and_is_begun_from_and_a_training_is_done_once(lab, tmp_path, teacher) -> None:
    taught_by = {"objective": {"mode": "soft"}}
    data = places(lab)[:2]
    student = dkt.train_nnet(SHORT, *data, None, None, tmp_path / "a", teacher=teacher, **taught_by)
    dkt.train_nnet(
        SHORT, *data, None, None, tmp_path / "b", teacher=lab / "dnn", cache_dir="none", **taught_by
    )
    assert same_weights(tmp_path / "a", tmp_path / "b")
    stamp = (tmp_path / "a/final.pt").stat().st_mtime_ns
    dkt.train_nnet(SHORT, *data, None, None, tmp_path / "a", teacher=teacher, **taught_by)
    assert (tmp_path / "a/final.pt").stat().st_mtime_ns == stamp
    with pytest.raises(dkt.DktError, match=r"'schedule.learn_rate' was 0.01 and is 0.02 now"):
        rate = {"learn_rate": 0.02}
        dkt.train_nnet(SHORT, *data, None, None, tmp_path / "a", teacher=teacher, schedule=rate, **taught_by)
    tuned = dkt.train_nnet(SHORT, *places(lab), tmp_path / "c", init_model=student)
    recorded = yaml.safe_load((tmp_path / "c/config.yaml").read_text())["derived"]["init_model"]
    assert recorded is not None and tuned.info == student.info


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"devise": "cuda"}, r"unknown key 'devise'"),
        (
            {"network": {"type": "lstn"}},
            r"unknown kind of network 'lstn' - did you mean lstm\? known are dnn, lstm",
        ),
        ({"network": "lstm"}, r"'network' is a section|says nothing of the network|'network'"),
        (
            {"objective": {"mode": "sofft"}},
            r"'objective.mode' is 'sofft', known are hard, soft, .* did you mean soft",
        ),
        ({"objective": {"mode": "soft"}}, "needs a teacher"),
        ({"network": {"cells": None}}, "'network.cells'"),
        ({"features": {"paste": object()}}, "numbers, texts, lists and mappings, found"),
        ({"num_threads": 0}, "'num_threads' is 0"),
        ({"num_threads": "auto"}, "'num_threads' is 'auto', expected an integer"),
        ({"device": "gpu"}, "'device' is gpu"),
        ({"transform_dir": "nowhere"}, "nowhere: holds no trans.1"),
        ({"init_model": "nowhere"}, "nowhere: does not exist"),
        ({"teacher": "nowhere", "objective": {"mode": "soft"}}, "nowhere: there is no such teacher"),
        ({"teacher": "dnn", "top_k": 0, "objective": {"mode": "soft"}}, "'top_k': expected an integer"),
        ({"max_dropped": 2}, "expected a number from 0 to 1"),
        ({"max_dropped": "0.1"}, "'max_dropped' is '0.1', expected a number from 0 to 1"),
        ({"teacher": ""}, "'teacher' is '', expected the name"),
        ({"init_model": 3}, "'init_model' is 3, expected the name"),
        ({"targets_form": "logit", "soft_targets": "ark:x"}, "is 'logit', known are posteriors"),
    ],
)
def test_wrong_arguments_are_told(lab, tmp_path, given, message) -> None:
    threads = torch.get_num_threads()
    with pytest.raises(dkt.DktError, match=message):
        dkt.train_nnet(SHORT, *places(lab), tmp_path / "exp", **given)
    assert not (tmp_path / "exp").exists() and torch.get_num_threads() == threads
    with pytest.raises(dkt.DktError, match="says nothing of the network"):
        dkt.train_nnet(None, *places(lab), tmp_path / "exp")
    with pytest.raises(dkt.DktError, match="'exp_dir' is '', expected"):
        dkt.train_nnet(SHORT, *places(lab), "")


def test_a_training_leaves_pytorch_as_it_was(lab, tmp_path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with torch.inference_mode():
        first = dkt.train_nnet(SHORT, *places(lab), tmp_path / "a")
    assert torch.equal(before, torch.get_rng_state())
    with torch.no_grad():
        second = dkt.train_nnet(SHORT, *places(lab), tmp_path / "b")
    states = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("posteriors", "message"),
    [
        (np.ones((3, 2)), "the posteriors are a ndarray, expected pairs"),
        (None, "the posteriors are a NoneType, expected pairs"),
        ([("a", np.full((3, 2), 0.5)), 7], "the posteriors hold a int, expected"),
        ([(1, np.full((3, 2), 0.5))], "the posteriors hold a tuple, expected"),
    ],
)
def test_posteriors_of_odd_forms(tmp_path, posteriors, message) -> None:
    with pytest.raises(dkt.DktError, match=message):
        dkt.write_soft_targets(tmp_path / "soft", posteriors, top_k="all")


def test_posteriors_may_be_a_mapping(tmp_path) -> None:
    told = {"aa": np.full((3, 2), 0.5), "bb": np.array([[0.25, 0.75]])}
    assert set(dkt.write_soft_targets(tmp_path / "soft", told, top_k="all")) == {"aa", "bb"}


def test_odd_priors(lab) -> None:
    model, frames = dkt.load_model(lab / "dnn"), np.zeros((4, 6), np.float32)
    expected = model.log_likelihoods(frames, np.array([1.0, 2.0, 3.0]))
    for counts in ([1, 2, 3], torch.tensor([1, 2, 3])):
        np.testing.assert_array_equal(model.log_likelihoods(frames, counts), expected)
    for given, message in (
        ({"prior_floor": "1e-5"}, "'prior_floor' is '1e-5', expected a number"),
        ({"prior_floor": float("nan")}, "'prior_floor' is nan"),
        ({"prior_scale": float("nan")}, "'prior_scale' is nan"),
        ({"counts": np.array(["a", "b", "c"])}, "the counts are not numbers"),
    ):
        with pytest.raises(dkt.DktError, match=message):
            model.log_likelihoods(frames, **given)


# Networks and objectives of the user's.


class Straight(FrameNetwork):
    """No hidden layer at all."""

    Config = recipe_class("dnn").__dataclass_fields__["network"].type
    sizes = "nothing"

    def __init__(self, config: object, input_dim: int, num_pdfs: int) -> None:
        super().__init__(config, input_dim, num_pdfs)
        self._normalise(input_dim)
        self.output = self._output(input_dim)

    def hidden_layers(self) -> list[nn.Module]:
        return []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.output((inputs + self.shift) * self.scale)


class Doubled(Straight):
    """Another of the same name."""


def halved(config: ObjectiveConfig, frames: Frames) -> Loss:
    """Half the cross-entropy."""
    loss = dkt.objectives.hard(frames.logits, frames.labels) / 2
    return Loss(loss, torch.zeros_like(loss))


@pytest.mark.parametrize("form", ["itself", "by its place"])
def test_rows_of_the_user_are_trained(lab, tmp_path, monkeypatch, form) -> None:
    by_name = form == "by its place"
    monkeypatch.setitem(dkt.NETWORKS, "straight", f"{__name__}:Straight" if by_name else Straight)
    loss = f"{__name__}:halved" if by_name else halved
    monkeypatch.setitem(dkt.OBJECTIVES, "halved", Objective("half of it", loss, labels=True))
    config = {**DNN, "network": {"type": "straight"}}
    made = dkt.train_nnet(config, *places(lab), tmp_path / "exp", objective={"mode": "halved"})
    assert type(made.network) is Straight
    assert yaml.safe_load((tmp_path / "exp/config.yaml").read_text())["objective"]["mode"] == "halved"
    # Another class, under the name, is another recipe.
    assert recipe_class("straight") is recipe_class("straight")
    before = recipe_class("straight")
    monkeypatch.setitem(dkt.NETWORKS, "straight", Doubled)
    assert recipe_class("straight") is not before
    monkeypatch.delitem(dkt.NETWORKS, "straight")
    with pytest.raises(dkt.DktError, match="unknown kind of network 'straight'"):
        read_model_file(tmp_path / "exp/final.pt")


@pytest.mark.parametrize(
    "row", ["dkt.nnet.nowhere:Net", "nowhere", "dkt.nnet.gru:Grru", "dkt.nnet.gru:GruConfig", 3]
)
def test_rows_that_lead_nowhere_are_told(lab, tmp_path, monkeypatch, row) -> None:
    monkeypatch.setitem(dkt.NETWORKS, "mine", row)
    with pytest.raises(dkt.DktError, match="network 'mine' is"):
        dkt.train_nnet({"network": {"type": "mine"}}, *places(lab), tmp_path / "exp")
    if isinstance(row, str) and "Config" not in row:
        monkeypatch.setitem(dkt.OBJECTIVES, "mine", Objective("", row, labels=True))
        with pytest.raises(dkt.DktError, match="the loss of 'mine' is at"):
            dkt.train_nnet(SHORT, *places(lab), tmp_path / "exp", objective={"mode": "mine"})


def test_rows_that_are_of_another_type_are_told(lab, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(dkt.OBJECTIVES, "mine", halved)
    with pytest.raises(
        dkt.DktError, match=r"objective 'mine' is <function halved .*>, expected an Objective"
    ):
        dkt.train_nnet(SHORT, *places(lab), tmp_path / "exp", objective={"mode": "mine"})
    for lacking in ("Config", "sizes"):
        bare = type("Bare", (Straight,), {lacking: None})
        if lacking == "sizes":
            bare = type("Bare", (FrameNetwork,), {"Config": Straight.Config})
        monkeypatch.setitem(dkt.NETWORKS, "mine", bare)
        with pytest.raises(dkt.DktError, match="network 'mine' lacks Config"):
            dkt.train_nnet({"network": {"type": "mine"}}, *places(lab), tmp_path / "exp")
