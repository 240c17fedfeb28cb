"""Soft targets: what is kept of a teacher, how it is stored, and every way in which it may not fit."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.hmm.counts import load_counts, save_counts
from dkt.nnet.dnn import Dnn, DnnConfig
from dkt.nnet.model_file import ModelInfo, fingerprint, load_model, save_model
from dkt.targets.header import TargetHeader
from dkt.targets.records import HEAD_SIZE
from dkt.targets.soft_targets import SoftTargets, stack, top_k_targets
from dkt.targets.store import SoftTargetWriter, TargetDir, begin, finish
from dkt.train import objectives
from dkt.util.table import read_matrices
from tests.shell import fails, succeed
from tests.synthetic import FEATURE_DIM, random_corpus, write_data_dir

TEMPERATURES = (1.0, 2.0, 5.0)
NUM_PDFS = 12


def log_posteriors(
    num_frames: int, num_pdfs: int = NUM_PDFS, scale: float = 3.0, seed: int = 0
) -> torch.Tensor:
    logits = scale * torch.randn(num_frames, num_pdfs, generator=torch.Generator().manual_seed(seed))
    return torch.log_softmax(logits, dim=1)


def make_header(top_k: int | None = 4, num_pdfs: int = NUM_PDFS, temperatures=TEMPERATURES) -> TargetHeader:
    return TargetHeader("0123456789abcdef", num_pdfs, top_k, temperatures, {"feature_dim": 40})


def kept(log_post: torch.Tensor, top_k: int | None = 4) -> SoftTargets:
    return top_k_targets(log_post, top_k, TEMPERATURES)


def same(first: SoftTargets, second: SoftTargets, tolerance: float = 0.0) -> None:
    assert torch.equal(first.pdfs, second.pdfs) and first.dense == second.dense
    assert first.temperatures == second.temperatures
    torch.testing.assert_close(first.log_post, second.log_post, rtol=tolerance, atol=0.0)
    torch.testing.assert_close(first.tails, second.tails, rtol=tolerance, atol=0.0)


# --- what is kept ---


def test_the_largest_are_kept_and_the_rest_summed_at_each_temperature():
    log_post = log_posteriors(6).double()
    targets = kept(log_post)
    for row, pdfs, values, tails in zip(log_post, targets.pdfs, targets.log_post, targets.tails, strict=True):
        order = sorted(range(NUM_PDFS), key=lambda j: -float(row[j]))
        assert pdfs.tolist() == order[:4]
        assert values.tolist() == row[order[:4]].tolist()
        for tail, temperature in zip(tails, TEMPERATURES, strict=True):
            by_hand = math.log(sum(math.exp(float(row[j]) / temperature) for j in order[4:]))
            assert float(tail) == pytest.approx(by_hand, abs=1e-12)


def test_kept_and_tail_are_the_whole_of_a_distribution():
    log_post = torch.log_softmax(log_posteriors(50).double(), dim=1)
    targets = kept(log_post)
    total = targets.log_post.exp().sum(dim=1) + targets.tail(1.0).exp()
    torch.testing.assert_close(total, torch.ones(50, dtype=torch.float64))
    for temperature in TEMPERATURES:
        whole = (log_post / temperature).exp().sum(dim=1)
        parts = (targets.log_post / temperature).exp().sum(dim=1) + targets.tail(temperature).exp()
        torch.testing.assert_close(parts, whole)


def test_a_small_tail_is_not_lost_to_rounding():
    log_post = torch.log_softmax(torch.tensor([[60.0, 0.0, 0.0, 0.0]]), dim=1)
    tail = top_k_targets(log_post, 1, (1.0,)).tail(1.0)
    assert float(tail) == pytest.approx(math.log(3.0) - 60.0, abs=1e-4)


@pytest.mark.parametrize("top_k", [None, NUM_PDFS])
def test_all_kept_leaves_no_tail_at_any_temperature(top_k):
    log_post = log_posteriors(5)
    targets = top_k_targets(log_post, top_k, TEMPERATURES)
    assert targets.dense and torch.equal(targets.log_post, log_post)
    assert targets.pdfs.tolist() == [list(range(NUM_PDFS))] * 5
    assert torch.isneginf(targets.tails).all()
    assert torch.isneginf(targets.tail(17.0)).all() and targets.tail(17.0).shape == (5,)
    logits = torch.randn(5, NUM_PDFS, generator=torch.Generator().manual_seed(1))
    loss = objectives.soft(logits, targets.pdfs, targets.log_post, targets.tail(3.0), 3.0)
    q = torch.softmax(log_post / 3.0, dim=1)
    torch.testing.assert_close(loss, -(q * torch.log_softmax(logits / 3.0, dim=1)).sum())


def test_a_temperature_that_was_not_declared_is_an_error():
    with pytest.raises(DktError, match=r"no tail at temperature 3, but at 1 2 5 - .*--temperatures"):
        kept(log_posteriors(5)).tail(3.0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_temperatures_are_above_zero(temperature):
    with pytest.raises(DktError, match=r"'temperature' is .*, expected a number from 0.01 to 1000"):
        top_k_targets(log_posteriors(2), 4, (1.0, temperature))
    with pytest.raises(DktError, match="'temperature' is"):
        kept(log_posteriors(2)).tail(temperature)
    with pytest.raises(DktError, match="'temperature' is"):
        make_header(temperatures=(temperature,))


@pytest.mark.parametrize("top_k", [0, -1, NUM_PDFS + 1])
def test_top_k_is_at_most_the_number_of_pdfs(top_k):
    with pytest.raises(DktError, match=f"--top-k is {top_k}, expected a number from 1 to the 12 pdfs"):
        top_k_targets(log_posteriors(2), top_k, (1.0,))
    with pytest.raises(DktError, match="--top-k"):
        make_header(top_k)


def test_a_tail_needs_a_temperature_and_each_once():
    with pytest.raises(DktError, match="no temperature is declared"):
        make_header(temperatures=())
    with pytest.raises(DktError, match="duplicate temperature in '2 2'"):
        make_header(temperatures=(2.0, 2.0))
    assert make_header(None, temperatures=()).dense


@pytest.mark.parametrize("top_k", [4, None])
def test_targets_are_joined_and_taken_apart(top_k):
    log_post = log_posteriors(9)
    joined = stack([kept(log_post[:4], top_k), kept(log_post[4:], top_k)])
    same(joined, kept(log_post, top_k))
    frames = torch.tensor([8, 0, 3, 3])
    same(joined.select(frames), kept(log_post[frames], top_k))
    same(joined.to("cpu"), joined)
    with pytest.raises(DktError, match="different temperatures"):
        stack([joined, top_k_targets(log_post, 4, (1.0,))])


# --- on disk ---


def write(directory: Path, top_k: int | None = 4, seed: int = 0) -> dict[str, torch.Tensor]:
    """Targets of three utterances, written out of order; gives their log-posteriors."""
    sources = {utt: log_posteriors(n, seed=seed + n) for utt, n in (("c", 3), ("a", 7), ("b", 5))}
    with SoftTargetWriter(directory, make_header(top_k)) as writer:
        for utt, log_post in sources.items():
            writer.write(utt, log_post.numpy())
    return sources


@pytest.mark.parametrize("top_k", [1, 4, 11, 12, None])
def test_round_trip(tmp_path, top_k):
    sources = write(tmp_path / "soft", top_k)
    store = TargetDir(tmp_path / "soft")
    assert list(store) == ["a", "b", "c"] and len(store) == 3
    assert "a" in store and "d" not in store
    assert store.header == make_header(top_k)
    for utt, log_post in sources.items():
        same(store.read(utt, len(log_post)), kept(log_post, top_k), tolerance=2.0**-11)
    store.close()
    store.read("a", 7)


def test_the_same_bytes_twice_and_no_path_in_them(tmp_path):
    for name in ("x", "y"):
        write(tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "x").iterdir())
    assert names == ["header.yaml", "soft.1.ark", "soft.1.scp", "soft.scp"]
    for name in ("header.yaml", "soft.1.ark", "soft.scp"):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()
    (tmp_path / "x").rename(tmp_path / "moved, with a comma")
    TargetDir(tmp_path / "moved, with a comma").read("b", 5)
    write(tmp_path / "a, b")
    TargetDir(tmp_path / "a, b").read("b", 5)


@pytest.mark.parametrize("num_pdfs", [65536, 65537])
def test_pdfs_of_two_and_of_four_bytes(tmp_path, num_pdfs):
    log_post = torch.full((2, num_pdfs), -20.0)
    log_post[0, num_pdfs - 1] = log_post[1, 40000] = 0.0
    header = make_header(1, num_pdfs)
    with SoftTargetWriter(tmp_path, header) as writer:
        writer.write("u", kept(log_post, 1))
    assert header.index_bytes == (2 if num_pdfs == 65536 else 4)
    assert TargetDir(tmp_path).read("u", 2).pdfs.tolist() == [[num_pdfs - 1], [40000]]


@pytest.mark.parametrize("top_k", [4, None])
def test_the_size_told_is_the_size_written(tmp_path, top_k):
    header = make_header(top_k)
    with SoftTargetWriter(tmp_path, header) as writer:
        writer.write("u", log_posteriors(1000).numpy())
    size = (tmp_path / "soft.1.ark").stat().st_size
    assert size == 1000 * header.bytes_per_frame + len("u ") + HEAD_SIZE + 4
    assert header.megabytes_per_hour == pytest.approx(size * 360 / 1e6, rel=0.001)


def test_sizes_of_the_usual_choices():
    # 20 pdf-ids and log-posteriors of 2 bytes each and three tails: 86 bytes per frame.
    assert make_header(20, 2000).megabytes_per_hour == pytest.approx(30.96)
    assert make_header(None, 2000).megabytes_per_hour == pytest.approx(1440.0)
    assert make_header(20, 100_000).bytes_per_frame == 126
    assert (
        "20 of 2000 pdfs, tails at temperatures 1 2 5: 31.0 MB per hour" in make_header(20, 2000).describe()
    )


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 3.0, 10.0, 60.0])
@pytest.mark.parametrize("num_pdfs", [30, 2000])
def test_half_precision_hardly_changes_the_teacher(tmp_path, scale, num_pdfs):
    log_post = log_posteriors(200, num_pdfs, scale)
    header = make_header(20, num_pdfs)
    with SoftTargetWriter(tmp_path, header) as writer:
        writer.write("u", log_post.numpy())
    back = TargetDir(tmp_path).read("u", 200)
    exact = top_k_targets(log_post.double(), 20, TEMPERATURES)
    assert torch.equal(back.pdfs, exact.pdfs)
    bound = 2.0**-11 * (math.log(21) + math.log(num_pdfs))
    for temperature in TEMPERATURES:
        q = objectives.teacher_log_probs(exact.log_post, exact.tail(temperature), temperature).exp()
        stored = objectives.teacher_log_probs(
            back.log_post.double(), back.tail(temperature).double(), temperature
        ).exp()
        distance = 0.5 * (q - stored).abs().sum(dim=1)
        # The bound holds to first order.
        assert float(distance.max()) <= 1.01 * bound


def test_what_is_finite_stays_finite(tmp_path):
    log_post = torch.tensor([[0.0, -1e6, -math.inf]])
    with SoftTargetWriter(tmp_path, make_header(None, 3)) as writer:
        writer.write("u", log_post.numpy())
    assert TargetDir(tmp_path).read("u", 1).log_post.tolist() == [[0.0, -65504.0, -math.inf]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (kept(log_posteriors(3), 5), "5 pdfs, the header says 4"),
        (top_k_targets(log_posteriors(3), 4, (1.0,)), "other temperatures"),
        (np.full((2, NUM_PDFS), np.nan, np.float32), "not a number"),
    ],
)
def test_only_what_the_header_says_is_written(tmp_path, value, message):
    with pytest.raises(DktError, match=message), SoftTargetWriter(tmp_path, make_header()) as writer:
        writer.write("u", value)


# --- jobs, and directories that are not whole ---


def write_job(directory: Path, job: int, utt: str, header: TargetHeader | None = None) -> None:
    with SoftTargetWriter(directory, header or make_header(), job) as writer:
        writer.write(utt, log_posteriors(5).numpy())


def test_jobs_share_the_work(tmp_path):
    begin(tmp_path, make_header(), num_jobs=2)
    write_job(tmp_path, 2, "a")
    write_job(tmp_path, 1, "b")
    with pytest.raises(DktError, match="half-written"):
        TargetDir(tmp_path)
    assert finish(tmp_path) == 2
    assert list(TargetDir(tmp_path)) == ["a", "b"]
    assert (tmp_path / "soft.scp").read_text() == "a soft.2.ark:2\nb soft.1.ark:2\n"
    # Made again by one writer, nothing of the two is left.
    write(tmp_path)
    assert list(TargetDir(tmp_path)) == ["a", "b", "c"]
    assert not (tmp_path / "soft.2.ark").exists()


def test_what_does_not_belong_together_is_not_joined(tmp_path):
    begin(tmp_path, make_header(), num_jobs=2)
    write_job(tmp_path, 1, "a")
    with pytest.raises(DktError, match=r"soft\.2\.scp: does not exist: job 2 of 2 has not ended"):
        finish(tmp_path)
    write_job(tmp_path, 2, "a")
    with pytest.raises(DktError, match="utterance 'a': stands in two jobs"):
        finish(tmp_path)
    with pytest.raises(DktError, match="job 3 of 2 jobs"):
        write_job(tmp_path, 3, "b")
    other = TargetHeader("another", NUM_PDFS, 4, TEMPERATURES, {"feature_dim": 40})
    with pytest.raises(DktError, match="begun with another header: 'fingerprint' was '0123456789abcdef'"):
        write_job(tmp_path, 2, "b", other)
    with pytest.raises(DktError, match=r"header\.yaml: does not exist"):
        write_job(tmp_path / "nowhere", 1, "b")


def test_a_directory_is_whole_or_refused(tmp_path):
    with pytest.raises(RuntimeError), SoftTargetWriter(tmp_path, make_header()) as writer:
        writer.write("a", log_posteriors(5).numpy())
        raise RuntimeError
    assert not (tmp_path / "soft.scp").exists() and not (tmp_path / "soft.1.scp").exists()
    with pytest.raises(DktError, match="half-written - make them again with steps/make_soft_targets"):
        TargetDir(tmp_path)
    with pytest.raises(DktError, match="has not ended"):
        finish(tmp_path)
    begin(tmp_path, make_header())
    with SoftTargetWriter(tmp_path, make_header(), 1):
        pass
    with pytest.raises(DktError, match="there are no soft targets in it"):
        finish(tmp_path)


def test_a_script_without_its_count_is_not_the_end(tmp_path):
    write(tmp_path)
    values = yaml.safe_load((tmp_path / "header.yaml").read_text())
    (tmp_path / "header.yaml").write_text(yaml.safe_dump({**values, "num_utterances": None}))
    with pytest.raises(DktError, match="half-written"):
        TargetDir(tmp_path)


def test_each_utterance_is_on_disk_when_it_is_written(tmp_path):
    with SoftTargetWriter(tmp_path, make_header()) as writer:
        for number, utt in enumerate("abc", 1):
            writer.write(utt, log_posteriors(100).numpy())
            size = number * (2 + HEAD_SIZE + 100 * make_header().bytes_per_frame + 4)
            assert (tmp_path / "soft.1.ark").stat().st_size == size


def test_writing_again_begins_by_making_the_old_unreadable(tmp_path):
    write(tmp_path)
    begin(tmp_path, make_header())
    assert [path.name for path in tmp_path.iterdir()] == ["header.yaml"]
    with pytest.raises(DktError, match="half-written"):
        TargetDir(tmp_path)


def test_a_script_that_lost_lines_is_refused(tmp_path):
    write(tmp_path)
    lines = (tmp_path / "soft.scp").read_text().splitlines(keepends=True)
    (tmp_path / "soft.scp").write_text("".join(lines[:2]))
    with pytest.raises(DktError, match=r"soft\.scp: lists 2 utterances, header\.yaml says 3"):
        TargetDir(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "not a header of soft targets"),
        ({"format": "other"}, "not a header of soft targets"),
        ({"version": 99}, "of version 99, this dkt reads up to 1"),
        ({"top_k": 13}, r"damaged \(--top-k is 13"),
        ({"temperatures": ["x"]}, "damaged"),
        ({"temperatures": 5}, "damaged"),
        ({"num_pdfs": "many"}, "damaged .*'num_pdfs' is 'many', expected int"),
        ({"extra": 1}, "damaged .*unknown key 'extra'"),
    ],
)
def test_damaged_headers(tmp_path, change, message):
    write(tmp_path)
    path = tmp_path / "header.yaml"
    values = yaml.safe_load(path.read_text())
    path.write_text("{" if change is None else yaml.safe_dump({**values, **change}))
    with pytest.raises(DktError, match=rf"header\.yaml: .*{message}"):
        TargetDir(tmp_path)
    del values["fingerprint"]
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(DktError, match=r"header\.yaml: is damaged .*fingerprint"):
        TargetDir(tmp_path)


# --- damaged records ---


@pytest.mark.parametrize("top_k", [4, None])
def test_every_damaged_byte_is_noticed(tmp_path, top_k):
    with SoftTargetWriter(tmp_path, make_header(top_k)) as writer:
        writer.write("utt", log_posteriors(2).numpy())
    data = (tmp_path / "soft.1.ark").read_bytes()
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x41
        (tmp_path / "soft.1.ark").write_bytes(damaged)
        with pytest.raises(DktError, match=r"soft\.1\.ark: utterance 'utt': .*make them again"):
            TargetDir(tmp_path).read("utt", 2)


def test_a_record_cut_at_every_byte_is_an_error(tmp_path):
    with SoftTargetWriter(tmp_path, make_header()) as writer:
        writer.write("a", log_posteriors(2).numpy())
        writer.write("b", log_posteriors(2).numpy())
    data = (tmp_path / "soft.1.ark").read_bytes()
    for size in range(len(data)):
        (tmp_path / "soft.1.ark").write_bytes(data[:size])
        store = TargetDir(tmp_path)
        with pytest.raises(DktError, match=r"soft\.1\.ark: utterance 'b'"):
            store.read("b", 2)
        if size >= len(data) // 2:
            store.read("a", 2)


def test_a_record_that_promises_the_world_is_an_error_not_a_crash(tmp_path):
    write(tmp_path)
    data = bytearray((tmp_path / "soft.1.ark").read_bytes())
    struct.pack_into("<I", data, 2 + 8, 0xFFFFFFFF)
    (tmp_path / "soft.1.ark").write_bytes(data)
    with pytest.raises(DktError, match="utterance 'c': the record is cut short"):
        TargetDir(tmp_path).read("c", 3)


def test_places_of_other_records_and_files(tmp_path):
    write(tmp_path)
    # As an earlier dkt left it, without checksums.
    values = yaml.safe_load((tmp_path / "header.yaml").read_text())
    del values["script_crc32"]
    (tmp_path / "header.yaml").write_text(yaml.safe_dump(values))
    script = tmp_path / "soft.scp"
    text = script.read_text()
    places = dict(line.split() for line in text.splitlines())
    script.write_text(
        text.replace(places["a"], "x").replace(places["b"], places["a"]).replace("x", places["b"])
    )
    with pytest.raises(DktError, match="utterance 'a': there is no record of this utterance"):
        TargetDir(tmp_path).read("a", 7)
    script.write_text(text.replace("soft.1.ark", "soft.9.ark"))
    with pytest.raises(DktError, match=r"soft\.9\.ark: utterance 'a': cannot be read"):
        TargetDir(tmp_path).read("a", 7)


def test_an_archive_of_another_set_is_refused(tmp_path):
    write(tmp_path / "four")
    write(tmp_path / "five", 5)
    (tmp_path / "five/soft.1.ark").replace(tmp_path / "four/soft.1.ark")
    with pytest.raises(DktError, match=r"utterance 'c': the record is not of the set"):
        TargetDir(tmp_path / "four").read("c", 3)


# --- targets that do not fit ---


def test_targets_of_another_length_or_missing(tmp_path):
    write(tmp_path)
    store = TargetDir(tmp_path)
    for length in (6, 8, 20):
        with pytest.raises(
            DktError, match=f"utterance 'a': soft targets of 7 frames, the features have {length}"
        ):
            store.read("a", length)
    with pytest.raises(DktError, match=r"soft\.scp: utterance 'd': has no soft targets"):
        store.read("d", 7)


def test_targets_of_another_teacher_or_pdf_set(tmp_path):
    write(tmp_path)
    store = TargetDir(tmp_path)
    store.check_teacher("0123456789abcdef", NUM_PDFS)
    store.check_teacher(None, NUM_PDFS)
    with pytest.raises(DktError, match=r"header\.yaml: .*of the teacher 0123456789abcdef, not of fedcba"):
        store.check_teacher("fedcba", NUM_PDFS)
    with pytest.raises(DktError, match=r"header\.yaml: .*of 12 pdfs, expected 13 - teacher and student must"):
        store.check_teacher("0123456789abcdef", 13)


def test_what_is_no_directory_of_soft_targets(tmp_path):
    with pytest.raises(
        DktError, match=r"header\.yaml: does not exist: this is not a directory of soft targets"
    ):
        TargetDir(tmp_path)


# --- the command ---


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A directory with a data directory and an untrained teacher."""
    path = tmp_path_factory.mktemp("teacher")
    write_data_dir(path / "data", random_corpus(3, "t", 9)[0])
    torch.manual_seed(5)
    config = {"hidden_layers": 1, "hidden_dim": 16, "activation": "tanh", "dropout": 0.0, "batch_norm": False}
    info = ModelInfo("dnn", FEATURE_DIM, NUM_PDFS, 2, 2, "--norm-means=true", None, config)
    network = Dnn(DnnConfig(**config), info.spliced_dim, NUM_PDFS)
    torch.nn.init.normal_(network.output.weight, std=3.0)
    (path / "exp").mkdir()
    save_model(path / "exp/final.pt", info, network)
    return path


