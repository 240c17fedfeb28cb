"""The start of monophone training: frames shared out without a model, and training from there."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dkt.decoder.state_chain import StateChain, StateRow
from dkt.decoder.viterbi import AlignmentError
from dkt.gmm import flat_start
from dkt.gmm.flat_start import Speech, share_frames, spread_at_random
from dkt.gmm.mono import MonoOptions, MonoTrainer, train_mono
from dkt.hmm.alignments import AlignmentDir
from dkt.util.symbols import read_symbol_table
from tests.gmm.test_mono import LEXICON, lang, write_data  # noqa: F401 (lang is a fixture)

SIL_OUT, SIL_LOOP = 1, 2


def row(labels: list[int]) -> StateRow:
    """States whose self-loop is the label behind their own."""
    return StateRow(np.array(labels, dtype=np.int32), np.array(labels, dtype=np.int32) + 1)


def make_chain(words: list[int], pauses: bool = True) -> StateChain:
    """Words of so many states each, numbered through from 11; pauses of two states may stand between them."""
    num_states = sum(words)
    places = np.cumsum([0, *words]).tolist() if pauses else []
    silence = row([SIL_OUT, SIL_OUT])
    states = row((11 + 2 * np.arange(num_states)).tolist())
    return StateChain(states, np.zeros(num_states, dtype=bool), dict.fromkeys(places, silence), 0.0)


def frames_of(ids: np.ndarray, words: list[int]) -> list[int]:
    """Frames of pause, word, pause ... pause."""
    bounds = 11 + 2 * np.cumsum([0, *words])
    which = np.where(ids <= SIL_LOOP, -1, np.searchsorted(bounds, ids, side="right") - 1)
    lengths, at = [], 0
    for part in [-1, *[part for word in range(len(words)) for part in (word, -1)]]:
        length = 0
        while at < len(ids) and which[at] == part:
            at, length = at + 1, length + 1
        lengths.append(length)
    assert at == len(ids), "the words are out of order"
    return lengths


@pytest.mark.parametrize(("lengths", "expected"), [
    ((0, 30, 0, 30, 0, 30, 0), None), ((5, 20, 100, 45, 7, 24, 60), None), ((60, 20, 9, 20, 90, 20, 0), None),
    # Words that touch share their frames evenly.
    ((80, 30, 0, 25, 0, 35, 120), (80, 30, 0, 30, 0, 30, 120)),
    ((0, 20, 0, 40, 200, 30, 0), (0, 30, 0, 30, 200, 30, 0)),
    ((0, 30, 90, 28, 0, 12, 0), (0, 30, 90, 20, 0, 20, 0)),
])  # fmt: skip
def test_words_are_where_speech_is(lengths: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    words = [6, 6, 6]
    scores = np.concatenate(
        [np.full(length, 3.0 if place % 2 else -3.0) for place, length in enumerate(lengths)]
    )
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(0.0, 1.5, len(scores))
        found = frames_of(share_frames(make_chain(words), scores + noise), words)
        assert found == pytest.approx(expected or lengths, abs=5), seed


def test_a_long_recording_is_shared_out_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    words, lengths = [6, 6, 6], (50, 31, 103, 29, 0, 33, 77)
    scores = np.repeat([-3.0, 3.0, -3.0, 3.0, -3.0, 3.0, -3.0], lengths)
    exact = frames_of(share_frames(make_chain(words), scores), words)
    monkeypatch.setattr(flat_start, "_MAX_PAIRS", 5000)
    found = frames_of(share_frames(make_chain(words), scores), words)
    assert sum(found) == len(scores) and found != exact
    assert found == pytest.approx(exact, abs=8)
    # No room for words of whole blocks: these are smaller then.
    assert frames_of(share_frames(make_chain([1] * 100), np.full(101, 3.0)), [1] * 100)[1::2].count(1) == 99


def test_a_recording_of_minutes_is_shared_out_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    words, scores = [6, 3, 9], np.random.default_rng(2).normal(0.0, 3.0, 400)
    whole = share_frames(make_chain(words), scores)
    monkeypatch.setattr(flat_start, "_PAIRS_AT_ONCE", 2000)
    assert share_frames(make_chain(words), scores).tolist() == whole.tolist()


def test_a_recording_of_minutes_takes_little_memory() -> None:
    scores = np.repeat(np.random.default_rng(1).normal(0.0, 4.0, 800), 50)
    tracemalloc.start()
    try:
        assert len(share_frames(make_chain([9]), scores)) == len(scores)
        assert len(share_frames(make_chain([9] * 1000), scores)) == len(scores)
        assert tracemalloc.get_traced_memory()[1] < 150e6  # all pairs of frames would be 12.8e9
    finally:
        tracemalloc.stop()


def test_without_any_hint_all_states_last_equally_long() -> None:
    words = [3, 9, 6]
    ids = share_frames(make_chain(words), np.full(180, 5.0))
    assert frames_of(ids, words) == [0, 30, 0, 90, 0, 60, 0]
    assert ids.dtype == np.int32
    _, counts = np.unique((ids + 1) // 2, return_counts=True)
    assert counts.tolist() == [10] * 18


def test_without_optional_silence_the_scores_do_not_matter() -> None:
    scores = np.where(np.arange(90) < 60, -5.0, 5.0)
    ids = share_frames(make_chain([3, 3, 3], pauses=False), scores)
    assert frames_of(ids, [3, 3, 3]) == [0, 30, 0, 30, 0, 30, 0]


def test_as_many_frames_as_states_and_fewer() -> None:
    chain = make_chain([3, 3])
    quiet = np.full(6, -5.0)
    assert share_frames(chain, quiet).tolist() == chain.states.labels.tolist()
    with pytest.raises(AlignmentError, match="fewer frames"):
        share_frames(chain, quiet[:5])


def test_silence_of_the_transcript_takes_the_quiet() -> None:
    states = row([11, 13, SIL_OUT, 15, 17])
    chain = StateChain(states, np.array([False, False, True, False, False]), {}, 0.0)
    scores = np.concatenate([np.full(20, 3.0), np.full(70, -3.0), np.full(20, 3.0)])
    ids = share_frames(chain, scores)
    assert int((ids <= SIL_LOOP).sum()) == 70
    assert (ids[20:90] <= SIL_LOOP).all()


def test_a_transcript_without_words_is_silence() -> None:
    ids = share_frames(make_chain([]), np.full(30, 5.0))
    assert len(ids) == 30 and (ids <= SIL_LOOP).all()


def test_a_random_path_takes_half_of_the_pauses_and_is_even() -> None:
    words = [3, 3, 3]
    taken = []
    for number in range(400):
        ids = spread_at_random(make_chain(words), 160, f"utt-{number}")
        frames = frames_of(ids, words)
        _, counts = np.unique(np.where(ids <= SIL_LOOP, 0, (ids + 1) // 2), return_counts=True)
        assert np.ptp(counts[-9:]) <= 1
        assert len(ids) == 160 and set(frames[1::2]) <= set(
            range(3 * counts[-9:].min(), 3 * counts.max() + 1)
        )
        taken.append([length > 0 for length in frames[::2]])
        assert ids.tolist() == spread_at_random(make_chain(words), 160, f"utt-{number}").tolist()
    assert np.mean(taken, axis=0) == pytest.approx([0.5] * 4, abs=0.1)
    assert len({tuple(each) for each in taken}) == 16


def test_a_random_path_without_room_without_pauses_and_without_words() -> None:
    chain = make_chain([3, 3])
    for number in range(10):
        assert spread_at_random(chain, 6, f"{number}").tolist() == chain.states.labels.tolist()
        assert (spread_at_random(make_chain([]), 30, f"{number}") <= SIL_LOOP).all()
        even = frames_of(spread_at_random(make_chain([3, 9], pauses=False), 60, f"{number}"), [3, 9])
        assert even == [0, 15, 0, 45, 0]
    with pytest.raises(AlignmentError, match="fewer frames"):
        spread_at_random(chain, 5, "short")


def spoken(
    words: list[str], rng: np.random.Generator, longest_pause: int, noise: float = 1.0
) -> tuple[np.ndarray, list[str]]:
    """Frames of shape ``(T, 5)``, the first column loudness, and the phone of each frame.

    ``noise`` is the standard deviation of pauses; that of speech is 1.
    """
    sounds = {"A": [9, 6, 0, 0], "B": [7, 0, 6, 0], "D": [8, 0, 0, 6], "SIL": [0, 0, 0, 0]}
    phones: list[str] = []
    for word in [None, *words]:
        if word is not None:
            phones += [phone for phone in LEXICON[word].split() for _ in range(rng.integers(8, 16))]
        phones += ["SIL"] * int(rng.integers(0, longest_pause + 1))
    means = np.array([[*sounds[phone], 0.0] for phone in phones])
    scale = np.array([[noise if phone == "SIL" else 1.0] for phone in phones])
    return means + scale * rng.normal(0.0, 1.0, means.shape), phones


def make_corpus(data: Path, longest_pause: int, noise: float = 1.0) -> dict[str, list[str]]:
    """Write a data directory; returns the phone of each frame."""
    rng = np.random.default_rng(longest_pause)
    features, text, truth = {}, {}, {}
    for speaker in ("ann", "bob", "cat"):
        for number in range(8):
            utt = f"{speaker}-{number}"
            words = rng.choice(["bad", "dab", "add"], size=4).tolist()
            features[utt], truth[utt] = spoken(words, rng, longest_pause, noise)
            text[utt] = " ".join(words)
    write_data(data, features, text)
    return truth


@pytest.mark.parametrize(("longest_pause", "expected"), [(5, Speech.UNKNOWN), (200, None)])
def test_quiet_frames_decide_only_where_there_are_pauses(
    lang: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    longest_pause: int,
    expected: Speech | None,
) -> None:
    make_corpus(tmp_path / "data", longest_pause)
    chosen = []
    choose = MonoTrainer._choose_start
    monkeypatch.setattr(
        MonoTrainer, "_choose_start", lambda trainer: chosen.append(choose(trainer)) or chosen[0]
    )
    options = MonoOptions(
        nj=1, num_iters=2, totgauss=40, delta_opts="--delta-order=1", allow_implausible=True
    )
    train_mono(tmp_path / "data", lang, tmp_path / "mono", options)
    if expected:
        assert chosen[0].speech is expected
    else:
        assert chosen[0].speech is not Speech.UNKNOWN


@pytest.mark.parametrize(
    ("longest_pause", "noise", "accuracy"),
    # Even noise, and all but none: what takes it for a phone has the higher likelihood.
    [(5, 1.0, 0.8), (20, 1.0, 0.9), (200, 1.0, 0.9), (100, 0.1, 0.9), (100, 0.02, 0.9)],
)
def test_training_survives_pauses(
    lang: Path,  # noqa: F811
    tmp_path: Path,
    longest_pause: int,
    noise: float,
    accuracy: float,
) -> None:
    truth = make_corpus(tmp_path / "data", longest_pause, noise)
    options = MonoOptions(nj=1, num_iters=12, totgauss=40, max_iter_inc=8)
    trainer = train_mono(tmp_path / "data", lang, tmp_path / "mono", options)
    right, silence, total = judge(lang, tmp_path / "mono", trainer, truth)
    share = np.mean([phone == "SIL" for phones in truth.values() for phone in phones])
    assert right / total > accuracy
    assert silence / total == pytest.approx(share, abs=0.05)
    assert trainer.report.num_retried == 0


def judge(
    lang_dir: Path, exp: Path, trainer: MonoTrainer, truth: dict[str, list[str]]
) -> tuple[int, int, int]:
    """Frames in the right phone, in silence, and in all."""
    names = {
        index: phone.split("_")[0] for phone, index in read_symbol_table(lang_dir / "phones.txt").items()
    }
    right = silence = total = 0
    for utt, ids in AlignmentDir(exp).transition_ids():
        found = [names[phone] for phone in trainer.transitions.id2phone[ids].tolist()]
        right += sum(a == b for a, b in zip(found, truth[utt], strict=True))
        silence += found.count("SIL")
        total += len(found)
    return right, silence, total


def test_noise_a_little_louder_than_any_in_training_is_still_silence(lang: Path, tmp_path: Path) -> None:  # noqa: F811
    make_corpus(tmp_path / "data", 100, noise=0.02)
    options = MonoOptions(nj=1, num_iters=8, totgauss=40, max_iter_inc=6)
    trainer = train_mono(tmp_path / "data", lang, tmp_path / "mono", options)
    silence = trainer.transitions.id2pdf[trainer.is_silence]
    louder = np.zeros((200, 15), dtype=np.float32)  # the deltas are those of a steady noise
    louder[:, :5] = np.random.default_rng(1).normal(0.0, 0.3, (200, 5))
    louder[:, 0] += 1.5
    assert np.isin(trainer.gmm.loglikes(louder).argmax(axis=1), silence).mean() > 0.95
