"""What `start_from` names: configurations to try first, and runs to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gansearch import parts
from gansearch.config import TrialConfig
from gansearch.config_files import read_protocol
from gansearch.errors import ConfigError, UserError
from gansearch.paths import RunPaths
from gansearch.rows import draft_row, final_rows
from gansearch.schema import TRIALS
from gansearch.search.proposals import Known, Outcome, make_strategy
from gansearch.search.study import Study, load_study
from gansearch.search.warm_start import WarmStart, read_warm_start
from gansearch.seeds import trial_seed
from gansearch.spec import TrialSpec
from gansearch.yaml_files import dump_yaml, parse_yaml
from tests.search.small_studies import FINAL, REPORT, plan

VALID = "digest of the validation split"
DIGESTS = {"train": "of train", "valid": VALID, "test": "of test"}
RULES = {
    "update.rule": {"choice": ["adam", "momentum"]},
    "adam.lr_g": {"loguniform": [0.0001, 0.01], "when": {"update.rule": "adam"}},
}


def study(folder: Path, **changes: Any) -> Study:
    """Return a study whose file lies in the folder."""
    return Study.parse(plan(**{"searcher": "tpe", "num_trials": 9, **changes}), "small", folder)


def write_config(path: Path, of: Study, values: dict[str, object]) -> None:
    """Write a configuration file: the study's base with changes."""
    path.write_text(dump_yaml({"config": of.base.replace(values).to_dict()}))


def write_row(run: Path, config: TrialConfig, replicate: int = 0, stage: str = "search", **changes: Any) -> None:
    """Write a row as a trial would, with changes."""
    spec = TrialSpec(
        config=config,
        seed=trial_seed(0, stage, config.config_id, replicate),
        stage=stage,
        replicate=replicate,
        protocols=(read_protocol(FINAL, "final"),),
        report_protocol=read_protocol({**REPORT, **changes.pop("report", {})}, "report"),
    )
    values = {"report_ll_mean": 10.0 + replicate, "report_last_ll_mean": 1.0, "flops": 7.0, **changes}
    (row,) = final_rows(draft_row(spec, DIGESTS), spec, values.pop("status", "COMPLETE"))
    parts.write_part(RunPaths(run).part(TRIALS.name, str(spec.key)), TRIALS, [{**row, **values}])


def refusal(given: Study, kind: type[UserError]) -> tuple[str, str | None]:
    with pytest.raises(kind) as caught:
        read_warm_start(given, VALID)
    return caught.value.message, caught.value.hint


def test_nothing_is_known_where_nothing_is_named(tmp_path: Path) -> None:
    assert study(tmp_path).start_from == ()
    assert read_warm_start(study(tmp_path), VALID) == WarmStart()


@pytest.mark.parametrize("searcher", ["random", "sobol", "tpe", "cmaes", "nsga2"])
def test_configurations_come_right_after_the_base(tmp_path: Path, searcher: str) -> None:
    given = study(tmp_path)
    write_config(tmp_path / "one.yaml", given, {"adam.lr_g": 0.002, "algorithm.k": 3})
    write_config(tmp_path / "two.yaml", given, {"adam.lr_g": 0.005})
    given = study(tmp_path, searcher=searcher, start_from=["one.yaml", "two.yaml"])
    warm = read_warm_start(given, VALID)
    assert warm.first == ({"adam.lr_g": 0.002, "algorithm.k": 3}, {"adam.lr_g": 0.005, "algorithm.k": 1})
    assert (warm.history, warm.notes) == ((), ())
    strategy = make_strategy(given, first=warm.first)
    proposals = [strategy.suggest() for _ in range(3)]
    assert [(p.number, p.point) for p in proposals if p] == [
        (0, given.space.base_point()),
        *enumerate(warm.first, 1),
    ]


