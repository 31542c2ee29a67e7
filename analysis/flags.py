"""Reasons to doubt a score: what a row of `trials` says of itself that its log-likelihood does not show.

A flag is raised where chance alone does not explain a value. What chance explains follows from samples that are as
good as they can be, which is real images that the model never saw: their measures stayed inside every limit below in
2,000 random splits of scikit-learn's digits and 208 of MNIST, their scores in 398 of 400. A flag is no verdict: it
names what to look at before a number is believed. Theis et al. 2015 ("A note on the evaluation of generative models")
say why a Parzen estimate alone is not to be believed.

    for row in records(trials, schema.TRIALS):
        print(row["config_id"], *row_flags(row, find_ceiling(row)), sep=": ")
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from analysis.calibration import REAL, Calibration, find_calibration
from analysis.records import Row
from gansearch import schema

NOISE = 3.0
"""Standard errors that chance is allowed: a normal value is beyond them on one side once in 740 times."""
COMPARED = 1_000
"""Samples and validation images that diagnostics compare at most (`gansearch.core.diagnostics.SUBSET`)."""
SPLIT_MARGIN = 0.05
"""Share by which the variance and the distances of one split may differ from another's without any model at fault.

The splits of MNIST differ by up to .016, those of scikit-learn's digits, with 300 images, by up to .031.
"""
VARIANCE_SD = 0.3
"""Standard deviation of one image's squared distance from the mean image, as a share of its mean.

.22 for digits, .28 for MNIST. The variance of n samples is then known to .3 / sqrt(n) of itself; so is the median of
its pixels' (.26 / sqrt(n) for digits, .19 / sqrt(n) for MNIST).
"""
NEAREST_SD = 0.3
"""Standard deviation of a real image's distance to its nearest training image, as a share of its mean.

.23 for digits, .29 for MNIST.
"""
DRAWS_SD = 0.8
"""How much the mean log-likelihood moves from one draw of N real images to the next, in units of sd / sqrt(N).

sd is the standard deviation over the scored images. .57 and .78 were seen for 200 and 400 digits, .70 for 1,000
images of MNIST, and .52 for 10,000 (draws from 242.8 to 245.9 nats, sd 192).
"""

ABOVE_CEILING = "above-ceiling"
SIGMA_AT_EDGE = "sigma-at-edge"
COLLAPSED = "collapsed"
LESS_DIVERSE = "less-diverse"
MORE_DIVERSE = "more-diverse"
NEAR_TRAINING = "near-training"
SHRUNKEN = "shrunken"
GAP = "valid-test-gap"

MEANINGS: Mapping[str, str] = {
    ABOVE_CEILING: "Samples drawn from the data score no higher than real images: smoothed and shrunken ones do.",
    SIGMA_AT_EDGE: "The bandwidth with the highest validation score may lie outside the grid: the score is too low.",
    COLLAPSED: "The samples are a handful of images; how likely these are says little of the model.",
    LESS_DIVERSE: "Some kinds of images are missing, or come too rarely.",
    MORE_DIVERSE: "The samples differ among themselves more than real images do: noise, hard edges, or odd images.",
    NEAR_TRAINING: "Copies of training images score like real images, without a model behind them.",
    SHRUNKEN: "Samples nearer to their mean, or blurred, score higher than real images.",
    GAP: "Chance does not explain the difference between the splits, nor what is known of the images' own difficulty.",
}
"""What each flag means, by its name, in the order in which they are given."""


@dataclasses.dataclass(frozen=True, slots=True)
class Flag:
    """One reason to doubt a score.

    Attributes:
        name: a key of `MEANINGS`.
        text: what was seen, in one sentence with the numbers.
    """

    name: str
    text: str


def row_flags(row: Row, calibration: Calibration | None) -> tuple[Flag, ...]:
    """Return the reasons to doubt the score of one trial under one protocol.

    Args:
        row: a row of `trials` as plain values. A column that is missing or null raises no flag, nor does a row that
            is not COMPLETE.
        calibration: what real images score, from `find_ceiling`. It is not used where it is of another protocol or
            other data, or where it comes from fewer images than the row has samples.

    Returns:
        The flags in the order of `MEANINGS`, each name at most once.
    """
    if row.get("status") != schema.COMPLETE:
        return ()
    texts = {
        ABOVE_CEILING: _above_ceiling(row, calibration),
        SIGMA_AT_EDGE: _sigma_at_edge(row),
        COLLAPSED: _collapsed(row),
        LESS_DIVERSE: _less_diverse(row),
        MORE_DIVERSE: _more_diverse(row),
        NEAR_TRAINING: _near_training(row),
        SHRUNKEN: _shrunken(row),
        GAP: _gap(row, calibration),
    }
    return tuple(Flag(name, text) for name, text in texts.items() if text is not None)


def configuration_flags(rows: Iterable[Row], calibration: Calibration | None) -> tuple[Flag, ...]:
    """Return the reasons to doubt the scores of one configuration's seeds, each with how many seeds have it.

    Args:
        rows: its rows under one protocol; those that are not COMPLETE are not counted.
        calibration: as in `row_flags`.

    Returns:
        The flags in the order of `MEANINGS`; the text of each gives the numbers of the first seed that has it.
    """
    complete = [row for row in rows if row.get("status") == schema.COMPLETE]
    found: dict[str, list[tuple[Row, Flag]]] = collections.defaultdict(list)
    for row in complete:
        for flag in row_flags(row, calibration):
            found[flag.name].append((row, flag))
    return tuple(_of_seeds(found[name], len(complete)) for name in MEANINGS if name in found)


def _of_seeds(found: Sequence[tuple[Row, Flag]], total: int) -> Flag:
    row, first = found[0]
    if total == 1:
        return first
    example = f" (seed {row.get('seed')} for one)" if len(found) > 1 else f" (seed {row.get('seed')})"
    return Flag(first.name, f"{len(found)} of {total} seeds{example}: {first.text}")


def find_ceiling(row: Row) -> Calibration | None:
    """Return what real images score under a row's protocol on its data; None where that is not in the cache."""
    digests = {split: row.get(f"data_{split}_digest") for split in ("train", "valid", "test")}
    dataset, protocol_id = row.get("cfg_dataset_name"), row.get("protocol_id")
    if dataset is None or protocol_id is None or None in digests.values():
        return None
    return find_calibration(str(dataset), str(protocol_id), {split: str(d) for split, d in digests.items()})


