"""`train` and `reproduce`: one trial in this process, without Ray."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansearch.cli.output import emit, emit_json, say
from gansearch.cli.parser import Command, add_data, add_json, add_track, data_options, integer
from gansearch.storage import Location, location

if TYPE_CHECKING:
    from gansearch.config import TrialConfig
    from gansearch.config_files import ConfigFile
    from gansearch.reproduce import Plan, Reproduction
    from gansearch.spec import TrialSpec
    from gansearch.trial import Report

_SHOWN = ("config_id", "seed", "status", "error", "epochs", "g_updates", "d_updates", "scored_epoch", "weights_digest")


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a configuration file, or the name of a shipped one")
    parser.add_argument("--seed", type=integer(0), metavar="S", help="the trial's seed (default: the file's, else 0)")
    parser.add_argument(
        "--out", type=location, metavar="DIR", help="the run directory (default: runs/train-<config_id>-<seed>)"
    )
    parser.add_argument("--epochs", type=integer(1), metavar="E", help="the budget, instead of the file's")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another value of a parameter than the file's, such as dataset.name=mnist; may be repeated",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is a GPU, else cpu")
    parser.add_argument(
        "--threads", type=integer(1), default=1, metavar="N", help="CPU threads; scores depend on them (default: 1)"
    )
    parser.add_argument("--protocol", metavar="NAME", help="the score protocol (default: the file's, else full)")
    parser.add_argument(
        "--fold", type=_fold, default=0, metavar="F", help="of a data set with folds, or `all` of them (default: 0)"
    )
    add_track(parser)
    add_data(parser)
    add_json(parser)


def run_train(arguments: argparse.Namespace) -> int:
    """Train and score one configuration, on one fold of its data set or on each."""
    from gansearch.config_files import load_config_file
    from gansearch.core.datasets import describe

    file = load_config_file(arguments.config)
    config = train_config(file, arguments)
    name = config.dataset.name
    folds = range(describe(name).folds) if arguments.fold == _ALL else [arguments.fold]
    specs = [train_spec(file, config, arguments, fold) for fold in folds]
    out: Location = arguments.out or Path("runs") / f"train-{config.config_id}-{specs[0].seed}"
    trained = [_train(spec, out, arguments) for spec in specs]
    if arguments.json:
        emit_json({"run": str(out), "rows": [row for rows in trained for row in rows]})
    else:
        for rows in trained:
            emit(row_summary(rows))
            if len(trained) > 1:
                emit("")
        if len(trained) > 1:
            emit(folds_summary([rows[0] for rows in trained]))
    return 0 if all(rows[0]["status"] == "COMPLETE" for rows in trained) else 1


def _train(spec: TrialSpec, out: Location, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Train one trial, unless it has been trained there; return its rows."""
    from gansearch.core.datasets import describe, load
    from gansearch.fits import check_fits
    from gansearch.placement import Placement
    from gansearch.recorder import Recorder
    from gansearch.schema import FAILED
    from gansearch.tracking.destinations import destinations
    from gansearch.tracking.following import prepare
    from gansearch.trial import Trial, run

    config, name = spec.config, spec.config.dataset.name
    check_fits(config, describe(name, spec.fold), (*spec.protocols, spec.report_protocol))
    data = load(name, fold=spec.fold, labels=config.condition.on == "labels", **data_options(arguments))
    check_fits(config, data)
    recorder = Recorder(out, track=destinations(arguments.track or (), out))
    placement = Placement(device=_device(arguments.device), threads=arguments.threads)
    placement.claim()  # a GPU that is not there is the user's mistake, not the trial's outcome
    outcome = Trial(spec, data, recorder, placement).outcome()
    if outcome is None:
        fold = f", fold {spec.fold}," if data.fold or arguments.fold == _ALL else ""
        say(f"training {config.config_id} with seed {spec.seed}{fold} on {placement.device} into {out}")
        prepare(recorder.track)
        return run(spec, data, recorder, placement, teller(config.algorithm.epochs))
    say(f"{out} holds this trial already: nothing to train")
    if outcome["status"] == FAILED:
        say("hint: it failed there, and its row is shown; give another directory with --out to try it again")
    return recorder.rows(spec.key, [p.id for p in spec.protocols])


