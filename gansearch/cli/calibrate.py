"""`calibrate`: what the data themselves score."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from gansearch.cli.output import emit, emit_json, say
from gansearch.cli.parser import Command, add_data, add_json, add_skip_damaged, data_options
from gansearch.errors import DataError, ResultsError, nearest
from gansearch.storage import location

if TYPE_CHECKING:
    from analysis.calibration import Calibration
    from gansearch.core.datasets import Dataset
    from gansearch.protocols import Protocol

_DEFAULT = ("full", "published-2014", "full-contrast")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is asked for.

    Attributes:
        dataset: name of the data set.
        protocols: the score protocols.
        run: the run that it is for; None where a data set was named.
        digests: digest of each split in the run; empty where a data set was named.
    """

    dataset: str
    protocols: tuple[Protocol, ...]
    run: str | None
    digests: Mapping[str, str | None]


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("places", nargs="+", metavar="DATASET|RUN", help="data sets, by name, or run directories")
    parser.add_argument(
        "--protocol",
        action="append",
        metavar="PROTOCOL",
        help="the name of a score protocol, or a YAML file of its fields; may be given again (default: those of the "
        "run, or full and published-2014)",
    )
    add_data(parser)
    add_json(parser)
    add_skip_damaged(parser)


def run_calibrate(arguments: argparse.Namespace) -> int:
    """Score real training images, k-means centroids and the mean image, where that was not done before."""
    from analysis.calibration import as_plain, calibrate, find_calibration, folder
    from analysis.calibration_scores import duration
    from gansearch.cli.rescore import read
    from gansearch.core.datasets import describe, load
    from gansearch.fits import check_protocol

    protocols = tuple(read(name) for name in arguments.protocol or ())
    asked = [_asked(place, protocols, skip_damaged=arguments.skip_damaged) for place in arguments.places]
    loaded: dict[str, Dataset] = {}
    found: dict[tuple[str, str], Calibration] = {}
    for one in asked:
        if one.dataset not in loaded:
            loaded[one.dataset] = load(one.dataset, **data_options(arguments))
        data = loaded[one.dataset]
        _check(one, data)
        for protocol in one.protocols:
            check_protocol(protocol, data)
            if (data.name, protocol.id) in found:
                continue
            if find_calibration(data.name, protocol.id, data.digests) is None:
                say(f"calibrating {data.name} under {protocol.id}: {duration(describe(data.name), protocol)}")
            made = calibrate(data, protocol)
            found[data.name, protocol.id] = made
            if not arguments.json:
                emit("\n".join([*([""] if len(found) > 1 else []), *_lines(made, protocol)]))
    if arguments.json:
        emit_json([as_plain(one) for one in found.values()])
    say(f"kept in {folder()}; `gansearch table1` shows it beside runs on the same data")
    return 0


def _asked(place: str, protocols: tuple[Protocol, ...], *, skip_damaged: bool) -> _Asked:
    """Return what is asked for by the name of a data set, which goes first, or by a run directory.

    Raises:
        ResultsError: when it is neither, or a run without rows.
    """
    from gansearch.core.datasets import DATASETS, describe
    from gansearch.paths import RunPaths
    from gansearch.protocols import protocol

    if place in DATASETS:
        fitting = tuple(one for one in map(protocol, _DEFAULT) if one.space == describe(place).space)
        return _Asked(dataset=place, protocols=protocols or fitting, run=None, digests={})
    if not RunPaths(location(place)).table("trials").is_dir():
        raise ResultsError(f"'{place}' is neither a data set nor a run directory", hint=nearest(place, DATASETS))
    from analysis.scored_data import scored_data

    of = scored_data(place, skip_damaged=skip_damaged)
    return _Asked(dataset=of.dataset, protocols=protocols or of.protocols, run=place, digests=of.digests)


def _check(asked: _Asked, data: Dataset) -> None:
    """Raise DataError where the data set here is not the run's: the run's scores would not compare."""
    for split, told in asked.digests.items():
        if told != data.digests[split]:
            raise DataError(
                f"the {split} split of '{data.name}' here has the digest {data.digests[split]}, in {asked.run} it is "
                f"{told}: scores on different data do not compare",
                hint="give the directory of the run's data set with --data-dir",
            )


def _lines(found: Calibration, protocol: Protocol) -> Iterable[str]:
    """Yield the table of one calibration."""
    from analysis.calibration import KMEANS
    from analysis.rounding import decimal_place, rounded, rounded_error

    def score(mean: float, se: float) -> str:
        place = decimal_place([se])
        return f"{rounded(mean, place)} ± {rounded_error(se, place)}"

    head = ["model", "samples", "valid", "test", "sigma"]
    rows = [
        [
            row.model,
            f"{row.num_samples:,}{'' if row.comparable else ' *'}",
            score(row.valid_ll_mean, row.valid_ll_se_examples),
            score(row.test_ll_mean, row.test_ll_se_examples),
            f"{row.sigma:.4f}{' (at the edge of the grid)' if row.sigma_at_edge else ''}",
        ]
        for row in found.rows
    ]
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]
    yield f"{found.dataset} under {protocol.describe()}"
    for line in (head, *rows):
        yield "  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip()
    yield "nats: mean log-likelihood ± standard error over images"
    if not all(row.comparable for row in found.rows):
        few = any(row.model == KMEANS and not row.comparable for row in found.rows)
        yield f"* not comparable with models' scores: too few training images for {protocol.num_samples:,} samples" + (
            ", and centroids half as many as images" if few else ""
        )


COMMANDS = (
    Command(
        name="calibrate",
        help="what real images, k-means centroids and the mean image score",
        description="Score real training images, k-means centroids and the mean image of a data set as a model's\n"
        "samples are scored: the marks between which a model's score is read. Computed once and kept in\n"
        "the user's cache; `table1` and the report show what is there. Of a run, its own protocols are taken.",
        examples=(
            "gansearch calibrate digits",
            "gansearch calibrate runs/quickstart",
            "gansearch calibrate digits --protocol full --json",
        ),
        add_arguments=_add_calibrate,
        run=run_calibrate,
    ),
)