def command(teacher: Path, targets: Path, *options: str) -> int:
    places = [str(teacher / "exp/final.pt"), str(teacher / "data"), str(targets)]
    return main(["make-soft-targets", "--use-gpu=no", "--num-threads=1", *options, *places])


def forwarded(teacher: Path, path: Path) -> dict[str, np.ndarray]:
    places = [str(teacher / "exp/final.pt"), str(teacher / "data"), f"ark:{path}"]
    assert main(["forward", "--use-gpu=no", "--num-threads=1", "--apply-log=true", *places]) == 0
    return dict(read_matrices(f"ark:{path}"))


@pytest.mark.parametrize(("option", "top_k"), [("3", 3), ("all", None)])
def test_the_command_keeps_what_forward_writes(teacher, tmp_path, option, top_k):
    assert command(teacher, tmp_path / "soft", f"--top-k={option}", "--temperatures=1 2.5") == 0
    store = TargetDir(tmp_path / "soft")
    assert store.header.temperatures == (1.0, 2.5) and store.header.top_k == top_k
    assert store.header.num_pdfs == NUM_PDFS
    assert store.header.teacher == {
        "kind": "dnn",
        "feature_dim": FEATURE_DIM,
        "left_context": 2,
        "right_context": 2,
        "cmvn_opts": "--norm-means=true",
        "delta_opts": None,
        "splice_opts": None,
        "online_cmvn_opts": None,
        "paste": "feats.scp",
        "speaker_transforms": False,
        "ivector_dim": 0,
    }
    outputs = forwarded(teacher, tmp_path / "log_post.ark")
    assert list(store) == list(outputs)
    for utt, log_post in outputs.items():
        expected = top_k_targets(torch.from_numpy(log_post), top_k, (1.0, 2.5))
        same(store.read(utt, len(log_post)), expected, tolerance=2.0**-11)


