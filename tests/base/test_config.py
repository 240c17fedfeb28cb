"""Configurations: what a file or ``--set`` leaves out, duplicate keys, files that are commands."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from dkt.base.config import build, current_names, load_config, read_yaml
from dkt.base.errors import DktError
from dkt.base.yaml_text import parse_yaml
from dkt.bin import main
from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.networks import NETWORKS
from dkt.train.recipes import recipe_class
from tests.shell import ROOT
from tests.student_lab import CPU, DNN, LSTM

RECIPES = [recipe_class(kind) for kind in NETWORKS]
DnnRecipe, LstmRecipe = RECIPES[:2]
SECTIONS = [(recipe, field.name) for recipe in RECIPES for field in dataclasses.fields(recipe)]


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("recipe", "section"), SECTIONS)
def test_a_section_named_in_part_keeps_the_defaults_of_the_recipe(tmp_path, recipe, section):
    default = dataclasses.asdict(recipe())
    for key, value in default[section].items():
        one = write(tmp_path, yaml.safe_dump({section: {key: value}}))
        assert dataclasses.asdict(load_config(recipe, one)) == default
        setting = f"{section}.{key}={yaml.safe_dump(value, default_flow_style=True)}"
        assert dataclasses.asdict(load_config(recipe, None, [setting])) == default


def test_what_the_lstm_trains_with_where_one_key_is_set():
    recipe = load_config(LstmRecipe, None, ["schedule.max_iters=3", "fine_tuning.max_iters=2"])
    assert (recipe.schedule.learn_rate, recipe.schedule.max_iters) == (0.001, 3)
    assert (recipe.fine_tuning.learn_rate, recipe.fine_tuning.max_iters) == (0.0005, 2)
    optimizer = load_config(LstmRecipe, None, ["optimizer.l2_penalty=0.5"]).optimizer
    assert (optimizer.type, optimizer.max_grad_norm, optimizer.l2_penalty) == ("adam", 5.0, 0.5)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    "text", ["", "schedule:\n", "schedule: {}\n", "schedule: null\nnetwork:\n  # layers: 3\n"]
)
def test_sections_without_keys_are_the_defaults(tmp_path, recipe, text):
    assert load_config(recipe, write(tmp_path, text)) == recipe()
    assert load_config(recipe, write(tmp_path, text), ["schedule.min_iters=1"]).schedule.min_iters == 1


def test_settings_win_over_the_file_and_later_ones_over_earlier_ones(tmp_path):
    path = write(tmp_path, "schedule: {learn_rate: 0.1, max_iters: 7}\n")
    settings = ["schedule.max_iters=8", "schedule.max_iters=9", "schedule={min_iters: 2}"]
    schedule = load_config(LstmRecipe, path, settings).schedule
    assert (schedule.learn_rate, schedule.max_iters, schedule.min_iters) == (0.1, 9, 2)


def test_a_setting_changes_its_section_alone(tmp_path):
    path = write(tmp_path, "schedule: &both {learn_rate: 0.1}\nfine_tuning: *both\n")
    settings = ["fine_tuning.learn_rate=0.2", "fine_tuning={max_iters: 3}"]
    recipe = load_config(LstmRecipe, path, settings)
    assert (recipe.schedule.learn_rate, recipe.schedule.max_iters) == (0.1, 20)
    assert (recipe.fine_tuning.learn_rate, recipe.fine_tuning.max_iters) == (0.2, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "network: {layers: 1}\nschedule: {}\nnetwork: {cells: 8}\n",
            "line 3: duplicate key 'network', first in line 1",
        ),
        (
            "schedule:\n  max_iters: 1\n  min_iters: 0\n  max_iters: 2\n",
            "line 4: duplicate key 'max_iters', first in line 2",
        ),
        ("schedule: {max_iters: 1, max_iters: 1}\n", "line 1: duplicate key 'max_iters', first in line 1"),
        ("network: {}\n'network': {}\n", "line 2: duplicate key 'network', first in line 1"),
        ("a: [{b: 1}, {c: 1,\n c: 2}]\n", "line 2: duplicate key 'c', first in line 1"),
    ],
)
def test_a_duplicate_key(tmp_path, text, message):
    path = write(tmp_path, text)
    for read in (lambda: load_config(LstmRecipe, path), lambda: read_yaml(path)):
        with pytest.raises(DktError, match=f"{path}: {message}"):
            read()


def test_duplicate_keys_in_other_yaml(tmp_path, capsys):
    with pytest.raises(
        DktError, match=r"'schedule=\{max_iters: 1, max_iters: 2}': line 1: duplicate key 'max_iters'"
    ):
        load_config(LstmRecipe, None, ["schedule={max_iters: 1, max_iters: 2}"])
    (tmp_path / "header.yaml").write_text("format: dkt-soft-targets\nformat: dkt-soft-targets\n")
    assert main(["make-soft-targets", "--job=end", "x", "y", str(tmp_path)]) == 1
    assert "header.yaml: line 2: duplicate key 'format', first in line 1" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text("training: {seed: 1}\ntraining: {seed: 2}\n")
    assert main(["report", f"--out={tmp_path}/report", f"x={tmp_path}"]) == 1
    assert "config.yaml: line 2: duplicate key 'training', first in line 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "blamed"),
    [
        (["network.dropout=2"], "--set network.dropout=2"),
        (["network={dropout: 2}"], "--set network={dropout: 2}"),
        (["network.hidden_dim=8", "network.dropout=.3", "network.dropout=2"], "--set network.dropout=2"),
        (["network.droput=0.2"], "--set network.droput=0.2"),
        (["network=5"], "--set network=5"),
        (["features={lda_dim: 3, lda: x}"], "--set features={lda_dim: 3, lda: x}"),
    ],
)
def test_the_setting_that_is_wrong_is_named_and_not_the_file(tmp_path, settings, blamed):
    path = write(tmp_path, "network: {hidden_dim: 16}\n")
    for config in (path, None):
        with pytest.raises(DktError) as caught:
            load_config(DnnRecipe, config, settings)
        assert str(caught.value).startswith(f"{blamed}: ")


def test_the_file_that_is_wrong_is_named_and_not_the_settings(tmp_path):
    path = write(tmp_path, "network: {dropout: 2}\n")
    for settings in (["network.hidden_dim=8"], ["network={hidden_dim: 8}"], ["schedule.max_iters=2"]):
        with pytest.raises(DktError, match=r"^\S*recipe.yaml: (line 1: )?'network.dropout' is 2"):
            load_config(DnnRecipe, path, settings)


ODD = (
    "020",
    "0100",
    "1:30",
    "0x1",
    "0b1",
    "1_0",
    "1_0e-3",
    "1:0.5",
    "1_000.5",
    "0o20",
    "٣",
    "３",
    "01.5",
    "1.5_0",
)


@pytest.mark.parametrize("number", [*ODD, *(f"'{odd}'" for odd in ODD), "!!int '020'", "!!float '1:30'"])
@pytest.mark.parametrize("key", ["schedule.max_iters", "schedule.learn_rate", "network.layers"])
def test_a_number_that_is_not_plainly_decimal_is_refused(tmp_path, key, number):
    section, name = key.split(".")
    with pytest.raises(DktError, match=f"{name}.*{re.escape(number.split()[-1].strip(chr(39)))}.*expected"):
        load_config(LstmRecipe, None, [f"{key}={number}"])
    path = write(tmp_path, f"# first\n\n{section}:\n\n  {name}: {number}\n")
    with pytest.raises(DktError, match=rf"line 5: '(\w+\.)?{name}' is .*expected"):
        load_config(LstmRecipe, path)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("1e-3", 1e-3),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1E-2", 0.01),
        ("+3", 3.0),
        ("'1e-3'", 1e-3),
        ("7", 7),
    ],
)
def test_plain_numbers_are_taken(number, value):
    assert load_config(LstmRecipe, None, [f"schedule.learn_rate={number}"]).schedule.learn_rate == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schedule: {min_iters: 5, max_iters: 2}", r"line 1: 'schedule': 'min_iters' is 5, 'max_iters' 2"),
        ("# \nfine_tuning: {min_iters: 21}", r"line 2: 'fine_tuning': 'min_iters' is 21, 'max_iters' 20"),
        ("optimizer: {momentum: 0.9}", r"line 1: 'optimizer': 'momentum' is 0.9, but adam has none"),
    ],
)
def test_values_that_exclude_each_other(tmp_path, text, message):
    with pytest.raises(DktError, match=message):
        load_config(LstmRecipe, write(tmp_path, text))
    load_config(
        LstmRecipe, None, ["optimizer={type: sgd, momentum: 0.9}", "schedule={min_iters: 2, max_iters: 2}"]
    )


def test_a_text_in_quotes_may_look_like_a_number():
    assert load_config(LstmRecipe, None, ["features.transform='020'"]).features.transform == "020"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("network:\n  layers: 2\n  cells: none\n", 3),
        ("network:\n  layers: 2\n  cels: 3\n", 3),
        ("network: 3\n", 1),
        ("# first\ntraining: {}\nschedule:\n  max_iters: 0\n", 4),
    ],
)
def test_errors_name_the_line(tmp_path, text, line):
    with pytest.raises(DktError, match=rf"yaml: line {line}: "):
        load_config(LstmRecipe, write(tmp_path, text))


def test_an_error_of_a_setting_names_no_line_of_the_file(tmp_path):
    path = write(tmp_path, "network:\n  layers: 2\nschedule:\n  max_iters: 3\n")
    for setting in ("schedule.max_iters=0", "schedule={max_iters: 0}"):
        with pytest.raises(DktError, match=r"^--set schedule.*: 'schedule.max_iters' is 0, expected"):
            load_config(LstmRecipe, path, [setting])


def test_a_duplicate_merge_key(tmp_path):
    text = "a: &a {max_iters: 3}\nb: &b {max_iters: 4}\nschedule:\n  <<: *a\n  <<: *b\n"
    with pytest.raises(DktError, match=r"line 5: duplicate key '<<', first in line 4"):
        load_config(LstmRecipe, write(tmp_path, text))
    merged = parse_yaml("a: &a {x: 3}\nb: &b {x: 4, y: 5}\nc: {<<: [*a, *b]}")
    assert merged["c"] == {"x": 3, "y": 5}


def test_merged_keys_may_be_overridden():
    values = parse_yaml("a: &a {x: 1, y: 2}\nb: &b\n  <<: *a\n  y: 3\nc: *b\nd:\n  <<: *b\n  x: 4\n")
    assert values["b"] == values["c"] == {"x": 1, "y": 3} and values["d"] == {"x": 4, "y": 3}


@pytest.mark.parametrize(
    ("recipe", "key"),
    [(recipe, key) for recipe in RECIPES for key in ("transform", "global_cmvn_stats", "paste")]
    + [(DnnRecipe, "lda")],
)
@pytest.mark.parametrize("value", ["touch MARK |", "feats.scp|", "| cat > MARK", "-", ""])
def test_a_configuration_runs_no_command(tmp_path, recipe, key, value):
    value = value.replace("MARK", str(tmp_path / "mark"))
    for overrides in ([f"features.{key}={yaml.safe_dump(value)}"], []):
        path = write(tmp_path, yaml.safe_dump({"features": {key: value}}))
        if key == "paste" and not value:
            message = "'paste' names no features"
        else:
            message = f"'features.{key}' is '.*', expected the name of a file - no command is run"
        with pytest.raises(DktError, match=message):
            load_config(recipe, None if overrides else path, overrides)
    assert not (tmp_path / "mark").exists()


def test_files_that_a_model_pastes_are_no_commands():
    with pytest.raises(DktError, match=r"'paste' is 'mark\|', expected the name of a file"):
        FeatureOptions(paste="x;touch mark|")


@pytest.mark.parametrize(("command", "recipe"), [("train-dnn", DNN), ("train-lstm", LSTM)])
def test_a_training_refuses_before_it_reads(tmp_path, capsys, command, recipe):
    """None of the directories exists: the configuration is the first to be looked at."""
    path = write(tmp_path, yaml.safe_dump(recipe))
    places = ["no-train", "no-dev", "no-ali", "no-ali-dev", str(tmp_path / "exp")]
    for setting, message in {
        "training.seed=-1": "'training.seed' is -1, expected an integer from 0 to 4294967295",
        "optimizer.l2_penalty=.nan": "'optimizer.l2_penalty' is nan, expected a number from 0 to 1000",
        "features.transform=touch x |": "'features.transform' is 'touch x |'",
        "features.delta_opts=--delta-order=1000": "features.delta_opts: '--delta-order=1000'",
        "schedule={max_iters: 2, max_iters: 3}": "duplicate key 'max_iters', first in line 1",
    }.items():
        assert main([command, f"--config={path}", f"--set={setting}", *CPU, *places]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not (tmp_path / "exp").exists()


def test_a_bomb_of_aliases_is_one_short_line():
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    values = parse_yaml(bomb)
    with pytest.raises(DktError) as error:
        build(LstmRecipe, {"network": values["i"]}, "")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("path", sorted(ROOT.glob("egs/*/s5/conf/*.yaml")), ids=lambda path: path.name)
def test_the_configurations_of_the_recipes_are_taken(path):
    load_config(LstmRecipe if "lstm" in path.name else DnnRecipe, path)


@pytest.mark.parametrize("value", ["-1.0", "1.0", "0"])
def test_an_improvement_below_zero_keeps_a_schedule_from_ending(value):
    recipe = load_config(DnnRecipe, None, [f"schedule.end_halving_impr={value}"])
    assert recipe.schedule.end_halving_impr == float(value)


@pytest.mark.parametrize("value", [".nan", "-1", "warm", "{}"])
def test_what_another_setting_replaces_must_have_been_possible(tmp_path, value):
    key, message = "objective.temperature", r"'objective\.temperature' is "
    with pytest.raises(DktError, match=rf"^--set {key}={re.escape(value)}: {message}"):
        load_config(LstmRecipe, None, [f"{key}={value}", f"{key}=2"])
    with pytest.raises(DktError, match=rf"^--set objective=.*: {message}"):
        load_config(LstmRecipe, None, [f"objective={{temperature: {value}}}"], [f"{key}=2"])
    path = write(tmp_path, f"objective:\n  temperature: {value}\n")
    with pytest.raises(DktError, match=rf"^{re.escape(str(path))}: line 2: {message}"):
        load_config(LstmRecipe, path, [f"{key}=2"])
    good = write(tmp_path, "objective: {temperature: 3}\n")
    assert load_config(LstmRecipe, good, [f"{key}=2"]).objective.temperature == 2


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_key_may_have_its_earlier_name(tmp_path, recipe):
    path = write(tmp_path, "features:\n  streams: a.scp b.scp\n")
    assert load_config(recipe, path).features.paste == "a.scp b.scp"
    for setting in ("features.streams=c.scp", "features.paste=c.scp", "features={streams: c.scp}"):
        for config in (path, None):
            assert load_config(recipe, config, [setting]).features.paste == "c.scp"
    path = write(tmp_path, "features:\n  splice_opts: null\n  streams: 3\n")
    with pytest.raises(DktError, match=r"yaml: line 3: 'features.paste' is 3, expected"):
        load_config(recipe, path)


def test_a_key_with_its_earlier_name_and_that_of_now(tmp_path):
    message = "'features.streams' and 'features.paste' are one key - keep 'features.paste'"
    path = write(tmp_path, "features:\n  paste: a.scp\n  streams: a.scp\n")
    with pytest.raises(DktError, match=f"^{path}: line 3: {message}"):
        load_config(DnnRecipe, path)
    setting = "features={paste: a.scp, streams: b.scp}"
    with pytest.raises(DktError, match=f"^'{re.escape(setting)}': {message}"):
        load_config(DnnRecipe, None, [setting])
    with pytest.raises(DktError, match=message):
        build(DnnRecipe, {"features": {"streams": "a.scp", "paste": "a.scp"}}, "")


def test_earlier_names_are_renamed_in_their_own_section_alone():
    values = {"features": {"streams": "a.scp"}, "streams": 1, "batches": {"streams": 2}}
    renamed = current_names(LstmRecipe, values)
    assert renamed == {"features": {"paste": "a.scp"}, "streams": 1, "batches": {"streams": 2}}
    assert values["features"] == {"streams": "a.scp"}
