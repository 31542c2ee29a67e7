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
from gansearch.schedule import Change, check_schedule
from gansearch.seeds import digest


def _choose(where: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ConfigError(f"{where} is '{value}', which is not known", hint=nearest(value, legal))


def _require(ok: bool, where: str, rule: str, value: object) -> None:
    if not ok:
        raise ConfigError(f"{where} must be {rule}, got {value}")


def _count(where: str, value: int) -> None:
    _require(value >= 1, where, "1 or more", value)
    _require(value < 2**63, where, "below 2**63, which a table's column can hold", value)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DatasetConfig:
    """Which data set is modelled.

    Attributes:
        name: a name in `core.datasets.DATASETS`.
    """

    name: str = "digits"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NoiseConfig:
    """The generator's input z.

    Attributes:
        dim: components of z, 1 or more.
        distribution: `uniform`, on (-sqrt 3, sqrt 3), `gaussian`, or `spherical`, on the sphere of radius sqrt(dim);
            each component has unit variance.
    """

    dim: int = 100
    distribution: str = "uniform"

    def __post_init__(self) -> None:
        _count("noise.dim", self.dim)
        _choose("noise.distribution", self.distribution, ("uniform", "gaussian", "spherical"))
        if self.distribution == "spherical":
            _require(self.dim >= 2, "noise.dim", "2 or more on a sphere", self.dim)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorConfig:
    """The generator G: an MLP of rectifiers.

    Attributes:
        hidden: units of each hidden layer; its length is the depth.
        output: `sigmoid`, `linear` or `tanh` (tanh is mapped from [-1,1] to the data's [0,1]).
        init_range: weights start uniform on (-init_range, init_range), above 0.
        output_bias: `marginals` (the output starts at the mean training image) or `zero`.
        max_col_norm: bound on the norm of each unit's incoming weights, above 0; none by default.
    """

    hidden: tuple[int, ...] = (1200, 1200)
    output: str = "sigmoid"
    init_range: float = 0.05
    output_bias: str = "marginals"
    max_col_norm: float | None = None

    def __post_init__(self) -> None:
        _check_network("generator", self.hidden, self.init_range, self.max_col_norm)
        _choose("generator.output", self.output, ("sigmoid", "linear", "tanh"))
        _choose("generator.output_bias", self.output_bias, ("marginals", "zero"))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorConfig:
    """The discriminator D: an MLP of maxout units with dropout and one logit.

    Attributes:
        hidden: maxout units of each hidden layer; its length is the depth.
        pieces: linear pieces a maxout unit takes the maximum of, 1 or more (1 is a linear unit).
        dropout_input: probability of dropping an input pixel, in [0,1).
        dropout_hidden: probability of dropping a hidden unit's output, in [0,1).
        init_range: weights start uniform on (-init_range, init_range), above 0.
        max_col_norm: bound on the norm of each piece's incoming weights, above 0; none by default.
    """

    hidden: tuple[int, ...] = (240, 240)
    pieces: int = 5
    dropout_input: float = 0.2
    dropout_hidden: float = 0.5
    init_range: float = 0.005
    max_col_norm: float | None = None

    def __post_init__(self) -> None:
        _check_network("discriminator", self.hidden, self.init_range, self.max_col_norm)
        _count("discriminator.pieces", self.pieces)
        for name in ("dropout_input", "dropout_hidden"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"discriminator.{name}", "a probability of dropping in [0, 1)", value)

    @property
    def dropout_rates(self) -> tuple[float, ...]:
        """Probability of dropping a unit of each activation: the input, then each hidden layer."""
        return (self.dropout_input, *(self.dropout_hidden for _ in self.hidden))


def _check_network(name: str, hidden: tuple[int, ...], init_range: float, max_col_norm: float | None) -> None:
    _require(all(units >= 1 for units in hidden), f"{name}.hidden", "a list of 1 or more units a layer", list(hidden))
    _require(0 < init_range < math.inf, f"{name}.init_range", "above 0", init_range)
    if max_col_norm is not None:
        _require(0 < max_col_norm < math.inf, f"{name}.max_col_norm", "above 0", max_col_norm)


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
            _count(f"algorithm.{name}", getattr(self, name))
        _choose("algorithm.order", self.order, ("simultaneous", "alternating"))
        _choose("algorithm.objective", self.objective, ("non-saturating", "saturating"))
        _require(0 < self.loss_scale < math.inf, "algorithm.loss_scale", "above 0", self.loss_scale)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UpdateConfig:
    """Which update rule moves the parameters.

    Attributes:
        rule: `momentum` (the section `momentum` holds) or `adam` (the section `adam` holds).
    """

    rule: str = "momentum"

    def __post_init__(self) -> None:
        _choose("update.rule", self.rule, ("momentum", "adam"))


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
            _require(0 < getattr(self, name) < math.inf, f"momentum.{name}", "above 0", getattr(self, name))
        _require(1 <= self.lr_decay < math.inf, "momentum.lr_decay", "1 or more", self.lr_decay)
        _require(0 <= self.lr_floor < math.inf, "momentum.lr_floor", "0 or more", self.lr_floor)
        for name in ("initial", "final"):
            _require(0 <= getattr(self, name) < 1, f"momentum.{name}", "in [0, 1)", getattr(self, name))
        _require(
            0 <= self.ramp_start < self.ramp_end < math.inf,
            "momentum.ramp_end",
            "above momentum.ramp_start, which must be 0 or more",
            f"start {self.ramp_start}, end {self.ramp_end}",
        )
        _choose("momentum.ramp_unit", self.ramp_unit, ("auto", "epochs", "fraction"))


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
            _require(0 < getattr(self, name) < math.inf, f"adam.{name}", "above 0", getattr(self, name))
        for name in ("beta1", "beta2"):
            _require(0 <= getattr(self, name) < 1, f"adam.{name}", "in [0, 1)", getattr(self, name))


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
        _count("score.report_every", self.report_every)
        _choose("score.at", self.at, ("best", "last"))


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

    def to_dict(self) -> dict[str, Any]:
        """Return the canonical nested mapping: plain values, without the sections that do not act.

        Equal configurations have equal mappings: a rate given as the integer 1 is the float 1.0 here.

        Raises:
            ConfigError: when a value that was set in Python has the wrong type.
        """
        inactive = {"momentum": "adam", "adam": "momentum"}[self.update.rule]
        nested: dict[str, Any] = {}
        for name, hint in parameters():
            section, key = name.split(".")
            if section != inactive:
                value = parsing.convert(hint, self.get(name), name)
                nested.setdefault(section, {})[key] = list(value) if isinstance(value, tuple) else value
        if self.schedule:  # without one, the ids are those of configurations that knew no schedule
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


@functools.cache
def parameters() -> tuple[tuple[str, Any], ...]:
    """Return every parameter's dotted name and its type, in the order of the sections."""
    return tuple(
        (f"{section}.{key}", hint)
        for section, cls in typing.get_type_hints(TrialConfig).items()
        if dataclasses.is_dataclass(cls)
        for key, hint in typing.get_type_hints(cls).items()
    )