def ceiling_note(row: Row, calibration: Calibration | None, run: object = None) -> str | None:
    """Return what a reader must know where a row's score cannot be held against that of real images, else None.

    Args:
        row: a row of `trials`.
        calibration: what `find_ceiling` returned for it.
        run: the run that it is of, to be named in the command; the data set by default.
    """
    real = calibration.row(REAL) if calibration is not None and _is_of(calibration, row) else None
    if real is None:
        return (
            f"what real images score under {row.get('protocol_id')} is not known here: "
            f"`gansearch calibrate {run or row.get('cfg_dataset_name') or 'NAME'}` computes it"
        )
    if not real.comparable:
        return (
            f"the data have {real.num_samples:,} training images, fewer than the protocol has samples: there is no "
            "ceiling of real images to hold the scores against"
        )
    return None


def _is_of(calibration: Calibration, row: Row) -> bool:
    """Return whether a calibration is of a row's protocol and data."""
    same_data = all(row.get(f"data_{split}_digest") == digest for split, digest in calibration.digests.items())
    return same_data and calibration.protocol_id == row.get("protocol_id")


def _ceiling(row: Row, calibration: Calibration | None) -> Mapping[str, float] | None:
    """Return the score of as many real images as the row has samples, on each split; None where it is not known."""
    if calibration is None or not _is_of(calibration, row):
        return None
    real = calibration.row(REAL)
    if real is None or not real.comparable:
        return None
    scores = {"valid": real.valid_ll_mean, "test": real.test_ll_mean}
    return scores if all(map(math.isfinite, scores.values())) else None


def _above_ceiling(row: Row, calibration: Calibration | None) -> str | None:
    # Another draw of as many real images is the best of models: the difference of two such draws is what chance does.
    ceiling, num_samples = _ceiling(row, calibration), _number(row, "num_samples")
    if ceiling is None or not num_samples:
        return None
    above = []
    for split, name in (("valid", "validation"), ("test", "test")):
        values = _numbers(row, f"{split}_ll_mean", f"{split}_ll_se_examples", f"{split}_n")
        if values is None:
            continue
        mean, error, n = values
        allowed = NOISE * math.sqrt(2) * DRAWS_SD * error * math.sqrt(n / num_samples)
        if mean > ceiling[split] + allowed:
            above.append(f"{mean:.1f} nats on {name}, where as many real images score {ceiling[split]:.1f}")
    return f"it scores {' and '.join(above)}" if above else None


def _sigma_at_edge(row: Row) -> str | None:
    if row.get("sigma_at_edge") is not True:
        return None
    sigma = _number(row, "sigma")
    value = "" if sigma is None else f", {sigma:.3g},"
    return f"sigma{value} is an end point of the protocol's grid: the best one may lie outside"