def folds_summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the mean over folds of trials, one a fold, as text; each chose its own sigma."""
    from analysis import statistics

    scored = [row for row in rows if row["status"] == "COMPLETE"]
    if not scored:
        return f"no fold of {len(rows)} completed"
    values = [row["valid_ll_mean"] for row in scored]
    error = statistics.standard_error(values)
    sigmas = ", ".join(f"{row['sigma']:.4f}" for row in scored)
    lines = [
        ("folds", f"{len(scored)} of {len(rows)} completed, sigma {sigmas}"),
        ("valid_ll_mean", f"{statistics.mean(values):.2f} nats, mean over folds"),
        ("valid_ll_se_folds", "unknown" if error is None else f"{error:.2f} nats"),
    ]
    return "\n".join(f"{name:<20}  {value}" for name, value in lines)


def changed_config(config: TrialConfig, settings: Sequence[str]) -> TrialConfig:
    """Return a configuration with the values that options set.

    Raises:
        ConfigError: for an option that is not NAME=VALUE, an unknown name, a value out of range or without effect.
    """
    from gansearch.config_files import check_acts
    from gansearch.errors import ConfigError
    from gansearch.yaml_files import parse_yaml

    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting} is not NAME=VALUE", hint="such as --set algorithm.k=2")
        values[name] = parse_yaml(f"value: {text}", f"--set {setting}")["value"]
    changed = config.replace(values)
    check_acts(values, lambda parent: [changed.get(parent)], "--set ")
    return changed


def train_config(file: ConfigFile, arguments: argparse.Namespace) -> TrialConfig:
    """Return the configuration that a file and the options ask for."""
    config = changed_config(file.config, arguments.set)
    return config if arguments.epochs is None else config.replace({"algorithm.epochs": arguments.epochs})


def train_spec(file: ConfigFile, config: TrialConfig, arguments: argparse.Namespace, fold: int) -> TrialSpec:
    """Return the trial that a configuration file and the options ask for, on one fold."""
    from gansearch.protocols import protocol
    from gansearch.spec import TrialSpec

    final = protocol(arguments.protocol) if arguments.protocol else file.protocol or protocol("full")
    seeds = (seed for seed in (arguments.seed, file.seed) if seed is not None)
    return TrialSpec(
        config=config,
        seed=next(seeds, 0),
        stage="train",
        fold=fold,
        protocols=(final,),
        report_protocol=file.report_protocol or protocol("report"),
    )


_ALL = "all"


def _fold(text: str) -> int | str:
    """Return a fold's number, or `all`."""
    return _ALL if text == _ALL else integer(0)(text)


def _device(name: str | None) -> str:
    import torch

    return name or ("cuda" if torch.cuda.is_available() else "cpu")


def teller(epochs: int) -> Callable[[Report], None]:
    """Return what tells each report of a trial of so many epochs."""

    def tell(report: Report) -> None:
        row = report.draft
        line = f"epoch {report.epoch:{len(str(epochs))}} of {epochs}"
        if "report_last_ll_mean" in row:
            line += f"  {row['report_last_ll_mean']:9.2f} nats (report protocol)"
            line += f"  D(x) {row['d_real']:.3f}  D(G(z)) {row['d_fake']:.3f}"
            line += f"  {row['run_examples_per_second']:,.0f} examples/s"
        say(line)

    return tell


def row_summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what a trial's rows say, one fact a line; rounded."""
    facts = [(name, str(rows[0][name])) for name in _SHOWN if rows[0].get(name) is not None]
    for row in rows:
        if row.get("valid_ll_mean") is not None:
            at_edge = " (at the grid's edge)" if row["sigma_at_edge"] else ""
            facts += [
                ("protocol", row["protocol_id"]),
                ("valid_ll_mean", f"{row['valid_ll_mean']:.2f} nats"),
                ("valid_ll_se_examples", f"{row['valid_ll_se_examples']:.2f} nats"),
                ("sigma", f"{row['sigma']:.4f}{at_edge}"),
                ("collapsed", str(row["collapsed"]).lower()),
            ]
    width = max(len(name) for name, _ in facts)
    return "\n".join(f"{name:{width}}  {value}" for name, value in facts)


def _add_reproduce(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="BEST.yaml", help="a file that `gansearch best` wrote")
    parser.add_argument(
        "--seed", type=integer(0), metavar="S", help="one of the file's seeds (default: its first completed one)"
    )
    parser.add_argument(
        "--fold", type=integer(0), metavar="F", help="one of its folds (default: the first that the seed completed)"
    )
    parser.add_argument(
        "--out",
        type=location,
        metavar="DIR",
        help="the run directory (default: a new one, runs/reproduce-<config_id>-<seed>-<n>); a trial that ended "
        "there is judged by its row, one that was interrupted goes on",
    )
    add_data(parser)
    add_json(parser)


