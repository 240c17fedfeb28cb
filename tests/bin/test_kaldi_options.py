"""Options in Kaldi's spellings."""

from __future__ import annotations

import argparse
import importlib

import pytest

from dkt.base.errors import DktError
from dkt.bin import COMMANDS, command_parser, main
from dkt.bin.common.flags import add_flag
from dkt.bin.common.kaldi_options import add_standard_options, rewrite
from dkt.feat.pipeline import FeatureOptions
from dkt.util.option_text import boolean, read_option_lines


def parser_of(own_config=False):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--no-softmax", type=boolean, default=False)
    parser.add_argument("--prior-scale", type=float, default=1.0)
    parser.add_argument("--set", action="append")
    add_flag(parser, "--binary", "in binary")
    if own_config:
        parser.add_argument("--config")
    parser.add_argument("model")
    parser.add_argument("rest", nargs="*")
    add_standard_options(parser)
    return parser


def parse(*argv, own_config=False):
    parser = parser_of(own_config)
    return parser.parse_args(rewrite(parser, argv))


@pytest.mark.parametrize(
    ("spelt", "value"),
    [
        (["--no-softmax"], True),
        (["--no_softmax"], True),
        (["--No-Softmax=TRUE"], True),
        (["--no-softmax="], True),
        (["--no_softmax=t"], True),
        (["--no_softmax=1"], True),
        (["--no_softmax=0"], False),
        (["--no_softmax=false"], False),
        (["--no-softmax", "--no-softmax=F"], False),
        ([], False),
    ],
)
def test_a_boolean_option_leaves_the_arguments_alone(spelt, value):
    args = parse(*spelt, "final.nnet", "true", "ark:-")
    assert args.no_softmax is value
    assert (args.model, args.rest) == ("final.nnet", ["true", "ark:-"])
    assert parse("final.nnet", *spelt).no_softmax is value


def test_other_options_keep_their_value_as_it_is():
    args = parse("--prior_scale=0.5", "--set=a.B_c=D_e", "--set", "x_y=1", "--binary", "m_X")
    assert (args.prior_scale, args.set, args.binary, args.model) == (0.5, ["a.B_c=D_e", "x_y=1"], True, "m_X")


def test_after_two_dashes_come_arguments():
    args = parse("--binary", "--", "--no_softmax", "x")
    assert (args.binary, args.no_softmax, args.model, args.rest) == (True, False, "--no_softmax", ["x"])


@pytest.mark.parametrize(
    "wrong", ["--no-softmax=maybe", "--no-softmax=yes", "--no-soft", "--no_soft=true", "--x"]
)
def test_wrong_options(wrong, capsys):
    with pytest.raises(SystemExit):
        parse(wrong, "m")
    assert wrong.partition("=")[0] in capsys.readouterr().err


def test_a_configuration_file_comes_before_the_command_line(tmp_path):
    config = tmp_path / "forward.conf"
    config.write_text("# how it is done\n--no_softmax  # a remark\n\n --prior-scale= 0.25\n--binary=true\n")
    for given in ([f"--config={config}"], ["--config", str(config)]):
        args = parse("--binary=false", *given, "m", "r")
        assert (args.no_softmax, args.prior_scale, args.binary) == (True, 0.25, False)
        assert (args.model, args.rest) == ("m", ["r"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("prior-scale=1", "line 2: expected '--name=value', found 'prior-scale=1'"),
        (
            "--prior-scales=1",
            "'--prior-scales=1' is not an option of this command - did you mean --prior-scale?",
        ),
        ("--=1", "line 2: expected '--name=value', found '--=1'"),
        ("--prior-scale=much", "line 2: --prior-scale=much: expected float, got 'much'"),
        ("--no-softmax=maybe", "line 2: --no-softmax=maybe: expected true or false, got 'maybe'"),
        ("--prior-scale 1", "is not an option"),
        ("--prior-scale", "has no value, expected --prior-scale=value"),
        ("--config=x", "is not an option"),
    ],
)
def test_a_wrong_configuration_file(tmp_path, line, message):
    (tmp_path / "conf").write_text(f"# x\n{line}\n")
    with pytest.raises(DktError, match="conf: line 2") as error:
        parse(f"--config={tmp_path}/conf", "m")
    assert message in str(error.value)
    with pytest.raises(DktError, match="nowhere: cannot be read"):
        parse(f"--config={tmp_path}/nowhere", "m")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\ufeff--num-mel-bins=23\n", "line 1 holds a byte order mark"),
        ("\ufeff# comment\n--num-mel-bins=23\n", "line 1 holds a byte order mark"),
        ("\n--num-mel-bins=23\u00a0\n", r"line 2 holds U\+00A0 \(NO-BREAK SPACE\)"),
        ("--num-mel-bins=\u300023\n", r"line 1 holds U\+3000"),
        ("--num-mel\u200b-bins=23\n", r"line 1 holds a character that cannot be seen, U\+200B"),
        ("--window-type=ham\x1bming\n", r"line 1 holds a character that cannot be seen, U\+001B"),
    ],
)
def test_what_nobody_sees_in_an_option_file_is_named(tmp_path, text, told):
    (tmp_path / "x.conf").write_text(text)
    with pytest.raises(DktError, match=f"x.conf: {told}"):
        list(read_option_lines(tmp_path / "x.conf"))