def another_teacher(path: Path, teacher: Path, seed: int, **features: str) -> Path:
    """A directory with a teacher of other weights; ``features`` are fields of its ``ModelInfo``."""
    info, network = load_model(teacher / "exp/final.pt")
    torch.manual_seed(seed)
    torch.nn.init.normal_(network.output.weight, std=3.0)
    path.mkdir()
    save_model(path / "final.pt", replace(info, **features), network)
    return path


def test_an_ensemble_teaches_the_mean_of_its_posteriors(teacher, tmp_path):
    members = [teacher / "exp", *(another_teacher(tmp_path / f"t{seed}", teacher, seed) for seed in (6, 7))]
    names = " ".join(map(str, members[1:]))
    succeed(teacher, STEP, "--nj", "2", "--ensemble", names, "data", "exp", str(tmp_path / "soft"))
    store = TargetDir(tmp_path / "soft")
    single = [dict(read_matrices(f"ark:{forward_with(m, teacher, tmp_path)}")) for m in members]
    for utt, first in single[0].items():
        mean = np.mean([np.exp(first), *(np.exp(other[utt]) for other in single[1:])], axis=0)
        got = store.read(utt, len(first)).log_post.exp().numpy()
        np.testing.assert_allclose(got, mean, atol=1e-3)
    assert len(store.header.teacher["ensemble"]) == 3
    # Nobody takes them for those of one of its members, nor of another ensemble.
    for member in members:
        with pytest.raises(DktError, match="of the teacher"):
            store.check_teacher(fingerprint(load_model(member / "final.pt")[1]), NUM_PDFS)
    assert command(teacher, tmp_path / "two", f"--ensemble={members[1]}") == 0
    assert TargetDir(tmp_path / "two").header.fingerprint != store.header.fingerprint


