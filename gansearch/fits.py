"""What must fit before anything is trained: networks, data, labels, folds and score protocols.

A configuration's sections know their own rules; what needs two of them, or the data set, is checked here.
"""

from __future__ import annotations

from collections.abc import Iterable

from gansearch.config import TrialConfig
from gansearch.core.datasets import CONTRAST, DATASETS, UNIT, Dataset, DatasetInfo, describe
from gansearch.core.networks import Networks
from gansearch.errors import ConfigError, DataError
from gansearch.protocols import PROTOCOLS, Protocol


def check_fits(config: TrialConfig, data: DatasetInfo | Dataset, protocols: Iterable[Protocol] = ()) -> None:
    """Check that a configuration can be trained on a data set and scored there.

    Args:
        config: the configuration.
        data: its data set, or what is known of it.
        protocols: how it is to be scored.

    Raises:
        ConfigError: when networks, stages or protocols do not fit.
        DataError: when the training split cannot fill one minibatch, or there are no labels to condition on.
    """
    batch_size = config.algorithm.batch_size
    if batch_size > data.n_train:
        raise DataError(
            f"the data set '{data.name}' has {data.n_train:,} training images, fewer than a minibatch of "
            f"{batch_size:,}",
            hint=f"set algorithm.batch_size to {data.n_train} or less",
        )
    if config.condition.on == "labels" and not describe(data.name).classes:
        with_labels = ", ".join(name for name in DATASETS if describe(name).classes)
        raise DataError(
            f"condition.on is labels, and the data set '{data.name}' has none", hint=f"{with_labels} have labels"
        )
    _check_space(config, data)
    _check_stages(config)
    try:
        Networks.of(config, data.dim)
    except ValueError as error:
        raise ConfigError(f"the networks do not fit '{data.name}': {error}") from None
    for protocol in protocols:
        check_protocol(protocol, data)


def check_protocol(protocol: Protocol, data: DatasetInfo | Dataset) -> None:
    """Raise ConfigError unless a protocol's scores are of the space that a data set's values lie in."""
    if protocol.space != data.space:
        fitting = ", ".join(name for name, one in PROTOCOLS.items() if one.space == data.space)
        raise ConfigError(
            f"protocol {protocol.name} scores images in the space '{protocol.space}', and those of '{data.name}' lie "
            f"in '{data.space}'",
            hint=f"score them by one of: {fitting}",
        )


def _check_space(config: TrialConfig, data: DatasetInfo | Dataset) -> None:
    if data.space == UNIT:
        return
    what = {CONTRAST: "after contrast normalisation"}[data.space]
    if config.generator.output != "linear":
        raise ConfigError(
            f"generator.output is '{config.generator.output}', whose images lie in [0, 1], and values of "
            f"'{data.name}', {what}, do not",
            hint="set generator.output: linear",
        )
    if config.discriminator.inputs != "unit":
        raise ConfigError(
            f"discriminator.inputs is '{config.discriminator.inputs}', which is for pixels in [0, 1], and values of "
            f"'{data.name}', {what}, are no such",
            hint="set discriminator.inputs: unit",
        )


def _check_stages(config: TrialConfig) -> None:
    stages = config.pretraining
    if not stages.epochs:
        return
    if stages.epochs >= config.algorithm.epochs:
        raise ConfigError(
            f"pretraining.epochs is {stages.epochs}, and the whole budget, algorithm.epochs, "
            f"{config.algorithm.epochs}: nothing is left for the second stage",
            hint="give the second stage epochs, or set pretraining.epochs: 0",
        )
    hidden = len(config.convolution.channels) + len(config.discriminator.hidden)
    for name, kept, layers in (
        ("generator", stages.generator_layers, len(config.generator.hidden) + 1),
        ("discriminator", stages.discriminator_layers, hidden + 1),
    ):
        if kept >= layers:
            raise ConfigError(
                f"pretraining.{name}_layers keeps {kept} of the {name}'s {layers} layers: none starts anew",
                hint=f"keep {layers - 1} or fewer",
            )