@pytest.mark.parametrize("text", ["\ufeff--norm-vars=false", "--norm-vars=false\u00a0", "--norm-vars\u200b"])
def test_what_nobody_sees_in_the_option_files_of_a_directory_is_named(tmp_path, text):
    (tmp_path / "cmvn_opts").write_text(f"{text}\n")
    with pytest.raises(DktError, match=r"cmvn_opts: .*U\+"):
        FeatureOptions.of_gmm_dir(tmp_path).parse_cmvn(tmp_path / "cmvn_opts")
    with pytest.raises(DktError, match=r"cmvn_opts: .*U\+"):
        FeatureOptions(text).parse_cmvn("cmvn_opts")


def test_a_configuration_file_may_have_comments_in_any_encoding_and_windows_line_ends(tmp_path):
    (tmp_path / "conf").write_bytes(b"# Gr\xfc\xdfe\r\n --Prior_Scale = 0.5 # \xe4\r\n\r\n--no_softmax=T\r\n")
    (tmp_path / "more").write_text("--binary")
    args = parse(f"--config={tmp_path}/conf", f"--config={tmp_path}/more", "m")
    assert (args.prior_scale, args.no_softmax, args.binary) == (0.5, True, True)


def test_a_command_with_its_own_configuration_keeps_it(tmp_path):
    assert parse("--config=x.yaml", "m", own_config=True).config == "x.yaml"


def test_commands_take_them(tmp_path, capsys):
    (tmp_path / "conf").write_text("--counts_dim=3\n")
    (tmp_path / "pdfs").write_text("u 0 1 1\n")
    options = ["--print_args", "--binary=false", f"--config={tmp_path}/conf"]
    assert main(["analyze-counts", *options, f"ark:{tmp_path}/pdfs", f"{tmp_path}/counts"]) == 0
    assert (tmp_path / "counts").read_text().split() == ["[", "1.5", "2.5", "0.5", "]"]
    assert (
        capsys.readouterr().err.splitlines()[0].startswith("dkt analyze-counts --print_args --binary=false")
    )
    assert main(["analyze-counts", f"--config={tmp_path}/none", "x", "y"]) == 1
    assert "ERROR (dkt analyze-counts)" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["forward"])
    assert stop.value.code == 2 and "usage: dkt forward" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_takes_a_value(command):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    importlib.import_module(f"dkt.bin.{COMMANDS[command][0]}").add_arguments(parser)
    # Kaldi's booleans are written with =true, too; there is no public list of a parser's options.
    bare = [action.dest for action in parser._actions if action.option_strings and action.nargs == 0]
    assert bare == ["help"]


def command_options(name):
    parser = command_parser(name)
    return {option: action.dest for option, action in parser._option_string_actions.items()}


RENAMED = {"--max-loss": "--max-dropped", "--streams": "--paste"}


def test_no_command_has_an_option_by_its_earlier_name():
    options = {name: command_options(name) for name in COMMANDS}
    assert not [(name, old) for name in COMMANDS for old in RENAMED if old in options[name]]
    assert len([name for name in COMMANDS if "--max-dropped" in options[name]]) > 15
    assert [name for name in COMMANDS if "--paste" in options[name]] == ["compute-cmvn-stats", "feats"]


@pytest.mark.parametrize("spelt", ["--max-loss=0.25", "--max_loss=0.25", "--max-dropped=0.25"])
@pytest.mark.parametrize("name", [name for name in COMMANDS if "--max-dropped" in command_options(name)])
def test_a_command_takes_an_option_by_its_earlier_name(tmp_path, name, spelt):
    parser = command_parser(name)
    (tmp_path / "options").write_text(f"{spelt}\n")
    arguments = [[spelt], spelt.split("=")]
    if "--config" not in own_options(name):
        arguments.append([f"--config={tmp_path}/options"])
    for argument in arguments:
        assert parser.parse_known_args([*rewrite(parser, argument), *"abcdefg"])[0].max_dropped == 0.25


def own_options(name):
    """Options of the command alone, not those of every program of Kaldi's."""
    parser = argparse.ArgumentParser()
    importlib.import_module(f"dkt.bin.{COMMANDS[name][0]}").add_arguments(parser)
    return parser._option_string_actions


def test_an_earlier_name_is_unknown_where_the_option_is_unknown(capsys):
    parser = parser_of()
    assert rewrite(parser, ["--max-loss=0.1"]) == ["--max-loss=0.1"]
    with pytest.raises(SystemExit):
        main(["hmm-info", "--max-loss=0.1", "final.mdl"])
    assert "--max-loss=0.1" in capsys.readouterr().err
