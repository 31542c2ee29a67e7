"""Score protocols and trial specs: ids, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.calibration import calibrate
from analysis.scored_data import parse_protocol
from gansearch.config_files import read_protocol
from gansearch.core import adversarial, parzen
from gansearch.errors import ConfigError
from gansearch.protocols import PROTOCOLS, Protocol, protocol
from gansearch.seeds import digest
from gansearch.spec import TrialSpec
from tests.trials import FULL, PUBLISHED, REPORT, digits, spec

BASE = Protocol(name="p", num_samples=70, valid_subset="first", valid_count=11)
OTHER: dict[str, Any] = {
    "num_samples": 71,
    "sigma_min": 0.04,
    "sigma_max": 1.5,
    "sigma_points": 25,
    "refine": False,
    "valid_subset": "random",
    "valid_count": 12,
    "dtype": "float64",
}


def changed(base: Protocol, **changes: Any) -> Protocol:
    return dataclasses.replace(base, **changes)


def test_the_id_changes_with_every_field_and_its_digest_not_with_the_name() -> None:
    fields = {f.name for f in dataclasses.fields(Protocol)}
    assert set(OTHER) == fields - {"name", "space", "estimator"}  # of these there is one so far
    digests = {changed(BASE, **{name: value}).id.removeprefix("p-") for name, value in OTHER.items()}
    assert len({BASE.id.removeprefix("p-"), *digests}) == len(OTHER) + 1
    assert changed(BASE, name="q").id == "q-" + BASE.id.removeprefix("p-")


def test_the_id_changes_with_the_estimator() -> None:
    assert changed(BASE, estimator=1).id != BASE.id


def test_earlier_estimators_are_read_but_not_scored_under() -> None:
    earlier = changed(protocol("full"), estimator=1)
    assert earlier.id == "full-24c679e0"  # as in the rows of that time
    assert earlier.describe().startswith("full-24c679e0: 10,000 samples")
    images = torch.rand(7, 3, generator=torch.Generator().manual_seed(0))
    for refused in (earlier.check_current, lambda: parzen.fit_sigma(images, images[:5], earlier)):
        with pytest.raises(ConfigError, match=r"protocol full-24c679e0 is of version 1 .* under version 2"):
            refused()
    protocol("full").check_current()


def test_runs_of_an_earlier_estimator_are_read_but_not_gone_on_with(tmp_path: Path, monkeypatch: Any) -> None:
    earlier = changed(protocol("full"), estimator=1)
    assert parse_protocol(json.dumps(earlier.to_dict()), "a row") == earlier
    with pytest.raises(ConfigError, match=r"protocols.final: protocol full-24c679e0 is of version 1"):
        read_protocol(earlier.to_dict(), "protocols.final")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="protocol full-24c679e0 is of version 1"):
        calibrate(digits(), earlier)
    assert list(tmp_path.iterdir()) == []


def test_the_estimators_fixed_choices_are_those_of_its_version() -> None:
    tried: list[float] = []

    def evaluate(sigmas: tuple[float, ...]) -> list[parzen.Peak]:
        tried.extend(round(math.log(sigma), 6) for sigma in sigmas)
        curve = [(math.log(sigma), sigma) for sigma in sigmas]
        return [parzen.Peak(s, torch.zeros(1).double(), -(t**4), -4 * t**3, -12 * t**2, -(t**3)) for t, s in curve]

    # Newton's method takes a third off each time here, as long as that is more than 1e-4.
    parzen.climb(evaluate, (math.exp(0.0009),), 0.1, 10.0)
    subset = parzen.fixed_subset(10_000, 1_000).tolist()
    choices = {
        "samples a block of noise": adversarial.SAMPLE_BLOCK,
        "hash of the fixed subset": digest(subset, 8),
        "points that see the whole grid": parzen.GRID_POINTS,
        "bandwidths that refinement tries": tried,
    }
    version_2 = {
        "samples a block of noise": 1_000,
        "hash of the fixed subset": "12d1103763c3df02",
        "points that see the whole grid": 1_000,
        "bandwidths that refinement tries": [0.0009, 0.0006, 0.0004, 0.000267],
    }
    assert BASE.estimator == 2
    assert choices == version_2, "scores move: raise the version `Protocol.estimator`, then pin the new choices here"


def test_a_protocol_survives_json() -> None:
    for p in (BASE, *PROTOCOLS.values()):
        assert Protocol(**json.loads(json.dumps(p.to_dict()))) == p
    assert len({p.id for p in PROTOCOLS.values()}) == len(PROTOCOLS)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"num_samples": 1}, ["num_samples", "2 or more", "1"]),
        ({"sigma_min": 0.0}, ["sigma_min", "0.0"]),
        ({"sigma_min": 1.0}, ["sigma_min", "1.0"]),
        ({"sigma_min": math.nan}, ["sigma_min", "nan"]),
        ({"sigma_max": math.inf}, ["sigma_max", "inf"]),
        ({"sigma_min": 9e-7}, ["sigma_min", "1e-06 <=", "9e-07"]),
        ({"sigma_max": 1e160}, ["sigma_max", "<= 1e+06", "1e+160"]),
        ({"estimator": 0}, ["estimator must be from 1 to 2", "0"]),
        ({"estimator": 3}, ["estimator must be from 1 to 2", "3"]),
        ({"sigma_points": 1}, ["sigma_points", "1"]),
        ({"valid_subset": "frist"}, ["valid_subset", "frist", "did you mean 'first'?"]),
        ({"valid_count": 0}, ["valid_count", "0"]),
        ({"space": "whitened"}, ["space", "whitened", "unit"]),
        ({"dtype": "float16"}, ["dtype", "float16", "float"]),
        ({"name": "a/b"}, ["name", "a/b"]),
        ({"name": ""}, ["name", "''"]),
        ({"name": ".p"}, ["name", ".p"]),
        ({"name": "p\n"}, ["name", "p\n"]),
    ],
)
def test_what_breaks_a_rule_is_refused_with_field_and_value(changes: dict[str, Any], shown: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(BASE, **changes)
    for text in (*shown, changes.get("name", "protocol p")):
        assert text in str(caught.value)


def test_protocols_are_found_by_name() -> None:
    assert protocol("full").num_samples == 10_000
    with pytest.raises(ConfigError, match=r"'ful' \(hint: did you mean 'full'\?\)"):
        protocol("ful")


def test_a_description_tells_the_kinds_apart() -> None:
    described = {
        "all validation images": changed(BASE, valid_subset="all"),
        "the first 1,234 validation images": changed(BASE, valid_count=1_234),
        "a fixed random 11 validation images": changed(BASE, valid_subset="random"),
    }
    for text, p in described.items():
        assert text in p.describe()
        assert p.id in p.describe()
    assert "(refined)" in BASE.describe()
    assert "(not refined)" in changed(BASE, refine=False).describe()


def test_a_spec_survives_json_and_its_key_names_it() -> None:
    trial = spec("confirm", seed=2**63 - 1, protocols=(FULL, PUBLISHED), fold=2, replicate=4)
    again = TrialSpec.from_dict(json.loads(json.dumps(trial.to_dict())))
    assert again == trial
    assert str(again.key) == f"{trial.config.config_id}-{2**63 - 1}-confirm-2"
    others = [spec(), spec("train"), spec(seed=4), spec(fold=1), spec(values={"algorithm.k": 2})]
    assert len({str(other.key) for other in others}) == len(others)
    assert spec(protocols=(PUBLISHED,), replicate=3).key == spec().key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed must be 0 or more and below 2**63, got -1"),
        ({"seed": 2**63}, f"seed must be 0 or more and below 2**63, got {2**63}"),
        ({"fold": -2}, "fold must be 0 or more, got -2"),
        ({"replicate": -3}, "replicate must be 0 or more, got -3"),
        ({"stage": "serch"}, "stage must be one of search, confirm, train, reproduce, got 'serch'"),
        ({"protocols": ()}, "a trial needs one or more score protocols, each once"),
        ({"protocols": (FULL, REPORT, FULL)}, "a trial needs one or more score protocols, each once"),
    ],
)
def test_specs_that_break_a_rule_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        spec(**changes)
    assert caught.value.message == message
