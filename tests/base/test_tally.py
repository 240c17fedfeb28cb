"""Counting of losses: many utterances are a count, a few names, and where the others are listed."""

from __future__ import annotations

import logging

import pytest

from dkt.base.errors import DktError
from dkt.base.findings import list_names, some
from dkt.base.tally import Tally


def test_a_few_names_and_where_the_rest_is() -> None:
    names = [f"u{number}" for number in range(7)]
    assert some(names[:5], "all in the log") == "u0, u1, u2, u3, u4"
    assert some(names) == "u0, u1, u2, u3, u4, ..."
    assert some(names, "all in the log") == "u0, u1, u2, u3, u4, ... all in the log"
    assert some(["x" * 500]) == "x" * 57 + "..."


def test_a_fault_of_many_utterances_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally("features", max_dropped=0.1)
    tally.done(10)
    for number in range(30):
        utt, path = f"u{number}", f"sox /the/recordings/of/a/corpus/u{number}.wav -t wav - |"
        tally.drop(utt, str(DktError(f"holds {number} samples", path=path, utt=utt, hint="remove it")))
    tally.drop("v", "of another reason in /a/b")
    with pytest.raises(DktError) as caught:
        tally.finish()
    assert (
        "features: 10 utterances done, 31 dropped; 30 (u0, u1, u2, u3, u4, ... all in the log): "
        "sox /the/recordings/of/a/corpus/u0.wav -t wav - |: utterance 'u0': holds 0 samples - remove it; "
        "1 (v): of another reason in /a/b - mend" in str(caught.value)
    )
    assert len(str(caught.value)) < 500
    listed = [record for record in caplog.records if "dropped utterance" in record.getMessage()]
    assert len(listed) == 31 and "corpus/u29.wav" in listed[29].getMessage()


def test_reasons_of_any_length_and_number_make_a_line_that_can_be_read() -> None:
    tally = Tally("align", max_dropped=0.0)
    for letter in "abcdefgh":
        tally.drop(f"utterance-{letter}" * 20, letter * 500)
    assert len(tally.summary()) < 2000
    assert tally.summary().endswith("; and others, see the log")


def test_all_names_are_listed_for_those_who_ask(caplog: pytest.LogCaptureFixture) -> None:
    names = [f"u{number}" for number in range(7)]
    logger = logging.getLogger("dkt.test")
    list_names(logger, "lost", names)
    assert caplog.text == ""
    caplog.set_level(logging.DEBUG, "dkt.test")
    list_names(logger, "lost", names[:5])
    assert caplog.text == ""
    list_names(logger, "lost", names)
    assert [record.getMessage() for record in caplog.records] == [f"lost: {name}" for name in names]