def test_a_configuration_is_tried_with_the_budget_of_the_study(tmp_path: Path) -> None:
    write_config(tmp_path / "long.yaml", study(tmp_path), {"algorithm.epochs": 300, "adam.lr_g": 0.002})
    warm = read_warm_start(study(tmp_path, start_from=["long.yaml"]), VALID)
    assert warm.first == ({"adam.lr_g": 0.002, "algorithm.k": 1},)


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        (
            {"adam.lr_g": 0.02},
            "adam.lr_g is 0.02, outside the space: log-uniform in [0.0001, 0.01]",
            "widen the range",
        ),
        ({"algorithm.k": 4}, "algorithm.k is 4, outside the space: integer in [1, 3]", "widen the range"),
        (
            {"generator.hidden": [24], "noise.dim": 13},
            "noise.dim is 13, but it is not searched, and the base has 11",
            "search it, or set the base's value with `override`",
        ),
        (
            {"update.rule": "momentum"},
            "update.rule is momentum, but it is not searched, and the base has adam",
            "search it, or set the base's value with `override`",
        ),
    ],
)
def test_a_configuration_outside_the_space(tmp_path: Path, values: dict[str, object], message: str, hint: str) -> None:
    path = tmp_path / "mine.yaml"
    write_config(path, study(tmp_path), values)
    given = study(tmp_path, start_from=["mine.yaml"])
    assert refusal(given, ConfigError) == (f"start_from: {path}: {message}", hint)