def forward_with(model: Path, teacher: Path, tmp_path: Path) -> Path:
    """Log-posteriors of a model on the teacher's data."""
    path = tmp_path / f"{model.name}.ark"
    options = ["--use-gpu=no", "--num-threads=1", "--apply-log=true"]
    assert main(["forward", *options, str(model / "final.pt"), str(teacher / "data"), f"ark:{path}"]) == 0
    return path


def test_an_ensemble_shares_its_features(teacher, tmp_path, capsys):
    other = another_teacher(tmp_path / "other", teacher, 6, cmvn_opts="--norm-vars=true")
    assert command(teacher, tmp_path / "soft", f"--ensemble={other}") == 1
    assert f"{other}: takes other features than {teacher}/exp/final.pt" in capsys.readouterr().err
    assert command(teacher, tmp_path / "soft", f"--ensemble={tmp_path}/nowhere.pt") == 1
    assert "nowhere.pt" in capsys.readouterr().err.strip().splitlines()[-1]
    assert not list((tmp_path / "soft").glob("*.ark"))


def test_the_default_keeps_all_where_there_are_fewer_pdfs(teacher, tmp_path):
    assert command(teacher, tmp_path / "soft") == 0
    succeed(teacher, STEP, "--nj", "1", "data", "exp", str(tmp_path / "step"))
    for name in ("soft", "step"):
        header = TargetDir(tmp_path / name).header
        assert (header.top_k, header.num_kept, header.dense) == (None, NUM_PDFS, True)


