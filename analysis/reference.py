"""Published figures, as data.

The four rows of Table 1 of Goodfellow et al. 2014: mean Parzen-window log-likelihood of the test set, in nats.
On MNIST the published standard error is over test examples; on the Toronto Face Database (TFD), where sigma
was chosen for each fold, it is over folds.
"""

from __future__ import annotations

import dataclasses

CITATION = (
    "I. Goodfellow, J. Pouget-Abadie, M. Mirza, B. Xu, D. Warde-Farley, S. Ozair, A. Courville and Y. Bengio, "
    "Generative Adversarial Nets, NIPS 2014, Table 1"
)

CAVEAT = (
    "Parzen-window log-likelihoods are a poor proxy for the quality of a generative model (Theis et al. 2015, "
    "Wu et al. 2016): k-means centroids score above true samples, and the number of samples dominates the value. "
    "Compare values only within one protocol and one data set."
)

PROTOCOL = "as published (the protocol is that of the papers; the released code's defaults are published-2014)"
RELEASED_CODE = "published-2014"
"""The protocol whose score the published rows stand beside: their defaults are those of the released code."""

_EXAMPLES = "sigma chosen on validation images; mean over test images, standard error over them"
_FOLDS = "sigma chosen on validation images, for each fold; mean over folds, standard error over them"

_COLUMNS = {
    "mnist": "MNIST",
    "digits": "Digits 8x8",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar10_contrast": "CIFAR-10, normalised contrast",
    "lfwcrop48": "LFWcrop faces 48x48",
    "tfd48": "TFD",
}
"""Of data sets. Faces of LFWcrop are not those of the Toronto Face Database, and never stand in its column."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PublishedScore:
    """One cell of a published table.

    Attributes:
        model: the row's name.
        dataset: the column's name.
        mean: mean log-likelihood of the test set, in nats, as printed.
        se: its standard error, in nats, as printed.
        se_kind: what the standard error is over: `examples` or `folds`.
        protocol: how it was scored, as far as the paper says.
        citation: where it was printed.
    """

    model: str
    dataset: str
    mean: float
    se: float
    se_kind: str
    protocol: str
    citation: str = CITATION


def _row(model: str, mnist: tuple[float, float], tfd: tuple[float, float]) -> tuple[PublishedScore, PublishedScore]:
    return (
        PublishedScore(
            model=model, dataset="MNIST", mean=mnist[0], se=mnist[1], se_kind="examples", protocol=_EXAMPLES
        ),
        PublishedScore(model=model, dataset="TFD", mean=tfd[0], se=tfd[1], se_kind="folds", protocol=_FOLDS),
    )


TABLE1: tuple[PublishedScore, ...] = (
    *_row("DBN", (138, 2), (1909, 66)),
    *_row("Stacked CAE", (121, 1.6), (2110, 50)),
    *_row("Deep GSN", (214, 1.1), (1890, 29)),
    *_row("Adversarial nets", (225, 2), (2057, 26)),
)


def column_name(dataset: str) -> str:
    """Return the heading of a data set's column: never one of published scores on other data."""
    known = _COLUMNS.get(dataset, dataset)
    foreign = dataset not in _COLUMNS and known.casefold() in {s.dataset.casefold() for s in TABLE1}
    return f"data set {dataset}" if foreign else known