def test_a_configuration_with_a_schedule_is_outside_every_space(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    config = study(tmp_path).base.changed(2, {"adam.lr_g": 0.002})
    path.write_text(dump_yaml({"config": config.to_dict()}))
    message, _ = refusal(study(tmp_path, start_from=["mine.yaml"]), ConfigError)
    assert message.startswith(f"start_from: {path}: schedule is ")


def test_more_configurations_than_trials(tmp_path: Path) -> None:
    write_config(tmp_path / "one.yaml", study(tmp_path), {"adam.lr_g": 0.002})
    given = study(tmp_path, num_trials=2, start_from=["one.yaml", "one.yaml"])
    assert refusal(given, ConfigError) == (
        "start_from names 2 configurations, but num_trials is 2, the base among them",
        "raise num_trials to 3 or more",
    )


def test_entries_start_from_the_studys_file_and_are_kept_whole(tmp_path: Path) -> None:
    folder = tmp_path / "studies"
    folder.mkdir()
    given = study(tmp_path)
    write_config(tmp_path / "best.yaml", given, {"adam.lr_g": 0.002})
    (tmp_path / "run").mkdir()
    path = folder / "small.yaml"
    path.write_text(dump_yaml(plan(searcher="tpe", start_from=["../best.yaml", "../run", "paper/mnist"])))
    loaded = load_study(path)
    assert loaded.start_from == (str(tmp_path / "best.yaml"), str(tmp_path / "run"), "paper/mnist")
    assert Study.parse(parse_yaml(dump_yaml(loaded.to_dict()), "plan"), "small") == loaded
    assert loaded.with_options(seed=6).start_from == loaded.start_from


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        (
            "best.yaml",
            "start_from must be a list of paths or shipped names, got 'best.yaml'",
            "`start_from: [best.yaml]`",
        ),
        ([3], "start_from must be a list of paths or shipped names, got [3]", "`start_from: [best.yaml]`"),
        (
            ["paper/mnst"],
            "start_from: there is no file 'paper/mnst', and nothing of that name is shipped",
            "did you mean 'paper/mnist'?",
        ),
    ],
)
def test_entries_that_name_nothing(tmp_path: Path, value: object, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        study(tmp_path, start_from=value)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_study_is_no_configuration(tmp_path: Path) -> None:
    message, _ = refusal(study(tmp_path, start_from=["quickstart"]), ConfigError)
    assert message.startswith("start_from: quickstart: ")
    assert message.endswith("this is a study, not a configuration")


def test_a_grid_takes_no_start(tmp_path: Path) -> None:
    write_config(tmp_path / "one.yaml", study(tmp_path), {"adam.lr_g": 0.002})
    with pytest.raises(ConfigError, match="searcher 'grid' tries all its points"):
        study(
            tmp_path,
            searcher="grid",
            num_trials=None,
            space={"algorithm.k": {"int": [1, 3]}},
            start_from=["one.yaml"],
        )


def test_a_run_is_history_once_a_configuration(tmp_path: Path) -> None:
    base = study(tmp_path).base
    run = tmp_path / "run"
    low, high = base.replace({"adam.lr_g": 0.0002}), base.replace({"adam.lr_g": 0.009, "algorithm.k": 2})
    for replicate in range(3):
        write_row(run, low, replicate)
    write_row(run, high, 0, status="DIVERGED", flops=None)
    write_row(run, high, 1, status="RUNNING")
    write_row(run, base, 0, status="STOPPED", report_ll_mean=4.0)
    write_row(run, base, 0, stage="confirm", report_ll_mean=99.0)
    write_row(run, base.replace({"algorithm.k": 3}), 0, status="INTERRUPTED")
    given = study(tmp_path, start_from=["run"])
    warm = read_warm_start(given, VALID)
    assert sorted(warm.history, key=lambda k: str(k.point)) == sorted(
        (
            Known(number=None, point={"adam.lr_g": 0.0002, "algorithm.k": 1}, outcome=Outcome(value=11.0, flops=7.0)),
            Known(number=None, point={"adam.lr_g": 0.009, "algorithm.k": 2}, outcome=Outcome(value=None, flops=None)),
            Known(number=None, point={"adam.lr_g": 0.001, "algorithm.k": 1}, outcome=Outcome(value=4.0, flops=7.0)),
        ),
        key=lambda k: str(k.point),
    )
    assert warm.first == ()
    assert warm.notes == (f"{run}: 5 search trials have an outcome",)
    strategy = make_strategy(given, warm.history)
    proposal = strategy.suggest()
    assert proposal is not None
    assert (proposal.number, proposal.point) == (0, given.space.base_point()), "the base is tried in this run too"


def test_the_same_trial_in_two_runs_counts_once(tmp_path: Path) -> None:
    base = study(tmp_path).base
    for name in ("run", "copy"):
        write_row(tmp_path / name, base, 0)
        write_row(tmp_path / name, base, 4)
    write_row(tmp_path / "copy", base, 1)
    warm = read_warm_start(study(tmp_path, start_from=["run", "copy"]), VALID)
    (known,) = warm.history
    assert known.outcome == Outcome(value=(10.0 + 14.0 + 11.0) / 3, flops=7.0)


def test_configurations_outside_the_space_are_left_out_and_counted(tmp_path: Path) -> None:
    base, run = study(tmp_path).base, tmp_path / "run"
    shorter = base.replace({"algorithm.epochs": 3})
    for config in (base, shorter, base.replace({"adam.lr_g": 0.05}), base.changed(2, {"adam.lr_g": 0.003})):
        write_row(run, config)
    warm = read_warm_start(study(tmp_path, start_from=["run"]), VALID)
    assert [k.point for k in warm.history] == [study(tmp_path).space.base_point()]
    said, left_out = warm.notes
    assert said == f"{run}: 4 search trials have an outcome"
    assert left_out.startswith("left out: 3 of 4 configurations that do not lie in the space; the first: ")


def test_a_row_of_the_other_rule_lies_in_a_space_that_searches_it(tmp_path: Path) -> None:
    given = study(tmp_path, space=RULES, start_from=[])
    run = tmp_path / "run"
    write_row(run, given.base.replace({"update.rule": "momentum"}))
    write_row(run, given.base.replace({"update.rule": "momentum", "momentum.lr_d": 0.3}))
    warm = read_warm_start(study(tmp_path, space=RULES, start_from=["run"]), VALID)
    assert [k.point for k in warm.history] == [{"update.rule": "momentum"}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"report": {"num_samples": 61}},
            "its report protocol differs from the study's: num_samples is 61, the study's 60, and values under "
            "different protocols cannot be compared",
        ),
        (
            {"data_valid_digest": "another"},
            "its trials were scored on other validation images of digits: their digest is another, the study's "
            "digest of the validation split",
        ),
        ({"cfg_dataset_name": "mnist"}, "its trials model mnist, the study's digits"),
    ],
)
def test_a_run_that_cannot_be_compared(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    run = tmp_path / "run"
    write_row(run, study(tmp_path).base.replace({"algorithm.k": 2}))
    write_row(run, study(tmp_path).base, **changes)
    found, _ = refusal(study(tmp_path, start_from=["run"]), UserError)
    assert found == f"start_from: {run}: {message}"


def test_the_name_of_a_protocol_makes_no_difference(tmp_path: Path) -> None:
    write_row(tmp_path / "run", study(tmp_path).base, report={"name": "cheap"})
    assert len(read_warm_start(study(tmp_path, start_from=["run"]), VALID).history) == 1


@pytest.mark.parametrize("searcher", ["random", "sobol"])
def test_searchers_that_learn_nothing_take_no_run(tmp_path: Path, searcher: str) -> None:
    write_row(tmp_path / "run", study(tmp_path).base)
    assert refusal(study(tmp_path, searcher=searcher, start_from=["run"]), ConfigError) == (
        f"start_from: {tmp_path / 'run'}: this is a run, but searcher '{searcher}' learns nothing from one",
        "use searcher: tpe, gp, cmaes or nsga2, or name a configuration such as the run's best.yaml",
    )


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message, _ = refusal(study(tmp_path, start_from=["empty"]), UserError)
    assert "is not a run directory" in message
