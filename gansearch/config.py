"""A trial's configuration: the parts of the 2014 adversarial nets that can be varied.

`TrialConfig` holds what is trained. How it is scored is a `protocols.Protocol`; which draw of it is
meant (seed, fold) is a `spec.TrialSpec`. The defaults are the published MNIST recipe.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import typing
from collections.abc import Mapping
from typing import Any

from gansearch import parsing
from gansearch.errors import ConfigError, nearest
from gansearch.model_sections import (
    ConditionConfig,
    ConvolutionConfig,
    DatasetConfig,
    DeconvolutionConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    NoiseConfig,
    PretrainingConfig,
    choose,
    count,
    require,
)
from gansearch.schedule import Change, check_schedule
from gansearch.seeds import digest


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmConfig:
    """Algorithm 1 of Goodfellow et al. 2014 and its budget.

    Attributes:
        epochs: passes of real data through the discriminator, 1 or more; the trial's whole budget.
        k: discriminator steps a generator step, 1 or more.
        order: `alternating`, the paper's listing (k discriminator steps, then a generator step on fresh
            noise), or `simultaneous`, the published code (k - 1 discriminator steps, then one step of
            both networks from one forward pass).
        objective: what G ascends: `non-saturating`, log D(G(z)), or `saturating`, -log(1 - D(G(z))).
        loss_scale: factor on the discriminator's loss, above 0; the listing has 1, the published code .5.
        batch_size: examples and noise samples m in a minibatch, 1 or more.
    """

    epochs: int = 250
    k: int = 1
    order: str = "simultaneous"
    objective: str = "non-saturating"
    loss_scale: float = 0.5
    batch_size: int = 100

    def __post_init__(self) -> None:
        for name in ("epochs", "k", "batch_size"):
            count(f"algorithm.{name}", getattr(self, name))
        choose("algorithm.order", self.order, ("simultaneous", "alternating"))
        choose("algorithm.objective", self.objective, ("non-saturating", "saturating"))
        require(0 < self.loss_scale < math.inf, "algorithm.loss_scale", "above 0", self.loss_scale)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UpdateConfig:
    """Which update rule moves the parameters.

    Attributes:
        rule: `momentum` (the section `momentum` holds) or `adam` (the section `adam` holds).
    """

    rule: str = "momentum"

    def __post_init__(self) -> None:
        choose("update.rule", self.rule, ("momentum", "adam"))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MomentumConfig:
    """Stochastic gradient descent with momentum, on the recipe's schedules.

    Attributes:
        lr_g: generator's initial learning rate, above 0.
        lr_d: discriminator's initial learning rate, above 0.
        lr_decay: both rates are divided by this after each update of D, 1 or more.
        lr_floor: rates do not fall below this, 0 or more.
        initial: momentum at the ramp's start, in [0,1).
        final: momentum at the ramp's end, in [0,1).
        ramp_start: where the linear ramp starts, in epochs, 0 or more.
        ramp_end: where it ends, in epochs, above `ramp_start`.
        ramp_unit: `epochs` (as the recipe), `fraction` (the same ramp, squeezed so that it ends with the
            budget) or `auto` (`fraction` where the budget ends before the ramp does, else `epochs`).
    """

    lr_g: float = 0.1
    lr_d: float = 0.1
    lr_decay: float = 1.000004
    lr_floor: float = 1e-6
    initial: float = 0.5
    final: float = 0.7
    ramp_start: float = 1.0
    ramp_end: float = 250.0
    ramp_unit: str = "auto"

    def __post_init__(self) -> None:
        for name in ("lr_g", "lr_d"):
            require(0 < getattr(self, name) < math.inf, f"momentum.{name}", "above 0", getattr(self, name))
        require(1 <= self.lr_decay < math.inf, "momentum.lr_decay", "1 or more", self.lr_decay)
        require(0 <= self.lr_floor < math.inf, "momentum.lr_floor", "0 or more", self.lr_floor)
        for name in ("initial", "final"):
            require(0 <= getattr(self, name) < 1, f"momentum.{name}", "in [0, 1)", getattr(self, name))
        require(
            0 <= self.ramp_start < self.ramp_end < math.inf,
            "momentum.ramp_end",
            "above momentum.ramp_start, which must be 0 or more",
            f"start {self.ramp_start}, end {self.ramp_end}",
        )
        choose("momentum.ramp_unit", self.ramp_unit, ("auto", "epochs", "fraction"))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AdamConfig:
    """Adam (Kingma and Ba 2015), with constant rates.

    Attributes:
        lr_g: generator's learning rate, above 0.
        lr_d: discriminator's learning rate, above 0.
        beta1: decay of the first moment, in [0,1).
        beta2: decay of the second moment, in [0,1).
        eps: added to the root of the second moment, above 0.
    """

    lr_g: float = 4e-4
    lr_d: float = 1e-4
    beta1: float = 0.5
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        for name in ("lr_g", "lr_d", "eps"):
            require(0 < getattr(self, name) < math.inf, f"adam.{name}", "above 0", getattr(self, name))
        for name in ("beta1", "beta2"):
            require(0 <= getattr(self, name) < 1, f"adam.{name}", "in [0, 1)", getattr(self, name))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScoreConfig:
    """When a trial is scored, and which of its weights are.

    Attributes:
        report_every: epochs between reports, 1 or more; the last epoch always reports.
        at: `best`, the weights of the report with the highest validation value among those whose samples
            have not collapsed (of the latest report where all have), or `last`.
    """

    report_every: int = 1
    at: str = "best"

    def __post_init__(self) -> None:
        count("score.report_every", self.report_every)
        choose("score.at", self.at, ("best", "last"))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrialConfig:
    """Everything that decides what is trained, but for the seed.

    Attributes:
        dataset: the data set.
        noise: the generator's input.
        generator: the generator.
        discriminator: the discriminator.
        algorithm: Algorithm 1 and the budget.
        update: the update rule.
        momentum: settings of the rule `momentum`.
        adam: settings of the rule `adam`.
        score: when reports happen and which weights are scored.
        deconvolution: the generator's output layer, where it is no dense one.
        convolution: the discriminator's first layers, where they are no dense ones.
        condition: what both networks are given beside noise and images.
        pretraining: whether there are two stages.
        schedule: changes on the way, in the order of their epochs. The recipe's own schedules go on with the new
            values: `lr_decay` divides the new rate by as much as it would have divided the old one.
    """

    dataset: DatasetConfig = dataclasses.field(default_factory=DatasetConfig)
    noise: NoiseConfig = dataclasses.field(default_factory=NoiseConfig)
    generator: GeneratorConfig = dataclasses.field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = dataclasses.field(default_factory=DiscriminatorConfig)
    algorithm: AlgorithmConfig = dataclasses.field(default_factory=AlgorithmConfig)
    update: UpdateConfig = dataclasses.field(default_factory=UpdateConfig)
    momentum: MomentumConfig = dataclasses.field(default_factory=MomentumConfig)
    adam: AdamConfig = dataclasses.field(default_factory=AdamConfig)
    score: ScoreConfig = dataclasses.field(default_factory=ScoreConfig)
    deconvolution: DeconvolutionConfig = dataclasses.field(default_factory=DeconvolutionConfig)
    convolution: ConvolutionConfig = dataclasses.field(default_factory=ConvolutionConfig)
    condition: ConditionConfig = dataclasses.field(default_factory=ConditionConfig)
    pretraining: PretrainingConfig = dataclasses.field(default_factory=PretrainingConfig)
    schedule: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        check_schedule(self.schedule, self.algorithm.epochs, self.update.rule)
        for i, change in enumerate(self.schedule):
            for name, value in change.values:
                section, key = name.split(".")
                try:
                    dataclasses.replace(getattr(self, section), **{key: value})
                except ConfigError as error:
                    raise ConfigError(f"schedule[{i}]: {error.message}", hint=error.hint) from None

    @property
    def config_id(self) -> str:
        """Hash of the canonical configuration: 12 hex digits, without seed, fold or protocol."""
        return digest(self.to_dict())

    @property
    def dropout_rates(self) -> tuple[float, ...]:
        """Probability of dropping a component of what each of D's layers sees: the image, then each layer's output."""
        hidden = len(self.convolution.channels) + len(self.discriminator.hidden)
        return (self.discriminator.dropout_input, *[self.discriminator.dropout_hidden] * hidden)

    def to_dict(self) -> dict[str, Any]:
        """Return the canonical nested mapping: plain values, without what does not act.

        Equal configurations have equal mappings: a rate given as the integer 1 is the float 1.0 here. What came with
        later versions is left out where it has its default, so that ids are those of configurations that knew none.

        Raises:
            ConfigError: when a value that was set in Python has the wrong type.
        """
        nested: dict[str, Any] = {}
        for name, hint in parameters():
            value = parsing.convert(hint, self.get(name), name)
            if self.acts(name) and not (name in ADDED and value == _DEFAULTS[name]):
                section, key = name.split(".")
                nested.setdefault(section, {})[key] = list(value) if isinstance(value, tuple) else value
        if self.schedule:
            nested["schedule"] = [
                {"after": c.after, "values": {name: float(value) for name, value in sorted(c.values)}}
                for c in self.schedule
            ]
        return nested

    def to_json(self) -> str:
        """Return the canonical mapping as one line of JSON."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, data: object, where: str = "config") -> TrialConfig:
        """Return the configuration that a nested mapping describes.

        Raises:
            ConfigError: for an unknown key, a wrong type or a value out of range.
        """
        return parsing.build(cls, data, where)

    def replace(self, values: Mapping[str, object]) -> TrialConfig:
        """Return a copy with dotted names (`algorithm.k`) set to new values.

        Raises:
            ConfigError: for an unknown name, a wrong type or a value out of range.
        """
        types = dict(parameters())
        changes: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            if name not in types:
                raise ConfigError(f"no parameter is called '{name}'", hint=nearest(name, types))
            section, key = name.split(".")
            changes.setdefault(section, {})[key] = parsing.convert(types[name], value, name)
        sections: dict[str, Any] = {
            name: dataclasses.replace(getattr(self, name), **new) for name, new in changes.items()
        }
        return dataclasses.replace(self, **sections)

    def at_epoch(self, epochs: int) -> TrialConfig:
        """Return the configuration that the epoch after so many is trained with, without a schedule."""
        if not self.schedule:
            return self
        values = {name: value for c in self.schedule if c.after <= epochs for name, value in c.values}
        return dataclasses.replace(self, schedule=()).replace(values)

    def history(self, name: str, epochs: int) -> tuple[tuple[int, float], ...]:
        """Return what a schedule made of a parameter in so many epochs: (epochs before it acted, value), at 0 first."""
        changes = [(c.after, value) for c in self.schedule if c.after <= epochs for n, value in c.values if n == name]
        return ((0, typing.cast("float", self.get(name))), *changes) if changes else ()

    def changed(self, after: int, values: Mapping[str, float]) -> TrialConfig:
        """Return a copy whose values change after so many epochs; those of a change at that epoch are kept beside.

        Raises:
            ConfigError: when there are later changes, or a value cannot change or is out of range.
        """
        earlier = tuple(c for c in self.schedule if c.after != after)
        merged = {name: value for c in self.schedule if c.after == after for name, value in c.values} | dict(values)
        change = Change(after=after, values=tuple(sorted(merged.items())))
        return dataclasses.replace(self, schedule=(*earlier, change))

    def get(self, name: str) -> object:
        """Return the value of a dotted parameter name."""
        section, key = name.split(".")
        return getattr(getattr(self, section), key)

    def acts(self, name: str) -> bool:
        """Return whether a parameter has any effect, given the others."""
        needed = need(name)
        return needed is None or needed.met(self.get(needed.parent))


