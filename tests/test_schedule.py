"""Configurations that change on the way: their form, their ids, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gansearch.cli import main
from gansearch.config import TrialConfig
from gansearch.config_files import load_config_file
from gansearch.errors import ConfigError
from gansearch.parsing import convert
from gansearch.rows import draft_row
from gansearch.schedule import CHANGEABLE, Change
from gansearch.search.study import Study
from gansearch.spec import TrialSpec
from gansearch.yaml_files import dump_yaml
from tests.trials import FULL, digits, run_trial, spec

BASE = TrialConfig().replace({"algorithm.epochs": 20})
ADAM = BASE.replace({"update.rule": "adam"})
TWICE = BASE.changed(5, {"momentum.lr_g": 0.12, "discriminator.dropout_input": 0.1}).changed(
    15, {"momentum.lr_g": 0.05}
)


@pytest.mark.parametrize(
    ("values", "config_id"),
    [
        ({}, "0b68aa5d370f"),
        ({"update.rule": "adam", "adam.lr_g": 0.002, "discriminator.hidden": [7]}, "cac756551a4b"),
    ],
)
def test_the_id_of_a_configuration_without_schedule_is_what_it_was_before_there_were_any(
    values: dict[str, Any], config_id: str
) -> None:
    assert TrialConfig().replace(values).config_id == config_id
    assert "schedule" not in TrialConfig().replace(values).to_dict()


def test_each_epoch_has_the_values_of_its_time() -> None:
    values = [(c.momentum.lr_g, c.discriminator.dropout_input) for c in map(TWICE.at_epoch, range(20))]
    assert values == [(0.1, 0.2)] * 5 + [(0.12, 0.1)] * 10 + [(0.05, 0.1)] * 5
    assert all(TWICE.at_epoch(done).schedule == () for done in range(20))
    assert TWICE.at_epoch(0) == BASE
    assert BASE.at_epoch(7) == BASE


def test_changes_at_one_epoch_are_one_change() -> None:
    again = TWICE.changed(15, {"momentum.lr_d": 0.3}).changed(15, {"momentum.lr_g": 0.07})
    assert again.schedule[1] == Change(after=15, values=(("momentum.lr_d", 0.3), ("momentum.lr_g", 0.07)))
    assert len(again.schedule) == 2


def test_a_schedule_has_one_canonical_form(tmp_path: Path) -> None:
    canonical = TWICE.to_dict()
    assert canonical["schedule"] == [
        {"after": 5, "values": {"discriminator.dropout_input": 0.1, "momentum.lr_g": 0.12}},
        {"after": 15, "values": {"momentum.lr_g": 0.05}},
    ]
    assert TrialConfig.from_dict(json.loads(TWICE.to_json())) == TWICE
    turned = json.loads(TWICE.to_json())
    turned["schedule"][0]["values"] = dict(reversed(turned["schedule"][0]["values"].items()))
    assert TrialConfig.from_dict(turned).config_id == TWICE.config_id
    path = tmp_path / "mine.yaml"
    path.write_text(dump_yaml({"config": canonical}))
    assert load_config_file(path).config == TWICE
    assert len({BASE.config_id, TWICE.config_id, BASE.changed(5, {"momentum.lr_g": 0.1}).config_id}) == 3
    whole = BASE.changed(5, {"momentum.lr_g": 1})
    assert whole.config_id == BASE.changed(5, {"momentum.lr_g": 1.0}).config_id


def test_replace_keeps_the_schedule() -> None:
    assert TWICE.replace({"algorithm.k": 3}).schedule == TWICE.schedule
    with pytest.raises(
        ConfigError, match=r"schedule\[1\].after must be above 5 and below algorithm.epochs, 15, got 15"
    ):
        TWICE.replace({"algorithm.epochs": 15})


def test_the_row_holds_the_schedule() -> None:
    row = draft_row(TrialSpec(config=TWICE, seed=1, stage="train"), digits().digests)
    assert json.loads(row["cfg_schedule"]) == TWICE.to_dict()["schedule"]
    assert TrialConfig.from_dict(json.loads(row["cfg_json"])) == TWICE
    assert draft_row(TrialSpec(config=BASE, seed=1, stage="train"), digits().digests)["cfg_schedule"] is None


@pytest.mark.parametrize("name", CHANGEABLE)
def test_what_can_change_is_a_number_of_the_configuration(name: str) -> None:
    config = ADAM if name.startswith("adam.") else BASE
    assert config.changed(19, {name: 0.25}).at_epoch(19).get(name) == 0.25


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ([{"after": 0, "values": {"momentum.lr_g": 0.1}}], "schedule[0].after must be above 0 and below"),
        ([{"after": 20, "values": {"momentum.lr_g": 0.1}}], "below algorithm.epochs, 20, got 20"),
        ([{"after": 3, "values": {"momentum.lr_g": 0.1}}] * 2, "schedule[1].after must be above 3 and below"),
        ([{"after": 3, "values": {}}], "schedule[0].values is empty"),
        ([{"after": 3, "values": {"algorithm.k": 2}}], "schedule[0]: 'algorithm.k' cannot change while a trial runs"),
        ([{"after": 3, "values": {"momentum.lrg": 2}}], "schedule[0]: 'momentum.lrg' cannot change"),
        ([{"after": 3, "values": {"adam.lr_g": 0.1}}], "schedule[0]: adam.lr_g has no effect: update.rule is momentum"),
        ([{"after": 3, "values": {"momentum.lr_g": 0}}], "schedule[0]: momentum.lr_g must be above 0, got 0.0"),
        ([{"after": 3, "values": {"discriminator.dropout_input": 1}}], "schedule[0]: discriminator.dropout_input must"),
        ([{"after": 3, "values": [1]}], "config.schedule[0].values must be a mapping, got [1]"),
        ([{"after": 3, "values": {"momentum.lr_g": "x"}}], "config.schedule[0].values.momentum.lr_g must be a number"),
        ([{"after": 3.5, "values": {"momentum.lr_g": 1}}], "config.schedule[0].after must be an integer, got 3.5"),
        ([{"values": {"momentum.lr_g": 1}}], "config.schedule[0] lacks the key 'after'"),
        ({"after": 3}, "config.schedule must be a list, got {'after': 3}"),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_refused(schedule: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrialConfig.from_dict({**BASE.to_dict(), "schedule": schedule})
    assert message in caught.value.message


def test_a_change_before_another_is_refused() -> None:
    with pytest.raises(ConfigError, match="above 15"):
        TWICE.changed(9, {"momentum.lr_g": 0.3})


def test_pairs_are_a_mapping_sorted_by_name() -> None:
    assert convert(tuple[tuple[str, float], ...], {"b": 1, "a": 2}, "x") == (("a", 2.0), ("b", 1.0))


def test_a_study_does_not_vary_a_configuration_with_a_schedule() -> None:
    plan = {"base": TWICE.to_dict(), "space": {"algorithm.k": {"int": [1, 4]}}, "num_trials": 3}
    with pytest.raises(ConfigError, match="a configuration with a schedule cannot be varied"):
        Study.parse(plan, "mine")


def test_train_follows_the_schedule_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scheduled = spec(values={"momentum.lr_g": 0.05}).config.changed(2, {"momentum.lr_g": 0.3})
    path = tmp_path / "mine.yaml"
    path.write_text(dump_yaml({"config": scheduled.to_dict(), "protocol": FULL.to_dict(), "seed": 3}))
    assert main(["train", str(path), "--out", str(tmp_path / "run"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["config_id"] == scheduled.config_id
    assert row["status"] == "COMPLETE"
    (same,) = run_trial(TrialSpec(config=scheduled, seed=3, stage="train", protocols=(FULL,)), tmp_path / "same")
    assert row["weights_digest"] == same["weights_digest"]
    (other,) = run_trial(
        TrialSpec(config=scheduled.at_epoch(0), seed=3, stage="train", protocols=(FULL,)), tmp_path / "other"
    )
    # Both may be scored at a report before the change, so the last values are compared.
    assert row["report_last_ll_mean"] == same["report_last_ll_mean"] != other["report_last_ll_mean"]
