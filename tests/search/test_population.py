"""Populations: how copies are changed, what Tune is given, and what a copy is."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search.variant_generator import generate_variants

from gansearch.recorder import Recorder
from gansearch.rows import draft_row
from gansearch.search.domains import Interval
from gansearch.search.observer import Observer
from gansearch.search.population import TURN, VALUES, Explorer, Population, child
from gansearch.search.progress import Progress
from gansearch.search.proposals import make_strategy
from gansearch.search.searchers import METRIC, SPEC
from gansearch.search.specs import search_spec
from gansearch.search.study import Study
from gansearch.spec import TrialSpec
from tests.search.small_studies import plan
from tests.trials import digits

DOMAINS = {
    "adam.lr_g": Interval(low=1e-4, high=1e-2, log=True),
    "discriminator.dropout_input": Interval(low=0.0, high=0.5),
}
SPACE = {"adam.lr_g": {"loguniform": [1e-4, 1e-2]}, "discriminator.dropout_input": {"uniform": [0.0, 0.5]}}


def explorer(resample: float = 0.25, *, guided: bool = False, seed: int = 3) -> Explorer:
    return Explorer(DOMAINS, resample=resample, seed=seed, next_number=8, guided=guided)


def member(turn: int, lr_g: float, dropout: float) -> dict[str, Any]:
    values = {"adam.lr_g": lr_g, "discriminator.dropout_input": dropout}
    return {TURN: turn, SPEC: {"any": 1}, VALUES: list(values.items())}


def population(scheduler: str, members: int = 6) -> tuple[Population, list[TrialSpec]]:
    study = Study.parse(plan(space=SPACE, epochs=20, scheduler=scheduler, num_trials=members), "small")
    strategy = make_strategy(study)
    proposals = [strategy.suggest() for _ in range(members)]
    specs = [search_spec(study, proposal, 0) for proposal in proposals if proposal is not None]
    return Population(study, specs, members), specs


def test_a_copy_has_its_values_changed_by_a_factor_within_the_space() -> None:
    explore = explorer(resample=0.0)
    found = set()
    for turn in range(100):
        copy = dict(explore(member(turn, 0.009, 0.2))[VALUES])
        found.add((copy["adam.lr_g"], copy["discriminator.dropout_input"]))
    low, high = 0.009 * 0.8, 0.01  # 0.0108 is outside
    assert found == set(itertools.product((low, high), (0.2 * 0.8, 0.2 * 1.2)))


def test_values_drawn_anew_have_the_distribution_of_the_space() -> None:
    explore = explorer(resample=1.0)
    copies = [dict(explore(member(turn, 0.001, 0.2))[VALUES]) for turn in range(400)]
    logs = [math.log(copy["adam.lr_g"] / 1e-4) / math.log(100) for copy in copies]
    shares = [copy["discriminator.dropout_input"] / 0.5 for copy in copies]
    for drawn in (logs, shares):
        assert 0 <= min(drawn) < 0.02
        assert 0.98 < max(drawn) <= 1
        # The mean of 400 uniform draws: five of its standard deviations, 12**-0.5 / 20.
        assert sum(drawn) / 400 == pytest.approx(0.5, abs=0.072)


def test_no_two_copies_of_a_member_and_not_the_member_itself_have_the_same_values() -> None:
    """Two factors for one number of two, and at the bound one of them changes nothing."""
    explore = explorer(resample=0.0)
    copies = [explore(member(2, 0.01, 0.0)) for _ in range(9)]
    values = [tuple(copy[VALUES]) for copy in copies]
    assert len({*values, tuple(member(2, 0.01, 0.0)[VALUES])}) == 10
    assert [copy[TURN] for copy in copies] == list(range(8, 17))


def test_values_that_are_chosen_again_within_rounding_are_changed() -> None:
    explore = explorer(guided=True)
    chosen = explore.encoded({"adam.lr_g": 0.01, "discriminator.dropout_input": 0.0})
    first = explore({**member(1, 0.001, 0.2), **chosen})
    assert dict(first[VALUES]) == {"adam.lr_g": 0.01, "discriminator.dropout_input": 0.0}
    rounded = {**chosen, "adam.lr_g": float(np.float32(chosen["adam.lr_g"])), "discriminator.dropout_input": 1e-6}
    again = dict(explore({**member(1, 0.001, 0.2), **rounded})[VALUES])
    places = [abs(math.log(again["adam.lr_g"] / 0.01)) / math.log(100), again["discriminator.dropout_input"] / 0.5]
    assert max(places) > 1e-3


def test_a_member_can_be_copied_without_end() -> None:
    domains = {"adam.lr_g": Interval(low=0.001, high=0.0011)}
    explore = Explorer(domains, resample=0.0, seed=3, next_number=8, guided=False)
    config = {TURN: 0, VALUES: [("adam.lr_g", 0.00105)]}
    copies = {explore(config)[VALUES][0][1] for _ in range(700)}
    assert len(copies) == 700


def test_exploration_follows_from_the_seed() -> None:
    copies = [[explorer(seed=seed)(member(0, 0.001, 0.2)) for _ in range(3)] for seed in (3, 3, 4)]
    assert copies[0] == copies[1] != copies[2]


def test_chosen_values_are_decoded_and_clipped() -> None:
    explore = explorer(guided=True)
    bounds = explore.bounds
    assert bounds["adam.lr_g"] == pytest.approx([math.log(1e-4), math.log(1e-2)])
    assert bounds["discriminator.dropout_input"] == [0.0, 0.5]
    chosen = {"adam.lr_g": math.log(0.003), "discriminator.dropout_input": 0.50001}
    copy = explore({**member(1, 0.001, 0.2), **chosen})
    assert dict(copy[VALUES]) == pytest.approx({"adam.lr_g": 0.003, "discriminator.dropout_input": 0.5})
    assert copy["discriminator.dropout_input"] == 0.5
    # Before PB2 knows anything, it chooses what the member has.
    same = explore.encoded(dict(member(1, 0.001, 0.2)[VALUES]))
    copy = explore({**member(1, 0.001, 0.2), **same})
    assert copy[VALUES] != member(1, 0.001, 0.2)[VALUES]
    assert {name: copy[name] for name in DOMAINS} == explore.encoded(dict(copy[VALUES]))


@pytest.mark.parametrize("scheduler", ["pbt", "pb2"])
def test_tune_is_given_every_member_once(scheduler: str) -> None:
    members, specs = population(scheduler)
    found = [config for _, config in generate_variants(members.param_space())]
    assert [config[TURN] for config in found] == [0, 1, 2, 3, 4, 5]
    assert [TrialSpec.from_dict(config[SPEC]) for config in found] == specs
    for config, spec in zip(found, specs, strict=True):
        assert dict(config[VALUES]) == {name: spec.config.get(name) for name in SPACE}
        encoded = {name: config[name] for name in SPACE if name in config}
        assert encoded == members.explorer.encoded(dict(config[VALUES]))
        assert bool(encoded) == (scheduler == "pb2")
    assert (members.num_trials, members.handed_out) == (6, True)


def test_a_member_that_goes_on_has_the_values_of_its_last_change() -> None:
    study = Study.parse(plan(space=SPACE, epochs=20, scheduler="pbt", num_trials=4), "small")
    _, specs = population("pbt", 4)
    changed = specs[1].config.changed(2, {"adam.lr_g": 0.004})
    resumed = child(specs[1], 2, {TURN: 7, VALUES: [("adam.lr_g", 0.004)]})
    assert resumed.config == changed
    space = Population(study, [resumed], 8).param_space()
    ((_, config),) = generate_variants(space)
    assert dict(config[VALUES])["adam.lr_g"] == 0.004
    assert config[TURN] == 7


def test_a_copy_is_the_donors_configuration_with_a_change_and_the_donors_seed() -> None:
    _, (donor, *_) = population("pbt")
    values = {"adam.lr_g": 0.004, "discriminator.dropout_input": 0.1}
    copy = child(donor, 3, {TURN: 9, VALUES: list(values.items())})
    assert copy.config == donor.config.changed(3, values)
    assert (copy.seed, copy.stage, copy.parent_id, copy.number) == (donor.seed, "search", donor.config.config_id, 9)
    again = child(copy, 3, {TURN: 10, VALUES: [("adam.lr_g", 0.005)]})
    assert [c.after for c in again.config.schedule] == [3]
    assert dict(again.config.schedule[0].values) == values | {"adam.lr_g": 0.005}
    assert again.parent_id == copy.config.config_id


def test_driver_writes_how_a_member_is_replaced(tmp_path: Path) -> None:
    _, (donor, old, *_) = population("pbt")
    observer = Observer(
        Recorder(tmp_path),
        {0: digits().digests},
        Progress(study="small", stage="search", planned=6),
        slots=2,
        searched=tuple(SPACE),
        publish=lambda _: None,
    )
    trial = TuneTrial("worker", config={SPEC: old.to_dict(), TURN: 1}, trial_id="t1", stub=True)
    observer.on_trial_start(0, [trial], trial)

    def report(spec: TrialSpec, epoch: int, value: float) -> None:
        draft = draft_row(spec, digits().digests) | {"epochs": epoch, "report_ll_mean": value}
        trial.run_metadata.last_result = {"draft": [draft], SPEC: [spec.to_dict()], METRIC: value, "epoch": epoch}
        observer.on_trial_result(0, [trial], trial, trial.last_result)

    def rows() -> dict[str, dict[Hashable, Any]]:
        frame = pd.read_parquet(tmp_path / "trials")
        return {row["config_id"]: row for row in frame.to_dict("records")}

    report(old, 5, -9.0)
    trial.set_status("PAUSED")
    observer.on_step_end(0, [trial])
    waited = observer.trial_seconds
    time.sleep(0.02)
    assert observer.trial_seconds == waited
    trial.set_status("RUNNING")
    observer.on_trial_start(0, [trial], trial)
    assert set(rows()) == {old.config.config_id}
    copy = child(donor, 5, {TURN: 6, VALUES: [("adam.lr_g", 0.004)]})
    report(copy, 6, -3.0)
    found = rows()
    replaced, running = found[old.config.config_id], found[copy.config.config_id]
    assert (replaced["status"], replaced["epochs"], replaced["report_ll_mean"]) == ("STOPPED", 5, -9.0)
    assert replaced["error"] == f"replaced at epoch 5 by a copy of {donor.config.config_id}"
    assert (running["status"], running["number"], running["parent_id"]) == ("RUNNING", 6, donor.config.config_id)
    assert running["seed"] == donor.seed
    known = observer.progress
    assert (known.running, known.ended, known.planned) == (1, {"STOPPED": 1}, 7)
    assert known.best is not None
    assert known.best.config_id == copy.config.config_id
    assert "adam.lr_g=0.004" in known.best.changes
    # The trial of a member that waited and runs again is the copy, whatever Tune's configuration says.
    observer.on_trial_start(0, [trial], trial)
    assert observer.interrupt("the end") == 1
    assert rows()[copy.config.config_id]["status"] == "INTERRUPTED"
    assert rows()[copy.config.config_id]["epochs"] == 6