@functools.cache
def parameters() -> tuple[tuple[str, Any], ...]:
    """Return every parameter's dotted name and its type, in the order of the sections."""
    return tuple(
        (f"{section}.{key}", hint)
        for section, cls in typing.get_type_hints(TrialConfig).items()
        if dataclasses.is_dataclass(cls)
        for key, hint in typing.get_type_hints(cls).items()
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Need:
    """What a parameter needs of another to have any effect.

    Attributes:
        parent: the other's dotted name.
        value: what the other must be, or contain where it is a list; None for anything but 0, none or empty.
        unset: that the other is not set at all, in place of a value.
    """

    parent: str
    value: str | None = None
    unset: bool = False

    def met(self, value: object) -> bool:
        """Return whether a value of the parent meets it."""
        if self.unset:
            return value is None
        if self.value is None:
            return value not in (0, "none", ())
        return self.value in value if isinstance(value, tuple) else value == self.value

    def describe(self) -> str:
        """Return it in words."""
        return f"{self.parent} is {'not set' if self.unset else 'set' if self.value is None else self.value}"


_NEEDS = {
    "momentum": Need("update.rule", "momentum"),
    "adam": Need("update.rule", "adam"),
    "generator.leaky_slope": Need("generator.activations", "leaky_relu"),
    "generator.output_init_range": Need("generator.output_inputs", unset=True),
    "discriminator.leaky_slope": Need("discriminator.activation", "leaky_relu"),
    "discriminator.pieces": Need("discriminator.activation", "maxout"),
    "deconvolution": Need("deconvolution.channels"),
    "convolution": Need("convolution.channels"),
    "pretraining": Need("pretraining.epochs"),
}


def need(name: str) -> Need | None:
    """Return what a dotted parameter, or all of a section, needs to have any effect; None where it always has one."""
    found = _NEEDS.get(name) or _NEEDS.get(name.partition(".")[0])
    return None if found is None or found.parent == name else found


ADDED = frozenset(
    {
        "noise.hidden",
        *(f"generator.{key}" for key in ("activations", "leaky_slope", "batch_norm", "hidden_bias")),
        *(f"generator.{key}" for key in ("output_init_range", "output_inputs")),
        *(f"discriminator.{key}" for key in ("activation", "leaky_slope", "inputs")),
        *(
            name
            for name, _ in parameters()
            if name.partition(".")[0] in ("deconvolution", "convolution", "condition", "pretraining")
        ),
    }
)
"""Parameters that came after the first ids were made: they are part of an id where they have another value."""
_DEFAULTS = {name: TrialConfig().get(name) for name, _ in parameters()}