def test_the_header_names_the_teacher(teacher, tmp_path):
    assert command(teacher, tmp_path, "--top-k=3") == 0
    network = load_model(teacher / "exp/final.pt")[1]
    TargetDir(tmp_path).check_teacher(fingerprint(network), NUM_PDFS)
    with torch.no_grad():
        network.output.bias[0] += 1.0
    with pytest.raises(DktError, match="of the teacher"):
        TargetDir(tmp_path).check_teacher(fingerprint(network), NUM_PDFS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top-k=13"], "--top-k is 13, expected a number from 1 to the 12 pdfs, or 'all'"),
        (["--top-k=3", "--temperatures="], "no temperature is declared"),
        (["--top-k=3", "--job=1"], "header.yaml: does not exist"),
        (["--job=end"], "header.yaml: does not exist"),
    ],
)
def test_wrong_calls_of_the_command(teacher, tmp_path, capsys, options, message):
    assert command(teacher, tmp_path, *options) == 1
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_options_that_are_no_numbers(teacher, tmp_path):
    for option in ("--top-k=most", "--temperatures=warm", "--temperatures=1 0", "--job=last", "--job=0"):
        with pytest.raises(SystemExit):
            command(teacher, tmp_path, option)


def test_the_size_is_told_before_anything_is_written(teacher, tmp_path, caplog):
    with caplog.at_level("INFO"):
        assert command(teacher, tmp_path / "soft", "--top-k=3", "--job=begin") == 0
    assert "3 of 12 pdfs, tails at temperatures 1 2 5: 6.5 MB per hour of speech" in caplog.text
    assert [path.name for path in (tmp_path / "soft").iterdir()] == ["header.yaml"]


