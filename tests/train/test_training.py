"""Schedule, loop, checkpoints and the training command, on a small synthetic task."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.hmm.counts import load_counts
from dkt.nnet import threads
from dkt.nnet.model_file import load_model
from dkt.train import feature_config, loop, trainer
from dkt.train.averaging import WeightAverage
from dkt.train.history import load_history
from dkt.train.schedule import ScheduleConfig, make_schedule
from dkt.util.object_io import ObjectReader, ObjectWriter
from dkt.util.table import read_matrices
from tests.hmm.test_transitions import two_phone_model
from tests.synthetic import random_corpus, write_ali_dir, write_data_dir, write_matrices

CONFIG = {
    "features": {"splice": 3},
    "network": {"hidden_layers": 2, "hidden_dim": 32, "activation": "tanh", "dropout": 0.1},
    "optimizer": {"minibatch_size": 32},
    "schedule": {"learn_rate": 0.01, "max_iters": 4},
}


def run_schedule(losses, **config):
    newbob = make_schedule(ScheduleConfig(learn_rate=1.0, **config), best_loss=losses[0])
    steps = []
    for loss in losses[1:]:
        rate = newbob.learn_rate
        steps.append((rate, newbob.update(loss)))
        if newbob.finished:
            break
    return steps


def test_newbob_halves_when_improvement_stalls_and_then_stops():
    # 10 % better; 0.5 % better: halving begins; 5 % better; 0.05 % better: the end.
    steps = run_schedule([10.0, 9.0, 8.955, 8.5, 8.4958, 1.0])
    assert steps == [(1.0, True), (1.0, True), (0.5, True), (0.25, True)]


def test_newbob_rejects_what_is_worse_and_measures_from_the_best():
    steps = run_schedule([10.0, 8.0, 9.0, 7.0, 7.5])
    assert steps == [(1.0, True), (1.0, False), (0.5, True), (0.25, False)]


def test_newbob_minimum_maximum_and_kept_rate():
    assert len(run_schedule([0.9**i for i in range(20)], max_iters=3)) == 3
    assert len(run_schedule([1.0] * 20, min_iters=5)) == 6
    rates = [rate for rate, _ in run_schedule([1.0] * 20, keep_lr_iters=4)]
    assert rates[:5] == [1.0] * 5 and rates[5] == 0.5


def test_plateau_waits_for_an_improvement_and_rejects_nothing_for_good():
    losses = [10.0, 8.0, 8.1, 7.99, 7.0, 7.1, 7.2, 7.3, 7.4, 7.5, 7.6]
    steps = run_schedule(losses, type="plateau", patience=2, final_learn_rate=0.25)
    # 7.99 is kept, as the best so far, but is no improvement by the percent that counts.
    assert [kept for _, kept in steps] == [True, False, True, True, False, False, False, False]
    assert [rate for rate, _ in steps] == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    # The next would be an eighth: the training ends.
    assert len(steps) == 8


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_plateau_is_that_of_pytorch(patience):
    rng = np.random.default_rng(patience)
    for shrink in (0.98, 0.991, 0.995, 0.999, 1.0):
        losses = (3.0 * shrink ** np.arange(30) * rng.uniform(1.0, 1.005, 30)).tolist()
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=patience - 1, threshold=0.01, eps=0.0
        )
        theirs.step(losses[0])
        rates = []
        for loss in losses[1:]:
            rates.append(optimizer.param_groups[0]["lr"])
            theirs.step(loss)
        steps = run_schedule(losses, type="plateau", patience=patience, final_learn_rate=1e-12, max_iters=50)
        assert [rate for rate, _ in steps] == rates


def test_plateau_keeps_the_rate_and_the_number_of_epochs_that_are_asked_for():
    stalled = {"type": "plateau", "patience": 1, "final_learn_rate": 0.25}
    assert len(run_schedule([1.0] * 30, **stalled)) == 3
    assert len(run_schedule([1.0] * 30, **stalled, min_iters=7)) == 7
    rates = [rate for rate, _ in run_schedule([1.0] * 30, **stalled, keep_lr_iters=4)]
    assert rates == [1.0] * 5 + [0.5, 0.25]


def test_exponential_goes_from_one_rate_to_the_other_whatever_the_loss():
    rates = [
        rate for rate, _ in run_schedule([1.0] * 9, type="exponential", max_iters=5, final_learn_rate=0.0625)
    ]
    assert rates == pytest.approx([1.0, 0.5, 0.25, 0.125, 0.0625])
    kept = [1.0, 1.0, *rates[1:3], 0.125]
    options = {"type": "exponential", "max_iters": 5, "final_learn_rate": 0.125, "keep_lr_iters": 1}
    assert [rate for rate, _ in run_schedule([1.0] * 9, **options)] == pytest.approx(kept)
    assert len(run_schedule([2.0, 1.0], type="exponential", max_iters=1)) == 1


@pytest.mark.parametrize(
    "given, text",
    [
        ({"final_learn_rate": 0.1}, "newbob ends by 'end_halving_impr'"),
        ({"type": "exponential", "final_learn_rate": 2.0}, "'learn_rate' 1: expected no more"),
        ({"type": "cosine"}, "known are newbob, plateau, exponential"),
    ],
)
def test_schedules_that_cannot_be(corpus, tmp_path, capsys, given, text):
    options = [f"--set=schedule.{name}={value}" for name, value in ({"learn_rate": 1.0} | given).items()]
    assert train(corpus, tmp_path / "x", *options) == 1
    assert text in capsys.readouterr().err


def test_newbob_never_accepts_what_is_not_a_number():
    assert run_schedule([1.0, float("nan")])[0] == (1.0, False)
    assert run_schedule([1.0, float("nan")], min_iters=3)[0] == (1.0, False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus")
    for name, prefix, seed, num in [("train", "t", 1, 60), ("dev", "d", 2, 20)]:
        features, alignments = random_corpus(seed, prefix, num)
        write_data_dir(path / name, features)
        write_ali_dir(path / f"ali_{name}", two_phone_model(), alignments)
    (path / "dnn.yaml").write_text(yaml.safe_dump(CONFIG))
    return path


def train(corpus, directory, *options, config="dnn.yaml"):
    places = [corpus / p for p in ("train", "dev", "ali_train", "ali_dev")]
    return main(
        ["train-dnn", f"--config={corpus / config}", "--num-threads=1", "--use-gpu=no", *options]
        + [str(p) for p in [*places, directory]]
    )


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    directory = tmp_path_factory.mktemp("exp") / "dnn"
    assert train(corpus, directory) == 0
    return directory


def test_learns_what_needs_context(trained):
    history = load_history(trained / "history.csv")
    assert len(history) == 4
    assert history[-1]["cv_frame_acc"] > 85.0
    assert history[-1]["cv_loss"] < history[0]["cv_loss"] < np.log(3)


def test_leaves_what_kaldi_leaves(trained, corpus):
    assert (trained / "final.mdl").read_bytes() == (corpus / "ali_train/final.mdl").read_bytes()
    assert (trained / "phones.txt").exists()
    assert (trained / "cmvn_opts").read_text() == "--norm-means=true --norm-vars=false\n"
    assert not (trained / "delta_opts").exists()
    counts = load_counts(trained / "ali_train_pdf.counts")
    assert len(counts) == 3 and counts.sum() > 1000
    assert yaml.safe_load((trained / "config.yaml").read_text())["network"]["hidden_dim"] == 32


@pytest.mark.parametrize("kind", ["newbob", "plateau", "exponential"])
def test_weights_that_diverge_are_put_back(corpus, tmp_path, monkeypatch, kind):
    epoch = trainer.Trainer.train_epoch

    def diverge(self, learn_rate, seed, number=1):
        metrics = epoch(self, learn_rate, seed, number)
        if number == 2:
            with torch.no_grad():
                self.network.output.weight.fill_(float("inf"))
        return metrics

    monkeypatch.setattr(trainer.Trainer, "train_epoch", diverge)
    options = [
        f"--set=schedule.type={kind}",
        "--set=schedule.max_iters=3",
        "--set=schedule.end_halving_impr=-1",
    ]
    assert train(corpus, tmp_path / "x", *options) == 0
    history = load_history(tmp_path / "x/history.csv")
    assert [row["accepted"] for row in history] == [1.0, 0.0, 1.0]
    assert history[2]["cv_loss"] < history[0]["cv_loss"]


@pytest.mark.parametrize("kind", ["newbob", "plateau", "exponential"])
def test_newbob_alone_goes_back_from_a_rejected_epoch_also_where_it_goes_on(
    corpus, tmp_path, monkeypatch, kind
):
    train_epoch, epoch = trainer.Trainer.train_epoch, loop.TrainingLoop._epoch
    begun, ended = {}, {}

    def spoil_the_second(self, learn_rate, seed, number=1):
        begun[number] = self.network.output.weight.detach().clone()
        metrics = train_epoch(self, learn_rate, seed, number)
        if number == 2:
            with torch.no_grad():
                self.network.output.weight.mul_(-3.0)
        ended[number] = self.network.output.weight.detach().clone()
        return metrics

    def stop_after_two(self):
        if self.schedule.epoch == 2:
            raise DktError("interrupted")
        epoch(self)

    monkeypatch.setattr(trainer.Trainer, "train_epoch", spoil_the_second)
    options = [
        f"--set=schedule.type={kind}",
        "--set=schedule.max_iters=3",
        "--set=schedule.end_halving_impr=-1",
    ]
    assert train(corpus, tmp_path / "whole", *options) == 0
    assert [row["accepted"] for row in load_history(tmp_path / "whole/history.csv")][:2] == [1.0, 0.0]
    assert torch.equal(begun[3], ended[1 if kind == "newbob" else 2])
    expected = begun.pop(3)
    monkeypatch.setattr(loop.TrainingLoop, "_epoch", stop_after_two)
    assert train(corpus, tmp_path / "parts", *options) == 1 and 3 not in begun
    monkeypatch.setattr(loop.TrainingLoop, "_epoch", epoch)
    assert train(corpus, tmp_path / "parts", *options) == 0
    assert torch.equal(begun[3], expected)
    assert (tmp_path / "parts/final.pt").read_bytes() == (tmp_path / "whole/final.pt").read_bytes()


def test_the_same_bytes_twice_and_other_bytes_with_another_seed(trained, corpus, tmp_path):
    assert train(corpus, tmp_path / "again") == 0
    assert (tmp_path / "again/final.pt").read_bytes() == (trained / "final.pt").read_bytes()
    assert train(corpus, tmp_path / "other", "--set=training.seed=1") == 0
    assert (tmp_path / "other/final.pt").read_bytes() != (trained / "final.pt").read_bytes()


@pytest.mark.parametrize("number", ["3", "auto"])
def test_the_same_bytes_from_any_number_of_threads(trained, corpus, tmp_path, monkeypatch, number):
    monkeypatch.setattr(threads, "_WORTH_SHARING", 0)
    assert train(corpus, tmp_path / "x", f"--num-threads={number}") == 0
    assert (tmp_path / "x/final.pt").read_bytes() == (trained / "final.pt").read_bytes()
    curves = [load_history(directory / "history.csv") for directory in (tmp_path / "x", trained)]
    for one, other in zip(*curves, strict=True):
        assert {**one, "seconds": 0, "waiting": 0} == {**other, "seconds": 0, "waiting": 0}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_an_interrupted_training_goes_on_to_the_same_weights(corpus, tmp_path, monkeypatch, optimizer):
    options = [f"--set=optimizer.type={optimizer}", "--set=schedule.max_iters=3"]
    if optimizer == "sgd":
        options.append("--set=optimizer.momentum=0.5")
    assert train(corpus, tmp_path / "whole", *options) == 0
    epoch = loop.TrainingLoop._epoch

    def stop_after_two(self):
        if self.schedule.epoch == 2:
            raise DktError("interrupted")
        epoch(self)

    monkeypatch.setattr(loop.TrainingLoop, "_epoch", stop_after_two)
    assert train(corpus, tmp_path / "parts", *options) == 1
    assert not (tmp_path / "parts/final.pt").exists()
    monkeypatch.setattr(loop.TrainingLoop, "_epoch", epoch)
    assert train(corpus, tmp_path / "parts", *options) == 0
    whole, parts = (load_model(tmp_path / d / "final.pt")[1].state_dict() for d in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert len(load_history(tmp_path / "parts/history.csv")) == 3


def test_a_finished_directory_is_left_alone_and_another_configuration_refused(trained, corpus, capsys):
    before = (trained / "final.pt").stat().st_mtime_ns
    assert train(corpus, trained) == 0
    assert (trained / "final.pt").stat().st_mtime_ns == before
    capsys.readouterr()
    assert train(corpus, trained, "--set=schedule.learn_rate=0.5") == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "config.yaml" in error and "'schedule.learn_rate' was 0.01 and is 0.5 now" in error
    assert "choose another directory" in error


def test_other_training_data_are_another_experiment(trained, corpus, capsys):
    assert main(
        ["train-dnn", f"--config={corpus}/dnn.yaml", "--use-gpu=no", "--num-threads=1"]
        + [str(corpus / p) for p in ("dev", "train", "ali_dev", "ali_train")]
        + [str(trained)]
    )
    assert "'derived.train_data'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--set=network.hiden_dim=4", "unknown key 'network.hiden_dim' - did you mean 'hidden_dim'?"),
        ("--set=network.hidden_dim=wide", "'network.hidden_dim' is 'wide', expected an integer from"),
        ("--set=network.activation=swish", "known are sigmoid, relu, tanh"),
        ("--set=schedule.learn_rate=-1", "schedule.learn_rate"),
        ("--set=features.splice=-1", "features.splice"),
        ("--set=network.hidden_dim=[1", "the value is not YAML"),
        ("--set=schedule.learn_rate=1000", "history.csv: no epoch improved on the initial weights"),
    ],
)
def test_wrong_configurations(corpus, tmp_path, capsys, option, message):
    assert train(corpus, tmp_path / "x", option) == 1
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "x/final.pt").exists()


def test_a_loss_that_is_not_a_number_ends_the_training(corpus, tmp_path, capsys):
    options = ["--set=network.activation=relu", "--set=schedule.learn_rate=1000"]
    assert train(corpus, tmp_path / "x", *options) == 1
    assert "the training loss is not a number - lower schedule.learn_rate" in capsys.readouterr().err


def test_another_lda_at_the_same_path_is_another_experiment(corpus, tmp_path, capsys):
    for offset, status in [(0.0, 0), (0.0, 0), (1.0, 1)]:
        writer = ObjectWriter()
        writer.matrix(np.eye(42) + offset)
        writer.save(tmp_path / "lda.mat")
        assert train(corpus, tmp_path / "x", f"--set=features.lda={tmp_path}/lda.mat") == status
    assert "'derived.lda'" in capsys.readouterr().err


def test_a_changed_frame_is_another_experiment(trained, corpus, tmp_path, capsys):
    matrices = dict(read_matrices(f"scp:{corpus}/train/feats.scp"))
    matrices["t0-000"][3] += 0.5
    write_data_dir(tmp_path / "train", matrices)
    places = [tmp_path / "train", corpus / "dev", corpus / "ali_train", corpus / "ali_dev", trained]
    arguments = ["train-dnn", f"--config={corpus}/dnn.yaml", "--use-gpu=no", *map(str, places)]
    assert main(arguments) == 1
    assert "'derived.train_data'" in capsys.readouterr().err


def test_a_directory_that_cannot_be_made_is_one_line(corpus, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert train(corpus, tmp_path / "file/dnn") == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("ERROR (dkt train-dnn)") and "file/dnn" in error and "directory" in error


def test_tensorboard_events_are_written_and_may_be_switched(corpus, tmp_path):
    options = ["--set=schedule.max_iters=1", "--set=training.tensorboard=true"]
    assert train(corpus, tmp_path / "x", *options) == 0
    assert list((tmp_path / "x/tensorboard").glob("events.*"))
    assert train(corpus, tmp_path / "x", "--set=schedule.max_iters=1") == 0


def test_broken_yaml(corpus, tmp_path, capsys):
    (corpus / "bad.yaml").write_text("features: [1\n")
    assert train(corpus, tmp_path / "x", config="bad.yaml") == 1
    assert "bad.yaml: not YAML" in capsys.readouterr().err


def forward(model, source, tmp_path, *options):
    out = tmp_path / "out.ark"
    status = main(["forward", "--use-gpu=no", *options, str(model), str(source), f"ark:{out}"])
    return status, dict(read_matrices(f"ark:{out}")) if status == 0 else {}


def test_posteriors_have_a_row_a_frame_and_sum_to_one(trained, corpus, tmp_path):
    status, posteriors = forward(trained / "final.pt", corpus / "dev", tmp_path)
    assert status == 0
    lengths = {utt: len(m) for utt, m in read_matrices(f"scp:{corpus}/dev/feats.scp")}
    assert {utt: len(m) for utt, m in posteriors.items()} == lengths
    for matrix in posteriors.values():
        assert matrix.shape[1] == 3
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-5)


def test_outputs_agree_with_each_other_and_with_an_utterance_alone(trained, corpus, tmp_path):
    model, dev = trained / "final.pt", corpus / "dev"
    _, posteriors = forward(model, dev, tmp_path)
    _, logs = forward(model, dev, tmp_path, "--apply-log=true")
    counts = f"--class-frame-counts={trained}/ali_train_pdf.counts"
    _, scaled = forward(model, dev, tmp_path, "--no-softmax=true", counts)
    numbers = load_counts(trained / "ali_train_pdf.counts")
    for utt, post in posteriors.items():
        np.testing.assert_allclose(np.exp(logs[utt]), post, atol=1e-5)
        # Up to a constant a frame, log-likelihood = log posterior - log prior.
        difference = scaled[utt] - (logs[utt] - np.log(numbers / numbers.sum()))
        np.testing.assert_allclose(difference - difference[:, :1], 0.0, atol=1e-3)
    utt = next(iter(posteriors))
    line = next(x for x in (dev / "feats.scp").read_text().splitlines() if x.startswith(utt))
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "feats.scp").write_text(line + "\n")
    (alone / "utt2spk").write_text(f"{utt} {utt.split('-')[0]}\n")
    (alone / "cmvn.scp").write_text((dev / "cmvn.scp").read_text())
    _, single = forward(model, alone, tmp_path)
    np.testing.assert_allclose(single[utt], posteriors[utt], atol=1e-4)


def test_forward_refuses_what_does_not_fit(trained, corpus, tmp_path, capsys):
    wide = tmp_path / "wide"
    write_data_dir(wide, {"t0-1": np.zeros((4, 9), np.float32)})
    assert forward(trained / "final.pt", wide, tmp_path)[0] == 1
    assert f"{wide}: utterance 't0-1': features of shape (4, 9), the model was trained on dimension 6" in (
        capsys.readouterr().err
    )
    write_matrices(tmp_path, "huge", {"u": np.full((2, 6), np.inf, np.float32)})
    assert forward(trained / "final.pt", f"scp:{tmp_path}/huge.scp", tmp_path)[0] == 1
    told = capsys.readouterr().err
    assert "huge.scp: utterance 'u': the features hold a value that is not a number" in told
    (tmp_path / "counts").write_text(" [ 1 2 ]\n")
    options = ["--no-softmax=true", f"--class-frame-counts={tmp_path}/counts"]
    assert forward(trained / "final.pt", corpus / "dev", tmp_path, *options)[0] == 1
    assert "2 priors for a model of 3 pdfs" in capsys.readouterr().err
    assert (
        forward(trained / "final.pt", corpus / "dev", tmp_path, "--apply-log=true", "--no-softmax=true")[0]
        == 1
    )
    assert forward(trained / "final.pt", tmp_path / "nowhere", tmp_path)[0] == 1
    assert "neither a data directory nor an rspecifier" in capsys.readouterr().err


def test_an_lda_that_a_finished_training_lacks_is_estimated_again_and_only_then(
    corpus, tmp_path, monkeypatch
):
    def finish() -> int:
        return train(corpus, tmp_path / "exp", "--set=features.lda_dim=2")

    assert finish() == 0
    lda = tmp_path / "exp/lda.mat"
    content = lda.read_bytes()
    lda.unlink()
    assert finish() == 0 and lda.read_bytes() == content
    monkeypatch.setattr(feature_config, "accumulate_spliced", None)
    assert finish() == 0 and lda.read_bytes() == content


def test_an_lda_is_estimated_and_online_cmvn_kept(corpus, tmp_path):
    options = ["--set=features.cmvn_opts=null", "--set=features.online_cmvn_opts=--norm-vars=true"]
    assert train(corpus, tmp_path / "exp", "--set=features.lda_dim=2", *options) == 0
    exp = tmp_path / "exp"
    assert ObjectReader.open(exp / "lda.mat").matrix().shape[0] == 2
    network = load_model(exp / "final.pt")[1]
    assert network.lda.weight.shape[0] == len(network.shift) == 2
    assert (exp / "online_cmvn_opts").read_text() == "--norm-vars=true\n" and not (exp / "cmvn_opts").exists()
    total = sum(stats for _, stats in read_matrices(f"scp:{corpus}/train/cmvn.scp", np.float64))
    kept = ObjectReader.open(exp / "global_cmvn_stats.mat").matrix()
    np.testing.assert_allclose(kept, total, rtol=1e-6)
    assert "apply-cmvn-online" in (exp / "feature_pipeline").read_text()


# --- averaged weights ---


def test_averages_follow_the_weights_and_forget(monkeypatch):
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    average = WeightAverage(network, updates=4.0)
    expected = network[0].weight.detach().clone()
    for update in range(1, 60):
        with torch.no_grad():
            network[0].weight.add_(1.0)
        average.update()
        decay = min(0.75, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * network[0].weight.detach()
    moving = network[0].weight.detach().clone()
    with average.in_place():
        torch.testing.assert_close(network[0].weight.detach(), expected)
    assert torch.equal(network[0].weight, moving)
    # So far behind is an average of 4 updates of a weight that grows by 1.
    torch.testing.assert_close(moving - expected, torch.full((3, 2), 3.0), atol=1e-3, rtol=0.0)


def test_what_is_measured_and_kept_are_the_averages(corpus, tmp_path, monkeypatch):
    trainers = []
    begin = trainer.Trainer.__init__

    def remember(self, *args):
        begin(self, *args)
        trainers.append(self)

    monkeypatch.setattr(trainer.Trainer, "__init__", remember)
    options = ["--set=training.average_epochs=1", "--set=schedule.max_iters=2", "--set=schedule.min_iters=2"]
    assert train(corpus, tmp_path / "x", *options) == 0
    kept = load_model(tmp_path / "x/final.pt")[1].state_dict()
    averages = trainers[0].average.state()["weights"]
    moving = trainers[0].network.state_dict()
    assert all(torch.equal(kept[name], averages[name]) for name in averages)
    # At the end they are the network's.
    assert all(torch.equal(kept[name], moving[name]) for name in averages)
    last = load_history(tmp_path / "x/history.csv")[-1]
    assert trainers[0].evaluate("cv").loss == pytest.approx(last["cv_loss"], rel=1e-5)
    assert train(corpus, tmp_path / "plain", *options[1:]) == 0
    plain = load_model(tmp_path / "plain/final.pt")[1].state_dict()
    assert not torch.equal(plain["output.weight"], kept["output.weight"])
