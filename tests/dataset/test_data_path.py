"""From directories to weights: the same by either path, and no memory that grows with the corpus."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from dkt.bin import main
from dkt.dataset import cache as feature_cache
from dkt.dataset.features import ArchiveFeatures, PackedFeatures
from dkt.dataset.frames import SplicedFrames
from dkt.dataset.sequences import Streams, WholeUtterances
from dkt.dataset.utterances import load_utterances
from dkt.feat.pipeline import FeatureOptions, MatrixFile
from dkt.feat.reader import FeatureReader
from dkt.hmm.alignments import AlignmentDir
from dkt.nnet.torchfile import load_torch, save_torch
from dkt.targets.header import TargetHeader
from dkt.targets.soft_targets import top_k_targets
from dkt.targets.store import SoftTargetWriter, TargetDir
from dkt.train import experiment, loop
from dkt.train.history import load_history
from dkt.util.data_dir import DataDir
from tests.hmm.test_transitions import two_phone_model
from tests.shell import ROOT, succeed
from tests.student_lab import CPU, lab, same_weights, soft, taught, train
from tests.synthetic import random_corpus, write_ali_dir, write_data_dir

__all__ = ["lab", "soft"]
DEVICE = torch.device("cpu")
STATS = MatrixFile("stats", np.vstack([np.full(7, 50.0), np.full(7, 200.0)]))
PIPELINES = [
    FeatureOptions(cmvn_opts="--norm-vars=true", delta_opts=""),
    FeatureOptions(
        online_cmvn_opts="--spk2utt=x --cmn-window=60 --speaker-frames=60 --global-frames=20",
        global_cmvn_stats=STATS,
    ),
]


def tensors(value):
    """Those of a batch of either kind, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value if isinstance(value, tuple) else getattr(value, "__dict__", {}).values()
    return [tensor for part in parts for tensor in tensors(part)]


def spoilt(lab, path) -> Path:
    """The training data with an utterance that has no alignment, one that is cut and one that is dropped."""
    alignments = dict(AlignmentDir(lab / "ali_train").transition_ids())
    first, second, third = list(alignments)[10:13]
    del alignments[first]
    alignments[second], alignments[third] = alignments[second][:-3], alignments[third][:-9]
    write_ali_dir(path, two_phone_model(), alignments)
    return path


@pytest.mark.parametrize("options", PIPELINES)
def test_batches_are_the_same_to_the_last_bit_from_either_source(lab, tmp_path, options):
    ali = AlignmentDir(spoilt(lab, tmp_path / "ali"))
    loaded = []
    for cache_dir in (str(tmp_path / "cache"), "none"):
        reader = FeatureReader(DataDir(lab / "train"), options)
        store = TargetDir(lab / "soft_train")
        loaded.append(load_utterances(reader, ali, "data", 0.1, store, cache_dir))
    assert [type(x.features) for x in loaded] == [PackedFeatures, ArchiveFeatures]
    assert len(loaded[0].names) == 58
    # As little is kept as can be: most is read again.
    loaded[1].features._kept_bytes = 10_000

    def batches(data):
        part = data.subset(list(range(5, 55, 2)))
        yield from SplicedFrames(data, 3, 2, 64, DEVICE, pool_frames=700).shuffled(3)
        yield from SplicedFrames(part, 3, 2, 64, DEVICE)
        yield from Streams(data, 2, 4, 10).shuffled(3)
        yield from WholeUtterances(part, 2, 300)

    count = 0
    for packed, direct in zip(*map(batches, loaded), strict=True):
        pairs = list(zip(tensors(packed), tensors(direct), strict=True))
        assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)
        count += 1
    assert count > 100
    for fingerprint in (
        experiment.data_fingerprint,
        lambda data: experiment.targets_fingerprint(data, [2.0]),
    ):
        assert fingerprint(loaded[0]) == fingerprint(loaded[1]) != fingerprint(loaded[0].subset([3]))


def test_the_fingerprint_is_that_of_all_arrays_end_to_end(lab):
    """As it always was: experiments that were begun before go on."""
    reader = FeatureReader(DataDir(lab / "dev"), FeatureOptions())
    data = load_utterances(reader, AlignmentDir(lab / "ali_dev"), "data")
    digest = experiment.hashlib.sha256("\n".join(data.names).encode())
    digest.update(data.labels.astype(np.int64).tobytes() + data.features.matrix.tobytes())
    assert experiment.data_fingerprint(data) == digest.hexdigest()[:16]