def _collapsed(row: Row) -> str | None:
    if row.get("collapsed") is not True:
        return None
    values = _numbers(row, "coverage", "coverage_real")
    numbers = "" if values is None else f": {values[0]:.3f} against {values[1]:.3f}"
    return f"the samples cover under a tenth of the validation images that as many real images cover{numbers}"


def _coverage(row: Row) -> tuple[float, float, float] | None:
    """Return a row's coverage, that of as many real images, and what chance may put between them."""
    values = _numbers(row, "coverage", "coverage_real", "valid_n")
    if values is None:
        return None
    own, real, n = values
    # n images are the bins that samples fall into. Whether one is hit is a Bernoulli draw, and hits of two are
    # negatively correlated, so the variance of the share hit is at most c (1 - c) / n: seven tenths of the standard
    # error that this gives were seen. The real images that cover are a draw as well, hence the 2.
    middle = (own + real) / 2
    return own, real, NOISE * math.sqrt(2 * max(0.0, middle * (1 - middle)) / max(1.0, min(n, COMPARED)))


def _less_diverse(row: Row) -> str | None:
    values = _coverage(row)
    if values is None or row.get("collapsed") is True:
        return None
    own, real, allowed = values
    if own >= real - allowed:
        return None
    return f"the samples cover {own:.2f} of the validation images, as many real images cover {real:.2f}"


def _more_diverse(row: Row) -> str | None:
    seen = []
    values = _coverage(row)
    if values is not None and values[0] > values[1] + values[2]:
        own, real, _ = values
        seen.append(f"the samples cover {own:.2f} of the validation images, as many real images cover {real:.2f}")
    varies = _numbers(row, "spread", "num_samples")
    if varies is not None and varies[0] > 1 + _variance_margin(varies[1]):
        seen.append(f"the samples' total variance is {varies[0]:.2f} of the data's")
    return "; ".join(seen) or None


def _near_training(row: Row) -> str | None:
    values = _numbers(row, "nn_train_samples", "nn_train_heldout", "spread", "num_samples", "valid_n")
    # A handful of images may lie anywhere.
    if values is None or row.get("collapsed") is True:
        return None
    samples, heldout, spread, num_samples, n = values
    noise = NOISE * NEAREST_SD * math.sqrt(1 / max(1.0, min(num_samples, COMPARED)) + 1 / max(1.0, min(n, COMPARED)))
    # Shrunken and blurred samples lie nearer too, without a copy among them. Distances shrink by sqrt(spread) at
    # most where everything shrinks alike; what those of real MNIST shrank by was less.
    if samples >= heldout * math.sqrt(min(1.0, max(0.0, spread))) * (1 - SPLIT_MARGIN - noise):
        return None
    return (
        f"samples lie {samples:.2f} from the nearest training image on average, "
        f"validation images {heldout:.2f}: it may have memorised"
    )


def _shrunken(row: Row) -> str | None:
    values = _numbers(row, "pixel_variance_ratio", "num_samples")
    # The variance of a handful of images is chance.
    if values is None or row.get("collapsed") is True or values[0] >= 1 - _variance_margin(values[1]):
        return None
    return f"the samples' pixels vary {values[0]:.2f} times as much as the data's: shrunken or blurred"


def _variance_margin(num_samples: float) -> float:
    """Return by what share the variance of samples may differ from that of training images."""
    return SPLIT_MARGIN + NOISE * VARIANCE_SD / math.sqrt(max(1.0, num_samples))


def _gap(row: Row, calibration: Calibration | None) -> str | None:
    values = _numbers(row, "valid_ll_mean", "test_ll_mean", "valid_ll_se_examples", "test_ll_se_examples")
    if values is None:
        return None
    valid, test, *errors = values
    ceiling = _ceiling(row, calibration)
    own = 0.0 if ceiling is None else ceiling["valid"] - ceiling["test"]
    # The splits are different images. Less the gap of real images on the same ones, the variance is that times
    # 2 (1 - correlation), which is no more: .57 to .9 are the correlations of two draws' values over the images.
    if abs(valid - test - own) <= NOISE * math.hypot(*errors):
        return None
    real = "; how far the images themselves differ is not known" if ceiling is None else f", real images {_more(own)}"
    return f"it scores {_more(valid - test)} on validation ({valid:.1f}) than on test ({test:.1f}){real}"


def _more(nats: float) -> str:
    return f"{abs(nats):.1f} nats {'more' if nats >= 0 else 'less'}"


def _number(row: Row, name: str) -> float | None:
    """Return a finite value of a column; None where there is none."""
    value = row.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _numbers(row: Row, *names: str) -> list[float] | None:
    """Return the values of columns; None unless all are there and finite."""
    found = [_number(row, name) for name in names]
    values = [value for value in found if value is not None]
    return values if len(values) == len(names) else None
