"""Soft targets as Kaldi's Posteriors."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.hmm.posterior import Posterior, read_posteriors
from dkt.targets.kaldi_posteriors import open_targets
from dkt.targets.soft_targets import SoftTargets, top_k_targets
from dkt.targets.store import SoftTargetWriter, TargetDir
from dkt.targets.to_posterior import PosteriorOptions, to_posterior
from tests.targets.test_targets import NUM_PDFS, TEMPERATURES, log_posteriors, make_header


def dense(posterior: Posterior, num_pdfs: int = NUM_PDFS) -> np.ndarray:
    """The weights of all pdfs, zero where none is listed; shape ``(T, P)``."""
    matrix = np.zeros((len(posterior), num_pdfs))
    matrix[posterior.frame_of_entry, posterior.ids] = posterior.weights
    assert np.count_nonzero(matrix) == len(posterior.ids), "a pdf twice, or a weight of zero"
    return matrix


def by_hand(log_post: torch.Tensor, top_k: int, temperature: float) -> np.ndarray:
    """The k largest of each frame, raised to 1/T, over their sum."""
    power = np.exp(log_post.double().numpy()) ** (1.0 / temperature)
    smallest = np.sort(power, axis=1)[:, -top_k][:, None]
    power = np.where(power >= smallest, power, 0.0)
    return power / power.sum(axis=1, keepdims=True)


def succeed(*arguments) -> None:
    assert main(["soft-targets-to-post", *map(str, arguments)]) == 0


def fails(capsys, message: str, *arguments) -> None:
    assert main(["soft-targets-to-post", *map(str, arguments)]) == 1
    assert message in capsys.readouterr().err


def write(directory, top_k=4):
    """Targets of three utterances, out of order; their log-posteriors."""
    sources = {utt: log_posteriors(n, seed=n) for utt, n in (("c", 3), ("a", 7), ("b", 5))}
    with SoftTargetWriter(directory, make_header(top_k)) as writer:
        for utt, log_post in sources.items():
            writer.write(utt, log_post.numpy())
    return sources


@pytest.mark.parametrize("top_k", [4, NUM_PDFS])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 3.0])
def test_those_kept_are_raised_and_normalised(top_k, temperature):
    log_post = log_posteriors(20)
    targets = top_k_targets(log_post, top_k, TEMPERATURES)
    found = to_posterior(targets, NUM_PDFS, PosteriorOptions(temperature))
    np.testing.assert_allclose(dense(found), by_hand(log_post, top_k, temperature), atol=1e-6)
    assert (found.lengths == top_k).all()
    first = np.cumsum(found.lengths) - found.lengths
    rising = np.diff(found.ids) > 0
    assert rising[np.setdiff1d(np.arange(len(rising)), first[1:] - 1)].all(), "ids are in order"


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_tail_is_spread_over_the_others(temperature):
    log_post = log_posteriors(20).double()
    targets = top_k_targets(log_post, 4, TEMPERATURES)
    found = dense(to_posterior(targets, NUM_PDFS, PosteriorOptions(temperature, "spread")))
    whole = torch.softmax(log_post / temperature, dim=1).numpy()
    for row, expected, pdfs in zip(found, whole, targets.pdfs.numpy(), strict=True):
        np.testing.assert_allclose(row[pdfs], expected[pdfs], atol=1e-6)
        others = np.setdiff1d(np.arange(NUM_PDFS), pdfs)
        np.testing.assert_allclose(row[others], expected[others].mean(), atol=1e-6)
    with pytest.raises(DktError, match="no tail at temperature 3"):
        to_posterior(targets, NUM_PDFS, PosteriorOptions(3.0, "spread"))


def test_small_ones_are_left_out_but_the_largest():
    log_post = torch.tensor([[0.70, 0.25, 0.04, 0.01], [0.30, 0.28, 0.22, 0.20]]).log()
    targets = top_k_targets(log_post, None, ())
    options = PosteriorOptions(min_post=0.05)
    found = to_posterior(targets, 4, options)
    np.testing.assert_allclose(dense(found, 4)[0], [0.7 / 0.95, 0.25 / 0.95, 0, 0], atol=1e-6)
    assert found.lengths.tolist() == [2, 4]
    only = to_posterior(targets, 4, PosteriorOptions(min_post=0.9))
    assert only.frames() == [[(0, 1.0)], [(0, 1.0)]]


@pytest.mark.parametrize("tail", ["drop", "spread"])
def test_frames_with_fewer_pdfs_than_others(tail):
    logs = torch.tensor([[0.6, 0.4], [1.0, 0.0]]).log()
    pdfs = torch.tensor([[2, 0], [1, 1]])
    targets = SoftTargets(pdfs, logs, torch.full((2, 1), -torch.inf), (1.0,))
    found = to_posterior(targets, 4, PosteriorOptions(tail=tail))
    np.testing.assert_allclose(dense(found, 4), [[0.4, 0, 0.6, 0], [0, 1, 0, 0]], atol=1e-6)
    nothing = SoftTargets(pdfs, torch.full((2, 2), -torch.inf), targets.tails, (1.0,))
    with pytest.raises(DktError, match="frame 0 has no posterior above 0"):
        to_posterior(nothing, 4, PosteriorOptions())


@pytest.mark.parametrize("form", ["ark:", "ark,t:"])
def test_the_command_gives_what_is_stored(tmp_path, form, caplog):
    sources = write(tmp_path / "soft")
    with caplog.at_level(logging.INFO):
        succeed(tmp_path / "soft", f"{form}{tmp_path}/post")
    assert "Done 3 utterances, 15 frames, 4 posteriors a frame; beyond the 4 largest" in caplog.text
    found = dict(read_posteriors(f"ark:{tmp_path}/post"))
    assert list(found) == ["a", "b", "c"], "the order that Kaldi's s,cs asks for"
    for utt, posterior in found.items():
        matrix = dense(posterior)
        # Half precision, and seven digits of text.
        np.testing.assert_allclose(matrix, by_hand(sources[utt], 4, 1.0), rtol=0.01)
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=2e-6)
        stored = TargetDir(tmp_path / "soft")[utt]
        np.testing.assert_array_equal(matrix.argmax(axis=1), stored.best())
    # A student of dkt takes the same file.
    again = open_targets(f"ark:{tmp_path}/post", NUM_PDFS).read("a", 7)
    np.testing.assert_allclose(again.tail(1.0).exp(), 0.0, atol=2e-6)


def test_the_share_of_the_tail_is_told(tmp_path, caplog):
    sources = write(tmp_path / "soft")
    whole = torch.cat([torch.softmax(s / 2.0, dim=1) for s in sources.values()])
    share = 1.0 - float(whole.topk(4, dim=1).values.sum(dim=1).mean())
    for temperature, expected in (("2", f"{share:.2g}"), ("3", "an unknown share")):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            succeed(f"--temperature={temperature}", tmp_path / "soft", "ark:/dev/null")
        assert f"there was {expected}" in caplog.text
    succeed(tmp_path / "soft", f"ark,scp:{tmp_path}/post.ark,{tmp_path}/post.scp")
    assert [line.split()[0] for line in (tmp_path / "post.scp").read_text().splitlines()] == ["a", "b", "c"]


def test_faults_are_told(tmp_path, capsys):
    write(tmp_path / "soft")
    out = f"ark:{tmp_path}/post"
    fails(capsys, "does not exist: this is not a directory", tmp_path, out)
    fails(
        capsys,
        "'a': the soft targets have no tail at temperature 3",
        *("--tail=spread", "--temperature=3", tmp_path / "soft", out),
    )
    archive = tmp_path / "soft/soft.1.ark"
    data = bytearray(archive.read_bytes())
    data[-10] ^= 1
    archive.write_bytes(data)
    fails(capsys, "the record is damaged: its checksum is wrong", tmp_path / "soft", out)
    (tmp_path / "soft/soft.scp").unlink()
    fails(capsys, "the soft targets are half-written", tmp_path / "soft", out)
    for option in ("--temperature=0", "--min-post=1", "--tail=keep"):
        with pytest.raises(SystemExit):
            main(["soft-targets-to-post", option, str(tmp_path / "soft"), out])
