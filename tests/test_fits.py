"""What must fit before training: networks, data, labels, stages and protocols; and spaces of such configurations."""

from __future__ import annotations

from typing import Any

import pytest

from gansearch.config import TrialConfig
from gansearch.core.datasets import DATASETS, describe, load
from gansearch.errors import ConfigError, DataError, UserError
from gansearch.fits import check_fits, check_protocol
from gansearch.protocols import PROTOCOLS
from gansearch.search.study import Study
from gansearch.search.sweep import check_study_fits
from tests.search.small_studies import plan

DECONVOLUTION: dict[str, object] = {
    "generator.hidden": [40, 8],
    "deconvolution.channels": 2,
    "generator.output": "linear",
}
STAGES: dict[str, object] = {"pretraining.epochs": 5}


def config(**changes: object) -> TrialConfig:
    return TrialConfig().replace({name.replace("__", "."): value for name, value in changes.items()})


def test_a_minibatch_may_be_the_whole_training_split() -> None:
    info, data = describe("digits"), load("digits", data_dir=None)
    for subject in (info, data):
        check_fits(config(algorithm__batch_size=1_197), subject)
        with pytest.raises(DataError, match="'digits' has 1,197 training images, fewer than a minibatch of 1,198"):
            check_fits(config(algorithm__batch_size=1_198), subject)


@pytest.mark.parametrize(
    ("name", "changes", "message", "hint"),
    [
        (
            "lfwcrop48",
            {"condition.on": "labels"},
            "condition.on is labels, and the data set 'lfwcrop48' has none",
            "mnist",
        ),
        (
            "cifar10_contrast",
            {},
            "generator.output is 'sigmoid', whose images lie in [0, 1]",
            "generator.output: linear",
        ),
        (
            "cifar10_contrast",
            {"generator.output": "linear", "discriminator.inputs": "symmetric"},
            "discriminator.inputs is 'symmetric'",
            "discriminator.inputs: unit",
        ),
        (
            "cifar10",
            DECONVOLUTION,
            "do not fit 'cifar10': the generator's images have 8 x 8 pixels, those of the data set 32 x 32",
            None,
        ),
        (
            "cifar10",
            {"generator.hidden": [40, 961], "generator.output_inputs": 2, "deconvolution.channels": 1}
            | {"deconvolution.kernel": 2, "deconvolution.stride": 1, "generator.output": "linear"},
            "generator.output_inputs is 2, and the output layer sees 1 units",
            None,
        ),
        (
            "mnist",
            {"generator.hidden": [], "noise.dim": 10, "generator.output_inputs": 30},
            "generator.output_inputs is 30, and the output layer sees 10 units",
            None,
        ),
        ("cifar10", {"deconvolution.channels": 7}, "1,200 units, which are not 7 square images", None),
        ("gaussian_mixture", DECONVOLUTION, "convolutions take square images", None),
        ("mnist", STAGES | {"algorithm.epochs": 5}, "nothing is left for the second stage", "second stage epochs"),
        (
            "mnist",
            STAGES | {"pretraining.generator_layers": 3},
            "keeps 3 of the generator's 3 layers",
            "keep 2 or fewer",
        ),
        (
            "mnist",
            STAGES | {"pretraining.discriminator_layers": 4},
            "of the discriminator's 3 layers",
            "keep 2 or fewer",
        ),
    ],
)
def test_what_does_not_fit_is_told(name: str, changes: dict[str, object], message: str, hint: str | None) -> None:
    with pytest.raises(UserError) as caught:
        check_fits(TrialConfig().replace({"dataset.name": name} | changes), describe(name))
    assert message in caught.value.message
    assert (caught.value.hint is None) == (hint is None)
    assert hint is None or hint in str(caught.value.hint)


def test_scores_are_of_the_space_of_the_data() -> None:
    for name in DATASETS:
        info = describe(name)
        for protocol in PROTOCOLS.values():
            if protocol.space == info.space:
                check_protocol(protocol, info)
                continue
            with pytest.raises(ConfigError, match=f"those of '{name}' lie in '{info.space}'") as caught:
                check_protocol(protocol, info)
            assert caught.value.hint is not None
            assert all(
                (one in caught.value.hint.split(": ")[1].split(", ")) == (PROTOCOLS[one].space == info.space)
                for one in PROTOCOLS
            )


def study(space: dict[str, Any], epochs: int = 4, **base: Any) -> Study:
    data = plan(num_trials=2, epochs=epochs)
    data["base"] |= base
    return Study.parse(data | {"space": space}, "study")


