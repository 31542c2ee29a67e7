"""Study files: bases beside them, those that are shipped, and the page about them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gansearch.config import TrialConfig
from gansearch.config_files import load_config_file, parse_config_file
from gansearch.errors import ConfigError
from gansearch.search.domains import _KINDS
from gansearch.search.sections import Resources
from gansearch.search.space import Space
from gansearch.search.study import _KEYS, Study, load_study
from gansearch.yaml_files import find_shipped, load_yaml, parse_yaml, shipped_names

README = Path(__file__).parents[2] / "search_spaces" / "README.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)


def test_a_configuration_where_a_study_is_wanted() -> None:
    with pytest.raises(ConfigError) as caught:
        load_study("paper/mnist")
    assert caught.value.message == f"{find_shipped('paper/mnist')}: this is a configuration, not a study"
    assert caught.value.hint == "train it with `gansearch train`"
    with pytest.raises(ConfigError, match="this is a study"):
        load_config_file("quickstart")


def test_a_base_is_found_beside_its_study(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("config: {noise: {dim: 33}}\n")
    path = tmp_path / "study.yaml"
    path.write_text("base: mine.yaml\nspace: {algorithm.k: {int: [1, 3]}}\nnum_trials: 2\n")
    study = load_study(path)
    assert (study.name, study.base.noise.dim) == ("study", 33)
    (tmp_path / "mine.yaml").write_text("config: {noise: {dim: 0}}\n")
    with pytest.raises(ConfigError) as caught:
        load_study(path)
    assert caught.value.message == f"{path}: base: {tmp_path / 'mine.yaml'}: noise.dim must be 1 or more, got 0"


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_file_loads(name: str) -> None:
    if "config" in load_yaml(find_shipped(name)):
        assert load_config_file(name).name == name
    else:
        study = load_study(name)
        assert study.name == name
        assert study.description
        assert study.space.contains(study.space.base_point())


def test_the_studies_that_the_project_promises() -> None:
    quickstart = load_study("quickstart")
    assert quickstart.base.dataset.name == "digits"
    assert quickstart.num_trials >= 12
    assert quickstart.resources == Resources(cpu=1, gpu=0)
    mnist = load_study("mnist")
    assert {p.name for p in mnist.space.parameters} == {
        "algorithm.k",
        "momentum.lr_g",
        "momentum.lr_d",
        "momentum.initial",
        "momentum.final",
        "discriminator.pieces",
        "discriminator.dropout_input",
        "discriminator.dropout_hidden",
    }
    published = load_config_file("paper/mnist").config
    assert mnist.base == published.replace({"algorithm.epochs": 30, "momentum.ramp_unit": "auto"})
    assert (mnist.scheduler.name, mnist.searcher.name, mnist.num_trials) == ("asha", "tpe", 64)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_readme_blocks_are_valid(block: str) -> None:
    data = parse_yaml(block, "README.md")
    if "config" in data:
        parse_config_file(data, "readme")
    elif "base" in data:
        Study.parse(data, "readme")
    else:
        Space.parse(data["space"], TrialConfig())


def test_the_readme_documents_every_key_kind_and_option() -> None:
    blocks = [parse_yaml(block, "README.md") for block in BLOCKS]
    full = max((b for b in blocks if "base" in b), key=len)
    assert set(full) == set(_KEYS)
    for key in ("resources", "protocols", "confirm", "limits", "guards"):
        assert set(full[key]) == set(Study.parse(full, "readme").to_dict()[key])
    for key in ("searcher", "scheduler", "executor"):
        assert set(full[key]) == set(Study.parse(full, "readme").to_dict()[key])
    entries = [set(entry) for b in blocks for entry in b.get("space", {}).values()]
    assert set().union(*entries) == {*_KINDS, "when", "points", "log"}
    assert all(f"`{name}`" in README.read_text() for name in shipped_names())
