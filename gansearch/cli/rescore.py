"""`rescore`: finalists under another score protocol."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansearch.cli.output import emit, emit_json, say
from gansearch.cli.parser import Command, add_data, add_json, add_skip_damaged, data_options
from gansearch.storage import Location, location

if TYPE_CHECKING:
    from gansearch.protocols import Protocol
    from gansearch.rescore import Rescored

_SCORES = (
    *("valid_ll_mean", "valid_ll_se_examples", "valid_n", "sigma", "sigma_at_edge"),
    *("test_ll_mean", "test_ll_se_examples", "test_n"),
)


def _add_rescore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_directory", type=location, metavar="RUN", help="a run directory")
    parser.add_argument(
        "--protocol",
        required=True,
        metavar="PROTOCOL",
        help="the name of a score protocol, or a YAML file of a protocol's fields",
    )
    add_data(parser)
    add_json(parser)
    add_skip_damaged(parser)


def run_rescore(arguments: argparse.Namespace) -> int:
    """Score the kept weights of confirm trials under a protocol."""
    from gansearch import results
    from gansearch.rescore import MADE, rescore
    from gansearch.search.lease import held

    protocol = read(arguments.protocol)
    say(f"scoring under {protocol.describe()}")
    tell = _Teller(silent=arguments.json)
    run: Location = arguments.run_directory
    results.part_files(run, "trials")  # that there is a run: a claim makes folders
    # A trial's per-example values are one file for all protocols: two that write it at once would lose some.
    with held(run):
        found = rescore(run, protocol, skip_damaged=arguments.skip_damaged, on_scored=tell, **data_options(arguments))
    made = sum(one.evaluation == MADE for one in found)
    lost = [one for one in found if one.problem is not None]
    if arguments.json:
        trials = [as_plain(one) for one in found]
        emit_json({"run": str(run), "protocol_id": protocol.id, "trials": trials, "test_evaluations_made": made})
    else:
        emit(f"test evaluations: {made} made, {len(found) - made - len(lost)} reused")
    if lost:
        say(f"{len(lost)} of {len(found)} confirm trials could not be scored")
    return 1 if lost else 0


def read(name_or_file: str) -> Protocol:
    """Return the protocol of a shipped name, or of a file of its fields; an existing file wins.

    Raises:
        ConfigError: when it is neither, or breaks a rule of `Protocol`.
    """
    from gansearch.config_files import read_protocol
    from gansearch.yaml_files import load_yaml

    path = Path(name_or_file)
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        return read_protocol(load_yaml(path), name_or_file)
    return read_protocol(name_or_file, "--protocol")


class _Teller:
    """Tells what became of each trial, a line each, as soon as it is known.

    Args:
        silent: whether scores are told elsewhere; problems and notes are told all the same.
    """

    def __init__(self, *, silent: bool) -> None:
        self._silent, self._begun = silent, False

    def __call__(self, one: Rescored) -> None:
        """Hear of a trial."""
        if one.problem is not None:
            say(f"not scored: {one.key.config_id}, confirm seed {one.key.seed}: {one.problem}")
        if one.elsewhere is not None:
            say(f"note: {one.key.config_id}, confirm seed {one.key.seed}: {one.elsewhere}, so on other samples")
        if one.row is None or self._silent:
            return
        if not self._begun:
            emit(f"{'config_id':12}  {'seed':>19}  {'valid_ll_mean':>13}  {'test_ll_mean':>12}  {'sigma':>6}  test set")
            self._begun = True
        row = one.row
        emit(
            f"{one.key.config_id:12}  {one.key.seed:19}  {row['valid_ll_mean']:13.2f}  {row['test_ll_mean']:12.2f}  "
            f"{row['sigma']:6.4f}  {one.evaluation}{' (sigma at the edge of the grid)' if row['sigma_at_edge'] else ''}"
        )


def as_plain(one: Rescored) -> dict[str, Any]:
    """Return what became of a trial as JSON-able values."""
    row = one.row or {}
    scores = {name: row.get(name) for name in _SCORES}
    told = {"replicate": one.replicate, "test_evaluation": one.evaluation, "problem": one.problem}
    return {**dataclasses.asdict(one.key), **told, "elsewhere": one.elsewhere, **scores}


COMMANDS = (
    Command(
        name="rescore",
        help="finalists under another score protocol",
        description="Score the kept weights of a run's confirm trials under another score protocol, and write a row\n"
        "for each. Nothing is trained. The test set is read once for each model and protocol: asked again,\n"
        "the rows that are there are shown. Exit code 1 where a trial could not be scored.",
        examples=("gansearch rescore runs/quickstart --protocol published-2014",),
        add_arguments=_add_rescore,
        run=run_rescore,
    ),
)