def test_every_corner_of_a_space_must_fit() -> None:
    fits = {"channels": 2, "kernel": 4, "stride": 2}  # 3 x 3 places give 8 x 8 pixels
    hidden = {"choice": [[23, 18], [23]]}
    with pytest.raises(ConfigError, match=r"where the space has generator.hidden \[23\]: the networks do not fit"):
        check_study_fits(study({"generator.hidden": hidden}, deconvolution=fits, generator={"hidden": [23, 18]}))
    whole = {"generator.hidden": {"choice": [[23, 18], [18]]}}
    check_study_fits(study(whole, deconvolution=fits, generator={"hidden": [23, 18]}))
    with pytest.raises(DataError, match=r"where the space has algorithm\.batch_size 2000: the data set 'digits' has"):
        check_study_fits(study({"algorithm.batch_size": {"int": [50, 2000]}}))


def test_labels_are_among_the_units_that_a_deconvolution_without_hidden_layers_reads() -> None:
    given = {"generator.hidden": [], "condition.on": "labels", "deconvolution.channels": 1, "dataset.name": "digits"}
    labelled = TrialConfig().replace(given | {"deconvolution.kernel": 4, "deconvolution.stride": 4, "noise.dim": 4})
    with pytest.raises(ConfigError, match="14 units, which are not 1 square images"):
        check_fits(labelled, describe("digits"))
    check_fits(
        labelled.replace({"noise.dim": 6, "deconvolution.kernel": 2, "deconvolution.stride": 2}), describe("digits")
    )


def test_every_value_of_a_large_space_is_tried() -> None:
    """More combinations than anybody tries: each value of the first parameter is tried with each of any other."""
    space: dict[str, Any] = {"algorithm.batch_size": {"choice": [50, 100, 2000]}}
    space |= {"generator.hidden": {"choice": [[n] for n in range(10, 40)]}, "noise.dim": {"choice": [*range(5, 25)]}}
    space |= {"discriminator.hidden": {"choice": [[n] for n in range(10, 40)]}}
    with pytest.raises(DataError, match=r"where the space has algorithm\.batch_size 2000"):
        check_study_fits(study(space))


def test_a_searched_budget_must_leave_room_for_the_second_stage() -> None:
    with pytest.raises(ConfigError, match=r"where the space has algorithm\.epochs 3: pretraining\.epochs is 3"):
        check_study_fits(study({"algorithm.epochs": {"choice": [9, 3]}}, 9, pretraining={"epochs": 3}))


def test_conditional_corners_are_tried_where_they_act_only() -> None:
    space = {
        "deconvolution.channels": {"choice": [0, 2]},
        "deconvolution.kernel": {"choice": [4, 6], "when": {"deconvolution.channels": 2}},
    }
    base: dict[str, Any] = {"deconvolution": {"channels": 0}, "generator": {"hidden": [18]}}
    with pytest.raises(ConfigError, match=r"deconvolution.channels 2, deconvolution.kernel 4: .* have 10 x 10 pixels"):
        check_study_fits(study(space, **base))


def test_what_a_space_searches_without_effect_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"discriminator\.pieces has no effect unless discriminator\.activation is maxout"
    ) as caught:
        study(
            {"discriminator.activation": {"choice": ["maxout", "relu"]}, "discriminator.pieces": {"int": [2, 3]}},
        )
    assert caught.value.hint == "add `when: {discriminator.activation: maxout}` to it"
    with pytest.raises(ConfigError, match=r"generator\.leaky_slope has no effect: generator\.activations is never"):
        study({"generator.leaky_slope": {"uniform": [0.1, 0.3]}})
    study(
        {
            "discriminator.activation": {"choice": ["maxout", "relu"]},
            "discriminator.pieces": {"int": [2, 3], "when": {"discriminator.activation": "maxout"}},
            "generator.activations": {"choice": [["relu"], ["leaky_relu"]]},
            "generator.leaky_slope": {"uniform": [0.1, 0.3], "when": {"generator.activations": [["leaky_relu"]]}},
        }
    )


def test_an_initial_range_that_is_not_used_is_refused() -> None:
    space = {"generator.output_init_range": {"uniform": [0.1, 0.3]}}
    with pytest.raises(ConfigError, match=r"output_init_range has no effect: generator\.output_inputs is always set"):
        study(space, generator={"hidden": [23], "output_inputs": 5})
    study(space, generator={"hidden": [23], "output_init_range": 0.2})
    with pytest.raises(ConfigError, match=r"output_init_range has no effect: generator\.output_inputs is 5"):
        study(
            {"algorithm.k": {"int": [1, 2]}}, generator={"hidden": [23], "output_inputs": 5, "output_init_range": 0.2}
        )


def test_what_a_file_sets_without_effect_is_refused() -> None:
    for base, message in (
        ({"discriminator": {"activation": "relu", "pieces": 3}}, "base.discriminator.pieces has no effect"),
        ({"deconvolution": {"kernel": 4}}, "base.deconvolution.kernel has no effect: deconvolution.channels is 0"),
        ({"convolution": {"pieces": 4}}, "base.convolution.pieces has no effect: convolution.channels is empty"),
    ):
        with pytest.raises(ConfigError, match=message):
            study({"algorithm.k": {"int": [1, 2]}}, **base)