STEP = "steps/make_soft_targets.sh"


def test_the_step_in_two_jobs_equals_the_command(teacher, tmp_path):
    targets = tmp_path / "of two jobs"
    options = ["--nj", "2", "--top-k", "3", "--temperatures", "1 4"]
    output = succeed(teacher, STEP, *options, "data", "exp", str(targets))
    assert "3 of 12 pdfs, tails at temperatures 1 4: 5.8 MB per hour" in output
    assert f"soft targets of 9 utterances in {targets}" in output
    assert command(teacher, tmp_path / "one", "--top-k=3", "--temperatures=1 4") == 0
    first, second = TargetDir(targets), TargetDir(tmp_path / "one")
    assert first.header == second.header and list(first) == list(second)
    assert (targets / "soft.2.ark").stat().st_size > 0
    for utt, log_post in forwarded(teacher, tmp_path / "x.ark").items():
        same(first.read(utt, len(log_post)), second.read(utt, len(log_post)))


def test_a_step_that_fails_leaves_no_directory_that_looks_whole(teacher, tmp_path):
    output = fails(teacher, STEP, "--nj", "1", "--top-k", "20", "data", "exp", str(tmp_path))
    assert "--top-k is 20, expected a number from 1 to the 12 pdfs" in output
    with pytest.raises(DktError, match="not a directory of soft targets"):
        TargetDir(tmp_path)


def test_a_wrong_call_of_the_step(tmp_path):
    assert f"Usage: {STEP}" in fails(tmp_path, STEP)
    assert fails(tmp_path, STEP, "--no-such", "1").startswith(f"{STEP}: error:")
    write_data_dir(tmp_path / "data", random_corpus(3, "t", 3)[0])
    assert "no file 'exp/final.pt'" in fails(tmp_path, STEP, "data", "exp", "soft")


@pytest.mark.parametrize("name", ["|touch PWNED;", " | touch PWNED #", "-x", "a b"])
def test_a_directory_is_no_command_whatever_its_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    sources = write(Path(name))
    store = TargetDir(name)
    same(store.read("b", 5), kept(sources["b"]), tolerance=2.0**-11)
    save_counts(Path(name, "counts"), np.ones(3))
    assert load_counts(Path(name, "counts")).tolist() == [1.0, 1.0, 1.0]
    assert [path.name for path in tmp_path.iterdir()] == [name]
