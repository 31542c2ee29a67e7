from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gansearch.config import TrialConfig
from gansearch.config_files import load_config_file, parse_config_file
from gansearch.errors import ConfigError
from gansearch.protocols import Protocol, protocol
from gansearch.yaml_files import dump_yaml

QUICK = Protocol(name="quick", num_samples=70, valid_subset="first", valid_count=30)


def best_file() -> dict[str, Any]:
    """Return a file as `gansearch best` writes it."""
    config = TrialConfig().replace({"algorithm.k": 2, "momentum.lr_g": 0.07, "generator.hidden": [48, 40]})
    return {
        "description": "the leader",
        "config_id": config.config_id,
        "config": config.to_dict(),
        "chosen": {"by": "mean validation"},
        "protocol": protocol("full").to_dict(),
        "report_protocol": QUICK.to_dict(),
        "seeds": [{"seed": 11, "valid_ll_mean": 1.5}, {"seed": 2**48 - 1, "valid_ll_mean": None}],
        "environment": {"run_device": "cpu"},
    }


def test_a_best_file_is_read_back_whole(tmp_path: Path) -> None:
    data = best_file()
    path = tmp_path / "best.yaml"
    path.write_text(dump_yaml(data))
    found = load_config_file(path)
    assert (found.name, found.description, found.seed) == ("best", "the leader", None)
    assert found.config.to_dict() == data["config"]
    assert (found.protocol, found.report_protocol) == (protocol("full"), QUICK)
    assert [dict(e) for e in found.expected] == data["seeds"]
    assert (found.chosen, found.environment) == (data["chosen"], data["environment"])
    found.check_unedited()


def test_a_changed_best_file_is_known() -> None:
    data = best_file()
    data["config"]["algorithm"]["k"] = 3
    found = parse_config_file(data, "best")
    with pytest.raises(ConfigError, match="it was changed"):
        found.check_unedited()


def test_config_alone_is_enough_and_may_be_empty() -> None:
    found = parse_config_file({"config": {}}, "mine")
    assert found.config == TrialConfig()
    assert (found.seed, found.protocol, found.expected, found.chosen) == (None, None, (), {})
    found.check_unedited()


def test_protocols_may_be_named() -> None:
    found = parse_config_file({"config": {}, "protocol": "published-2014"}, "mine")
    assert found.protocol == protocol("published-2014")


def test_the_published_recipe_is_the_default_configuration_at_full_length() -> None:
    found = load_config_file("paper/mnist")
    assert found.name == "paper/mnist"
    assert found.config == TrialConfig().replace({"dataset.name": "mnist", "momentum.ramp_unit": "epochs"})
    assert (found.protocol, found.report_protocol) == (protocol("full"), protocol("report"))


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        ({"confg": {}}, "unknown key 'confg'", "did you mean 'config'?"),
        ({"config": {}, "sede": 1}, "unknown key 'sede'", "did you mean 'seed'?"),
        ({"description": "x"}, "a configuration file needs the key 'config'", None),
        ({"space": {}, "base": "x"}, "this is a study, not a configuration", "run it with `gansearch sweep`"),
        ({"config": {"algoritm": {}}}, "config has an unknown key 'algoritm'", "did you mean 'algorithm'?"),
        ({"config": {"algorithm": {"k": 0}}}, "algorithm.k must be 1 or more, got 0", None),
        ({"config": {"algorithm": {"k": 1.5}}}, "config.algorithm.k must be an integer, got 1.5", None),
        (
            {"config": {"adam": {"lr_g": 0.1}}},
            "config.adam has no effect: update.rule is momentum",
            "set update.rule: adam, or remove it",
        ),
        (
            {"config": {"update": {"rule": "adam"}, "momentum": {"final": 0.9}}},
            "config.momentum has no effect: update.rule is adam",
            "set update.rule: momentum, or remove it",
        ),
        ({"config": [1]}, "config must be a mapping of names to values, got [1]", None),
        ({"config": {}, "seed": -1}, "seed must be in 0 to 2**63 - 1, got -1", None),
        ({"config": {}, "seed": 2**63}, f"seed must be in 0 to 2**63 - 1, got {2**63}", None),
        ({"config": {}, "seed": True}, "seed must be an integer, got True", None),
        ({"config": {}, "protocol": "ful"}, "protocol: no score protocol is called 'ful'", "did you mean 'full'?"),
        (
            {"config": {}, "protocol": 3},
            "protocol must be the name of a score protocol or a mapping of its fields, got 3",
            None,
        ),
        ({"config": {}, "protocol": {"name": "x"}}, "protocol lacks the key 'num_samples'", None),
        ({"config": {}, "seeds": {"a": 1}}, "seeds must be a list with a mapping for each seed", None),
        ({"config": {}, "seeds": [1]}, "seeds must be a list with a mapping for each seed", None),
        ({"config": {}, "environment": 1}, "environment must be a mapping, got 1", None),
    ],
)
def test_bad_files(data: dict[str, Any], message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config_file(data, "mine")
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_the_message_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("config: {algorithm: {k: 0}}\n")
    with pytest.raises(ConfigError) as caught:
        load_config_file(path)
    assert caught.value.message == f"{path}: algorithm.k must be 1 or more, got 0"


def test_reading_a_configuration_loads_neither_torch_nor_ray_nor_optuna() -> None:
    code = (
        "import sys; from gansearch.config_files import load_config_file; load_config_file('paper/mnist');"
        "print(*{'torch', 'ray', 'optuna', 'pandas', 'gansearch.search'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "\n"