def run_reproduce(arguments: argparse.Namespace) -> int:
    """Train the best configuration again and hold it against what its file says."""
    from gansearch.config_files import load_config_file
    from gansearch.reproduce import plan_reproduction, reproduce

    plan = plan_reproduction(load_config_file(arguments.config), arguments.seed, arguments.fold)
    out: Location = arguments.out or _new_directory(plan)
    ended = arguments.out is not None and _ended(plan, out)
    for difference in plan.differences:
        say(f"note: another environment: {difference}")
    if plan.undecidable and not ended:
        return _no_verdict(plan, arguments.json)
    what = f"{plan.spec.config.config_id} with seed {plan.spec.seed}"
    if plan.spec.fold:
        what += f" on fold {plan.spec.fold}"
    if ended:
        say(f"{out} holds {what} already: nothing is trained, the row that is stored there is judged")
    else:
        say(f"training {what} on {plan.placement.device} into {out}")
    tell = teller(plan.spec.config.algorithm.epochs)
    found = reproduce(plan, out, on_report=(lambda _: None) if ended else tell, **data_options(arguments))
    if not ended:
        say(f"its row is in {out}")
    if arguments.json:
        emit_json(found.to_dict())
    else:
        emit(verdict(found))
    return 0 if found.holds else 1


def _new_directory(plan: Plan) -> Path:
    """Return the first of a reproduction's default directories that is not there yet."""
    stem = f"reproduce-{plan.spec.config.config_id}-{plan.spec.seed}"
    if plan.spec.fold:
        stem += f"-fold{plan.spec.fold}"
    return next(path for n in itertools.count(1) if not (path := Path("runs") / f"{stem}-{n}").exists())


def _ended(plan: Plan, out: Location) -> bool:
    """Return whether a run directory holds the plan's trial, and it ended."""
    from gansearch.recorder import Recorder
    from gansearch.schema import UNFINISHED

    rows = Recorder(out).rows(plan.spec.key, [p.id for p in plan.spec.protocols])
    return bool(rows) and all(row["status"] not in UNFINISHED for row in rows)


def _no_verdict(plan: Plan, as_json: bool) -> int:
    """Say, before anything is trained, that its outcome could not be judged."""
    reason = (
        "the file has one completed seed, and a prediction interval takes two or more; "
        "in another environment nothing else could be compared, so nothing was trained"
    )
    if as_json:
        emit_json({"kind": None, "holds": False, "reason": reason, "differences": plan.differences})
    else:
        emit(f"verdict: none\n{reason}")
    say("hint: reproduce it in the file's environment, or confirm the configuration with two or more seeds")
    return 1


def verdict(found: Reproduction) -> str:
    """Return the verdict with its numbers."""
    verdict = {True: "", False: "not ", None: "undecided whether "}[found.holds]
    lines = [f"verdict: {verdict}{found.kind}", found.reason]
    width = max(len(name) for name in found.values)
    lines += [f"  {name:{width}}  file {told}  here {here}" for name, (told, here) in found.values.items()]
    if found.interval is not None:
        low, high = found.interval
        of = f"the file's {found.seeds} seeds" + (" that neither collapsed nor diverged" if found.bad else "")
        lines.append(f"  95% prediction interval of {of}: {low:.2f} to {high:.2f} nats")
    lines += [f"  another environment: {difference}" for difference in found.differences]
    return "\n".join(lines)


COMMANDS = (
    Command(
        name="train",
        help="train and score one configuration, without Ray",
        description="Train one configuration in this process and score it on the validation set. Ctrl-C keeps a\n"
        "checkpoint, and the same command goes on from there. A trial that is in DIR already is shown.",
        examples=(
            "gansearch train paper/mnist --epochs 30",
            "gansearch train best.yaml --seed 1 --out runs/again",
            "gansearch train best.yaml --set algorithm.k=2 --epochs 20",
        ),
        add_arguments=_add_train,
        run=run_train,
    ),
    Command(
        name="reproduce",
        help="train the best configuration again and judge the result",
        description="Train a seed of a best configuration's file again and compare. On the same device model, with\n"
        "the same versions and threads, the verdict is *identical*: equal bit for bit. Elsewhere it is\n"
        "*another draw*: inside the prediction interval of the file's seeds, those that collapsed or diverged\n"
        "apart. Exit code 1 when it is not, or when one trial does not tell.",
        examples=("gansearch reproduce best.yaml",),
        add_arguments=_add_reproduce,
        run=run_reproduce,
    ),
)
