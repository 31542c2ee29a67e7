"""The sections of a configuration that say what the model is: data, noise, both networks, and what they are given.

The defaults are the published MNIST recipe. Sections and keys that came later are left out of a configuration's id
where they have their default (`config.ADDED`).
"""

from __future__ import annotations

import dataclasses
import math

from gansearch.errors import ConfigError, nearest

ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh")
"""Nonlinearities of the generator's hidden layers."""


def choose(where: str, value: str, legal: tuple[str, ...]) -> None:
    """Raise ConfigError unless a value is one of the legal ones."""
    if value not in legal:
        raise ConfigError(f"{where} is '{value}', which is not known", hint=nearest(value, legal))


def require(ok: bool, where: str, rule: str, value: object) -> None:
    """Raise ConfigError, which states the rule and the value, unless it is kept."""
    if not ok:
        raise ConfigError(f"{where} must be {rule}, got {value}")


def count(where: str, value: int) -> None:
    """Raise ConfigError unless a value is a count, from 1 on."""
    require(value >= 1, where, "1 or more", value)
    require(value < 2**63, where, "below 2**63, which a table's column can hold", value)


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
        hidden: standard deviation of noise of that distribution which is added to the output of each of G's hidden
            layers, 0 or more; the paper has noise at the input only.
    """

    dim: int = 100
    distribution: str = "uniform"
    hidden: float = 0.0

    def __post_init__(self) -> None:
        count("noise.dim", self.dim)
        choose("noise.distribution", self.distribution, ("uniform", "gaussian", "spherical"))
        if self.distribution == "spherical":
            require(self.dim >= 2, "noise.dim", "2 or more on a sphere", self.dim)
        require(0 <= self.hidden < math.inf, "noise.hidden", "0 or more", self.hidden)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorConfig:
    """The generator G: an MLP, of rectifiers where nothing else is said.

    Attributes:
        hidden: units of each hidden layer; its length is the depth.
        output: `sigmoid`, `linear` or `tanh` (tanh is mapped from [-1,1] to the data's [0,1]).
        init_range: weights start uniform on (-init_range, init_range), above 0.
        output_bias: `marginals` (the output starts at the mean training image) or `zero`.
        max_col_norm: bound on the norm of each unit's incoming weights, above 0; none by default.
        activations: nonlinearity of each hidden layer, or one for all: `relu`, `leaky_relu`, `sigmoid`, `tanh`.
        leaky_slope: slope of `leaky_relu` below 0, in (0,1).
        batch_norm: whether hidden layers are normalised over the minibatch (Ioffe and Szegedy 2015); samples are
            normalised by the moments of a fixed draw of 1,000.
        hidden_bias: where the biases of each hidden layer start, or one for all.
        output_init_range: the output layer's own initial range, above 0; `init_range` by default.
        output_inputs: non-zero weights into each output unit, which start standard normal (Martens 2010,
            "Deep learning via Hessian-free optimization", section 5); uniform weights from all units by default.
    """

    hidden: tuple[int, ...] = (1200, 1200)
    output: str = "sigmoid"
    init_range: float = 0.05
    output_bias: str = "marginals"
    max_col_norm: float | None = None
    activations: tuple[str, ...] = ("relu",)
    leaky_slope: float = 0.2
    batch_norm: bool = False
    hidden_bias: tuple[float, ...] = (0.0,)
    output_init_range: float | None = None
    output_inputs: int | None = None

    def __post_init__(self) -> None:
        _check_network("generator", self.hidden, self.init_range, self.max_col_norm)
        known = set(self.activations) <= set(ACTIVATIONS)
        require(known, "generator.activations", f"a list of {', '.join(ACTIVATIONS)}", list(self.activations))
        for name in ("activations", "hidden_bias"):
            one_each = len(getattr(self, name)) in (1, len(self.hidden))
            rule = f"one value, or one for each of the {len(self.hidden)} hidden layers"
            require(one_each, f"generator.{name}", rule, list(getattr(self, name)))
        require(all(map(math.isfinite, self.hidden_bias)), "generator.hidden_bias", "finite", list(self.hidden_bias))
        _check_slope("generator", self.leaky_slope)
        if self.output_init_range is not None:
            require(
                0 < self.output_init_range < math.inf, "generator.output_init_range", "above 0", self.output_init_range
            )
        if self.output_inputs is not None:
            fan_in = self.hidden[-1] if self.hidden else math.inf
            rule = "from 1 to the units of the last hidden layer"
            require(1 <= self.output_inputs <= fan_in, "generator.output_inputs", rule, self.output_inputs)
        choose("generator.output", self.output, ("sigmoid", "linear", "tanh"))
        choose("generator.output_bias", self.output_bias, ("marginals", "zero"))

    @property
    def layer_activations(self) -> tuple[str, ...]:
        """Nonlinearity of each hidden layer."""
        return self.activations if len(self.activations) == len(self.hidden) else self.activations * len(self.hidden)

    @property
    def layer_biases(self) -> tuple[float, ...]:
        """Where the biases of each hidden layer start."""
        return self.hidden_bias if len(self.hidden_bias) == len(self.hidden) else self.hidden_bias * len(self.hidden)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeconvolutionConfig:
    """G's output layer as a transposed convolution with a bias for each pixel, as the CIFAR-10 recipe has it.

    The last hidden layer is read as `channels` square images; of width s they give one of (s - 1) * stride + kernel.

    Attributes:
        channels: images that the last hidden layer is read as; 0 for a dense output layer.
        kernel: height and width of the patch that each place becomes, 1 or more.
        stride: pixels from patch to patch, from 1 to `kernel`.
    """

    channels: int = 0
    kernel: int = 5
    stride: int = 3

    def __post_init__(self) -> None:
        require(0 <= self.channels < 2**63, "deconvolution.channels", "0 or more", self.channels)
        count("deconvolution.kernel", self.kernel)
        given = f"stride {self.stride}, kernel {self.kernel}"
        require(1 <= self.stride <= self.kernel, "deconvolution.stride", "from 1 to deconvolution.kernel", given)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorConfig:
    """The discriminator D: an MLP, of maxout units where nothing else is said, with dropout and one logit.

    Attributes:
        hidden: maxout units of each hidden layer; its length is the depth.
        pieces: linear pieces a maxout unit takes the maximum of, 1 or more (1 is a linear unit).
        dropout_input: probability of dropping an input pixel, in [0,1).
        dropout_hidden: probability of dropping a hidden unit's output, in [0,1).
        init_range: weights start uniform on (-init_range, init_range), above 0.
        max_col_norm: bound on the norm of each piece's incoming weights, above 0; none by default.
        activation: `maxout`, `leaky_relu` or `relu`.
        leaky_slope: slope of `leaky_relu` below 0, in (0,1).
        inputs: how D sees a pixel: `unit`, as it is, or `symmetric`, on [-1,1] instead of [0,1].
    """

    hidden: tuple[int, ...] = (240, 240)
    pieces: int = 5
    dropout_input: float = 0.2
    dropout_hidden: float = 0.5
    init_range: float = 0.005
    max_col_norm: float | None = None
    activation: str = "maxout"
    leaky_slope: float = 0.2
    inputs: str = "unit"

    def __post_init__(self) -> None:
        _check_network("discriminator", self.hidden, self.init_range, self.max_col_norm)
        choose("discriminator.activation", self.activation, ("maxout", "leaky_relu", "relu"))
        choose("discriminator.inputs", self.inputs, ("unit", "symmetric"))
        _check_slope("discriminator", self.leaky_slope)
        count("discriminator.pieces", self.pieces)
        for name in ("dropout_input", "dropout_hidden"):
            value = getattr(self, name)
            require(0 <= value < 1, f"discriminator.{name}", "a probability of dropping in [0, 1)", value)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionConfig:
    """D's first layers as convolutions of maxout units, each pooled by maxima, below its hidden layers.

    Every list has an entry a layer. Dropout acts on a layer's input as it does elsewhere in D.

    Attributes:
        channels: maxout units at each place; none for no convolution.
        kernels: height and width of a patch, 1 or more.
        pads: zeros on each side of a layer's input, 0 or more.
        pieces: linear pieces a maxout unit takes the maximum of, 1 or more.
        pools: height and width of a pooling window, 1 or more.
        pool_strides: from window to window, from 1 to the window's width.
    """

    channels: tuple[int, ...] = ()
    kernels: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    pieces: int = 2
    pools: tuple[int, ...] = ()
    pool_strides: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("kernels", "pads", "pools", "pool_strides"):
            values = getattr(self, name)
            rule = f"a list with an entry for each layer of convolution.channels, which is {list(self.channels)}"
            require(len(values) == len(self.channels), f"convolution.{name}", rule, list(values))
            require(min(values, default=1) >= (name != "pads"), f"convolution.{name}", "positive", list(values))
        require(min(self.channels, default=1) >= 1, "convolution.channels", "positive", list(self.channels))
        count("convolution.pieces", self.pieces)
        for pool, stride in zip(self.pools, self.pool_strides, strict=True):
            require(stride <= pool, "convolution.pool_strides", "at most the windows' widths", list(self.pool_strides))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConditionConfig:
    """What both networks are given beside noise and images: the model p(x|c) of the paper's section 7.

    Attributes:
        on: `none`, or `labels`: an image's class, as one component a class beside z and beside what D's first dense
            layer sees (Mirza and Osindero 2014, "Conditional generative adversarial nets").
    """

    on: str = "none"

    def __post_init__(self) -> None:
        choose("condition.on", self.on, ("none", "labels"))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingConfig:
    """Training in two stages: after the first, the top layers of both networks start anew on the others.

    Attributes:
        epochs: of the first stage, within the budget; 0 for one stage.
        generator_layers: layers of G, from the noise on, that are kept, 1 or more.
        discriminator_layers: layers of D, from the image on, that are kept, 1 or more.
    """

    epochs: int = 0
    generator_layers: int = 1
    discriminator_layers: int = 1

    def __post_init__(self) -> None:
        require(0 <= self.epochs < 2**63, "pretraining.epochs", "0 or more", self.epochs)
        count("pretraining.generator_layers", self.generator_layers)
        count("pretraining.discriminator_layers", self.discriminator_layers)


def _check_slope(network: str, slope: float) -> None:
    require(0 < slope < 1, f"{network}.leaky_slope", "in (0, 1)", slope)


def _check_network(name: str, hidden: tuple[int, ...], init_range: float, max_col_norm: float | None) -> None:
    require(all(units >= 1 for units in hidden), f"{name}.hidden", "a list of 1 or more units a layer", list(hidden))
    require(0 < init_range < math.inf, f"{name}.init_range", "above 0", init_range)
    if max_col_norm is not None:
        require(0 < max_col_norm < math.inf, f"{name}.max_col_norm", "above 0", max_col_norm)