def train_dnn(lab, directory, *options):
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    return main(["train-dnn", f"--config={lab}/dnn.yaml", *CPU, *options, *places, str(directory)])


def test_weights_are_the_same_to_the_last_bit_from_either_source(lab, soft, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    direct = ["--cache-dir=none"]
    assert train_dnn(lab, tmp_path / "dnn", *direct, "--set=features.lda_dim=2") == 0
    assert "packed" not in caplog.text
    assert train_dnn(lab, tmp_path / "dnn2", "--set=features.lda_dim=2") == 0
    assert (tmp_path / "dnn/final.pt").read_bytes() == (tmp_path / "dnn2/final.pt").read_bytes()
    assert train(lab, tmp_path / "soft", "--mode=soft", "--temperature=2", *taught(lab), *direct) == 0
    assert same_weights(tmp_path / "soft", soft)
    elsewhere = [f"--cache-dir={tmp_path}/cache"]
    assert train(lab, tmp_path / "there", "--mode=soft", "--temperature=2", *taught(lab), *elsewhere) == 0
    assert same_weights(tmp_path / "there", soft) and len(list((tmp_path / "cache").glob("*-*/index"))) == 2


def test_a_full_disk_gives_the_same_weights_and_a_training_goes_on_by_either_path(
    lab, soft, tmp_path, monkeypatch, caplog
):
    epoch = loop.TrainingLoop._epoch

    def stop_after_one(self):
        if self.schedule.epoch == 1:
            raise KeyboardInterrupt
        epoch(self)

    options = ["--mode=soft", "--temperature=2", *taught(lab), f"--cache-dir={tmp_path}/cache"]
    with monkeypatch.context() as patch:
        patch.setattr(feature_cache, "_free", lambda place: 0)
        patch.setattr(feature_cache, "_SAMPLE", 1)
        patch.setattr(loop.TrainingLoop, "_epoch", stop_after_one)
        assert train(lab, tmp_path / "x", *options) != 0
        assert "0.0 MB are free - give a place with room by --cache-dir" in caplog.text
        assert not list((tmp_path / "cache").glob("*-*"))
    assert train(lab, tmp_path / "x", *options) == 0
    assert same_weights(tmp_path / "x", soft) and list((tmp_path / "cache").glob("*-*"))


def test_the_time_waited_for_data_is_told_and_kept(lab, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    options = ["--mode=hard", "--set=schedule.max_iters=2"]

    class Slow(Streams):
        def gather(self, pieces):
            time.sleep(0.02)
            return super().gather(pieces)

    monkeypatch.setattr("dkt.train.batches.Streams", Slow)
    assert train(lab, tmp_path / "slow", *options) == 0
    told = [float(share) for share in re.findall(r"([\d.]+) % of it waiting for data", caplog.text)]
    kept = [row["waiting"] for row in load_history(tmp_path / "slow/history.csv")]
    assert len(told) == 2 and told == pytest.approx(kept, abs=0.06)
    assert all(50.0 < share <= 100.0 for share in kept)


def test_a_checkpoint_of_before_has_waited_for_nothing(lab, tmp_path, monkeypatch):
    epoch = loop.TrainingLoop._epoch

    def stop_after_one(self):
        if self.schedule.epoch == 1:
            raise KeyboardInterrupt
        epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop.TrainingLoop, "_epoch", stop_after_one)
        assert train(lab, tmp_path / "x", "--mode=hard") != 0
    checkpoint = load_torch(tmp_path / "x/checkpoint.pt")
    for record in checkpoint["records"]:
        del record["waiting"]
    save_torch(tmp_path / "x/checkpoint.pt", checkpoint)
    assert train(lab, tmp_path / "x", "--mode=hard") == 0
    rows = load_history(tmp_path / "x/history.csv")
    assert [row["waiting"] == 0.0 for row in rows] == [True, False, False]


_MEASURE = """
import sys, torch
from pathlib import Path
from dkt.hmm.alignments import AlignmentDir
from dkt.util.data_dir import DataDir
from dkt.dataset.utterances import load_utterances
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.dataset.frames import SplicedFrames
from dkt.dataset.sequences import Streams
from dkt.targets.store import TargetDir
from dkt.train.experiment import data_fingerprint, targets_fingerprint

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

torch.set_num_threads(1)
place = Path(sys.argv[1])
reader = FeatureReader(DataDir(place / "data"), FeatureOptions(cmvn_opts=""))
before = peak = anonymous()
data = load_utterances(
    reader, AlignmentDir(place / "ali"), "data", 0.05, TargetDir(place / "soft"), sys.argv[2]
)
peak = max(peak, anonymous())
data_fingerprint(data), targets_fingerprint(data, [1.0])
peak = max(peak, anonymous())
for batches in (SplicedFrames(data, 1, 1, 256, torch.device("cpu"), pool_frames=8192), Streams(data, 2, 8)):
    for batch in batches.shuffled(1):
        peak = max(peak, anonymous())
print(data.num_frames, peak - before)
"""


@pytest.mark.parametrize("cache_dir", ["cache", "none"])
def test_no_memory_grows_with_the_corpus(tmp_path, cache_dir):
    """76 MB of features, 8 MB of labels as they are computed with, and 46 MB of soft targets."""
    lengths = [5000] * 64
    model = two_phone_model()
    rng = np.random.default_rng(1)
    features = {f"s{i:02d}-0": rng.normal(size=(n, 60)).astype(np.float32) for i, n in enumerate(lengths)}
    ids = np.tile([1, 2], 2500).astype(np.int32)
    write_data_dir(tmp_path / "data", features)
    write_ali_dir(tmp_path / "ali", model, dict.fromkeys(features, ids))
    header = TargetHeader("0" * 16, 40, 30, (1.0,), {})
    targets = top_k_targets(torch.randn(5000, 40).log_softmax(dim=1), 30, (1.0,))
    with SoftTargetWriter(tmp_path / "soft", header) as writer:
        for utt in features:
            writer.write(utt, targets)
    place = cache_dir if cache_dir == "none" else str(tmp_path / cache_dir)
    command = [sys.executable, "-c", _MEASURE, str(tmp_path), place]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    num_frames, grown = map(float, found.stdout.split())
    assert num_frames == sum(lengths)
    # What archives give is kept up to 32 MB; besides, there is one pool and a few batches.
    assert grown < (60 if cache_dir == "none" else 20)


def test_packed_features_in_a_data_directory_are_in_nobodys_way(lab, tmp_path):
    shutil.copytree(lab / "train", tmp_path / "train")
    write_data_dir(tmp_path / "train", random_corpus(1, "t", 60)[0])
    places = [str(tmp_path / "train"), *(str(lab / name) for name in ("dev", "ali_train", "ali_dev", "x"))]
    assert main(["train-dnn", f"--config={lab}/dnn.yaml", *CPU, *places[:-1], str(tmp_path / "dnn")]) == 0
    assert list((tmp_path / "train/.packed").glob("*-*/features"))
    assert main(["check", str(tmp_path / "train"), str(lab / "ali_train")]) == 0
    splitter = ROOT / "steps/utils/split_data.sh"
    subprocess.run([splitter, str(tmp_path / "train"), "2"], check=True)
    assert not list((tmp_path / "train/split2").glob("*/.packed"))


def test_the_steps_pass_the_place_on(lab, tmp_path):
    (tmp_path / "lang").mkdir()
    shutil.copy(lab / "ali_train/phones.txt", tmp_path / "lang")
    places = [str(lab / "train"), str(lab / "dev"), "lang", str(lab / "ali_train"), str(lab / "ali_dev")]
    options = ["--use-gpu", "no", "--num-threads", "1", "--skip-check", "true"]
    for kind in ("dnn", "lstm"):
        given = [*options, f"--{kind}-config", f"{lab}/{kind}.yaml", "--cache-dir", f"cache_{kind}"]
        succeed(tmp_path, f"steps/train_{kind}.sh", *given, *places, f"exp_{kind}")
        assert len(list((tmp_path / f"cache_{kind}").glob("*-*/features"))) == 2
