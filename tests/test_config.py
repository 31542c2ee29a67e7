"""Configurations: canonical form, ids, changes by name, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gansearch.config import ADDED, AlgorithmConfig, MomentumConfig, TrialConfig, parameters
from gansearch.errors import ConfigError
from gansearch.model_sections import ACTIVATIONS, ConvolutionConfig

COUNTS = st.integers(1, 2**63 - 1)
POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False)
SHARES = st.floats(0, 1, exclude_max=True)
INSIDE = st.floats(0, 1, exclude_min=True, exclude_max=True)
LEGAL: dict[str, st.SearchStrategy[Any]] = {
    "dataset.name": st.text(max_size=8),
    "noise.dim": COUNTS,
    "noise.distribution": st.sampled_from(["uniform", "gaussian"]),
    "noise.hidden": st.floats(0, allow_infinity=False),
    "generator.hidden": st.lists(COUNTS, max_size=3),
    "generator.output": st.sampled_from(["sigmoid", "linear", "tanh"]),
    "generator.init_range": POSITIVE,
    "generator.output_bias": st.sampled_from(["marginals", "zero"]),
    "generator.max_col_norm": st.none() | POSITIVE,
    "generator.activations": st.lists(st.sampled_from(ACTIVATIONS), min_size=1, max_size=1),
    "generator.leaky_slope": INSIDE,
    "generator.batch_norm": st.booleans(),
    "generator.hidden_bias": st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=1),
    "generator.output_init_range": st.none() | POSITIVE,
    "generator.output_inputs": st.none() | st.just(1),
    "discriminator.hidden": st.lists(COUNTS, max_size=3),
    "discriminator.pieces": COUNTS,
    "discriminator.dropout_input": SHARES,
    "discriminator.dropout_hidden": SHARES,
    "discriminator.init_range": POSITIVE,
    "discriminator.max_col_norm": st.none() | POSITIVE,
    "discriminator.activation": st.sampled_from(["maxout", "leaky_relu", "relu"]),
    "discriminator.leaky_slope": INSIDE,
    "discriminator.inputs": st.sampled_from(["unit", "symmetric"]),
    "algorithm.epochs": COUNTS,
    "algorithm.k": COUNTS,
    "algorithm.order": st.sampled_from(["simultaneous", "alternating"]),
    "algorithm.objective": st.sampled_from(["non-saturating", "saturating"]),
    "algorithm.loss_scale": POSITIVE,
    "algorithm.batch_size": COUNTS,
    "update.rule": st.sampled_from(["momentum", "adam"]),
    "momentum.lr_g": POSITIVE,
    "momentum.lr_d": POSITIVE,
    "momentum.lr_decay": st.floats(1, allow_infinity=False),
    "momentum.lr_floor": st.floats(0, allow_infinity=False),
    "momentum.initial": SHARES,
    "momentum.final": SHARES,
    "momentum.ramp_start": st.floats(0, 7),
    "momentum.ramp_end": st.floats(7, exclude_min=True, allow_infinity=False),
    "momentum.ramp_unit": st.sampled_from(["auto", "epochs", "fraction"]),
    "adam.lr_g": POSITIVE,
    "adam.lr_d": POSITIVE,
    "adam.beta1": SHARES,
    "adam.beta2": SHARES,
    "adam.eps": POSITIVE,
    "score.report_every": COUNTS,
    "score.at": st.sampled_from(["best", "last"]),
    "deconvolution.channels": st.integers(0, 2**63 - 1),
    "deconvolution.kernel": st.integers(3, 2**63 - 1),
    "deconvolution.stride": st.integers(1, 3),
    "convolution.channels": st.just([]),  # lists of layers: below
    "convolution.kernels": st.just([]),
    "convolution.pads": st.just([]),
    "convolution.pieces": COUNTS,
    "convolution.pools": st.just([]),
    "convolution.pool_strides": st.just([]),
    "condition.on": st.sampled_from(["none", "labels"]),
    "pretraining.epochs": st.integers(0, 2**63 - 1),
    "pretraining.generator_layers": COUNTS,
    "pretraining.discriminator_layers": COUNTS,
}
ILLEGAL: dict[str, list[Any]] = {
    "noise.dim": [0, -1, 2**63],
    "noise.distribution": ["gausian"],
    "noise.hidden": [-0.1, math.inf, math.nan],
    "generator.hidden": [[7, 0]],
    "generator.output": ["sigmoyd"],
    "generator.init_range": [0.0, math.inf, math.nan],
    "generator.output_bias": ["marginal"],
    "generator.max_col_norm": [0.0, math.inf, math.nan],
    "generator.activations": [[], ["rely"], ["relu", "relu", "relu"]],
    "generator.leaky_slope": [0.0, 1.0, math.nan],
    "generator.hidden_bias": [[], [0.0, 0.0, 0.0], [math.inf]],
    "generator.output_init_range": [0.0, math.inf, math.nan],
    "generator.output_inputs": [0, 1201],
    "discriminator.hidden": [[0]],
    "discriminator.pieces": [0],
    "discriminator.dropout_input": [-0.1, 1.0, math.nan],
    "discriminator.dropout_hidden": [-0.1, 1.0, math.nan],
    "discriminator.init_range": [0.0, math.inf, math.nan],
    "discriminator.max_col_norm": [-1.0, math.inf],
    "discriminator.activation": ["sigmoid"],
    "discriminator.leaky_slope": [0.0, 1.0, math.nan],
    "discriminator.inputs": ["tanh"],
    "algorithm.epochs": [0, 2**63],
    "algorithm.k": [0, 2**63],
    "algorithm.order": ["alternate"],
    "algorithm.objective": ["saturated"],
    "algorithm.loss_scale": [0.0, math.inf, math.nan],
    "algorithm.batch_size": [0],
    "update.rule": ["adams"],
    "momentum.lr_g": [0.0, -0.1, math.inf, math.nan],
    "momentum.lr_d": [0.0, math.inf, math.nan],
    "momentum.lr_decay": [0.999, math.inf, math.nan],
    "momentum.lr_floor": [-1e-9, math.inf, math.nan],
    "momentum.initial": [-0.1, 1.0, math.nan],
    "momentum.final": [-0.1, 1.0, math.nan],
    "momentum.ramp_start": [-1.0, 251.0, math.nan],
    "momentum.ramp_end": [0.5, math.inf, math.nan],
    "momentum.ramp_unit": ["epoch"],
    "adam.lr_g": [0.0, math.inf, math.nan],
    "adam.lr_d": [0.0, math.inf, math.nan],
    "adam.beta1": [-0.1, 1.0, math.nan],
    "adam.beta2": [-0.1, 1.0, math.nan],
    "adam.eps": [0.0, math.inf, math.nan],
    "score.report_every": [0],
    "score.at": ["first"],
    "deconvolution.channels": [-1, 2**63],
    "deconvolution.kernel": [0, 2],  # the stride is 3
    "deconvolution.stride": [0, 6],  # the kernel is 5
    "convolution.channels": [[4]],
    "convolution.kernels": [[4]],
    "convolution.pads": [[4]],
    "convolution.pieces": [0],
    "convolution.pools": [[4]],
    "convolution.pool_strides": [[4]],
    "condition.on": ["label"],
    "pretraining.epochs": [-1, 2**63],
    "pretraining.generator_layers": [0],
    "pretraining.discriminator_layers": [0],
}
# A data set's name is known to the data sets alone, and there is no third truth value.
UNCHECKED = {"dataset.name", "generator.batch_norm"}


def nested(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, key = name.split(".")
        sections.setdefault(section, {})[key] = value
    return sections


def test_every_parameter_is_tried_here() -> None:
    names = {name for name, _ in parameters()}
    assert set(LEGAL) == names
    assert set(ILLEGAL) | UNCHECKED == names


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=LEGAL), st.randoms(use_true_random=False))
def test_a_configuration_has_one_canonical_form(values: dict[str, Any], random: Any) -> None:
    config = TrialConfig.from_dict(nested(values))
    canonical = config.to_dict()
    assert TrialConfig.from_dict(canonical).to_dict() == canonical
    assert TrialConfig.from_dict(json.loads(config.to_json())).config_id == config.config_id
    shuffled = list(values.items())
    random.shuffle(shuffled)
    assert TrialConfig.from_dict(nested(dict(shuffled))).config_id == config.config_id
    assert TrialConfig().replace(values) == config
    for name, value in values.items():
        assert config.get(name) == (tuple(value) if isinstance(value, list) else value)


CONVOLUTIONS: dict[str, Any] = {
    "channels": (4, 3),
    "kernels": (5, 2),
    "pads": (0, 1),
    "pools": (2, 3),
    "pool_strides": (2, 1),
}


def test_layers_of_convolution_have_an_entry_in_every_list() -> None:
    assert ConvolutionConfig(**CONVOLUTIONS).pieces == 2
    for name, bad in (
        ("channels", (4, 0)),
        ("kernels", (5, 0)),
        ("kernels", (5,)),
        ("pads", (0, -1)),
        ("pools", (2, 3, 4)),
        ("pool_strides", (2, 0)),
        ("pool_strides", (2, 4)),  # windows of 3
    ):
        with pytest.raises(ConfigError, match=r"convolution\."):
            ConvolutionConfig(**(CONVOLUTIONS | {name: bad}))


def test_ids_made_before_a_parameter_was_added_stay() -> None:
    """The first was computed when there was no parameter in `ADDED`."""
    assert TrialConfig().config_id == "0b68aa5d370f"
    assert not {name for name in ADDED if name.split(".")[1] in TrialConfig().to_dict().get(name.split(".")[0], {})}
    changed = TrialConfig().replace({"noise.hidden": 0.5})
    assert changed.config_id != TrialConfig().config_id
    assert changed.to_dict()["noise"]["hidden"] == 0.5


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ({}, {"generator.leaky_slope": 0.3}),
        ({"discriminator.activation": "relu"}, {"discriminator.pieces": 3}),
        ({}, {"discriminator.leaky_slope": 0.3}),
        ({}, {"deconvolution.kernel": 7}),
        ({}, {"convolution.pieces": 3}),
        ({}, {"pretraining.generator_layers": 2}),
    ],
)
def test_what_does_not_act_is_no_part_of_an_id(parent: dict[str, object], child: dict[str, object]) -> None:
    config = TrialConfig().replace(parent)
    (name,) = child
    assert not config.acts(name)
    assert config.replace(child).config_id == config.config_id


def test_what_acts_is_part_of_an_id() -> None:
    config = TrialConfig().replace({"generator.activations": ["relu", "leaky_relu"], "pretraining.epochs": 5})
    for child in ({"generator.leaky_slope": 0.3}, {"pretraining.generator_layers": 2}, {"discriminator.pieces": 3}):
        assert config.replace(child).config_id != config.config_id


def test_the_section_that_does_not_act_is_left_out() -> None:
    base, adam = TrialConfig(), TrialConfig().replace({"update.rule": "adam"})
    assert "adam" not in base.to_dict()
    assert "momentum" not in adam.to_dict()
    assert base.replace({"adam.lr_g": 0.5}).config_id == base.config_id
    assert adam.replace({"momentum.lr_g": 0.5}).config_id == adam.config_id
    assert base.replace({"momentum.lr_g": 0.5}).config_id != base.config_id
    assert adam.replace({"adam.lr_g": 0.5}).config_id != adam.config_id


def test_the_id_does_not_depend_on_how_a_number_or_a_list_was_given() -> None:
    written = TrialConfig.from_dict({"momentum": {"lr_g": 1, "ramp_end": 300}, "generator": {"hidden": [7, 5]}})
    set_in_python = dataclasses.replace(
        TrialConfig(),
        momentum=MomentumConfig(lr_g=1, ramp_end=300),
        generator=dataclasses.replace(TrialConfig().generator, hidden=(7, 5)),
    )
    assert set_in_python.to_json() == written.to_json()
    assert set_in_python.config_id == written.config_id
    with pytest.raises(ConfigError, match=r"algorithm\.k must be an integer, got 2\.0"):
        _ = dataclasses.replace(TrialConfig(), algorithm=AlgorithmConfig(k=2.0)).config_id  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ILLEGAL.items() for value in values])
def test_a_value_out_of_range_is_refused_with_its_name_and_itself(name: str, value: Any) -> None:
    builds: list[Callable[[], TrialConfig]] = [
        lambda: TrialConfig().replace({name: value}),
        lambda: TrialConfig.from_dict(nested({name: value})),
    ]
    for build in builds:
        with pytest.raises(ConfigError) as caught:
            build()
        assert name in caught.value.message
        assert str(value) in caught.value.message
        if isinstance(value, str):
            assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        ({"generater": {}}, "config has an unknown key 'generater'", "did you mean 'generator'?"),
        ({"momentum": {"lrg": 1.0}}, "config.momentum has an unknown key 'lrg'", "did you mean 'lr_g'?"),
        ({"noise": {"dim": 1.5}}, "config.noise.dim must be an integer, got 1.5", None),
        ({"noise": {"dim": 1, "distribution": "spherical"}}, "noise.dim must be 2 or more on a sphere, got 1", None),
        ({"noise": {"dim": True}}, "config.noise.dim must be an integer, got True", None),
        ({"adam": {"lr_g": "1e-3"}}, "config.adam.lr_g must be a number, got '1e-3'", None),
        ({"generator": {"hidden": 7}}, "config.generator.hidden must be a list, got 7", None),
        ({"generator": {"hidden": [7, "x"]}}, "config.generator.hidden[1] must be an integer, got 'x'", None),
        ({"score": None}, "config.score must be a mapping of names to values, got nothing", None),
        ([], "config must be a mapping of names to values, got []", None),
    ],
)
def test_mistakes_are_named_with_their_place(data: object, message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        TrialConfig.from_dict(data)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_replace_names_what_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match=r"'algorithm\.kk' \(hint: did you mean 'algorithm\.k'\?\)"):
        TrialConfig().replace({"algorithm.kk": 2})
    with pytest.raises(ConfigError, match=r"^algorithm\.k must be an integer, got 'x'$"):
        TrialConfig().replace({"algorithm.k": "x"})
    # Fields that hold each other's bounds change together.
    moved = TrialConfig().replace({"momentum.ramp_start": 300, "momentum.ramp_end": 400})
    assert (moved.momentum.ramp_start, moved.momentum.ramp_end) == (300.0, 400.0)
    assert TrialConfig().replace({}) == TrialConfig()
