"""`sample` and `export`: what a trained model can be used for."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansearch.cli.output import emit, emit_json, say, tell_skipped, to_json
from gansearch.cli.parser import Command, add_json, add_skip_damaged, integer
from gansearch.errors import ResultsError, UserError
from gansearch.storage import Location, location

if TYPE_CHECKING:
    from gansearch.kept_models import KeptModel


def _add_sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=location, metavar="RUN|WEIGHTS", help="a run directory, or a weights.safetensors"
    )
    parser.add_argument("-n", "--num", type=integer(1, 100_000), default=100, metavar="N", help="images (default: 100)")
    parser.add_argument("--columns", type=integer(1), default=10, metavar="C", help="images a row (default: 10)")
    parser.add_argument("--seed", type=integer(0), metavar="S", help="of the noise (default: the trial's own)")
    parser.add_argument("--zoom", type=integer(1, 64), metavar="Z", help="size of a pixel (default: by the data set)")
    parser.add_argument("--config-id", metavar="ID", help="another configuration than the leader")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("samples.png"), metavar="FILE", help="default: samples.png"
    )
    add_skip_damaged(parser)


def run_sample(arguments: argparse.Namespace) -> int:
    """Draw a sheet of samples."""
    from gansearch import pictures, storage
    from gansearch.core.datasets import describe
    from gansearch.kept_models import draw, find_weights, load_model

    source = arguments.source
    skip = arguments.skip_damaged
    model = load_model(source if source.is_file() else find_weights(source, arguments.config_id, skip_damaged=skip))
    info = describe(model.spec.config.dataset.name)
    zoom = arguments.zoom or pictures.zoom_for(info.shape)
    images = draw(model, arguments.num, arguments.seed)
    columns = min(arguments.columns, arguments.num)
    picture = pictures.sheet(images, info.shape, columns, space=info.space)
    storage.write_bytes(arguments.output, pictures.png(picture, zoom=zoom))
    say(f"{arguments.num} samples of {model.describe()}")
    emit(str(arguments.output))
    return 0


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_directory", type=location, metavar="RUN", help="a run directory")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="a new directory (default: <name of RUN>-export)"
    )
    parser.add_argument("--config-id", metavar="ID", help="another configuration than the leader")
    parser.add_argument(
        "--optuna",
        metavar="STORAGE",
        help="write the search there instead, for Optuna Dashboard: study.db, or a URL such as sqlite:///study.db",
    )
    parser.add_argument("--study-name", metavar="NAME", help="with --optuna, of the study (default: <name of RUN>)")
    add_json(parser)
    add_skip_damaged(parser)


def run_export(arguments: argparse.Namespace) -> int:
    """Write a model's weights and configuration to a directory of their own, or the search to an Optuna storage."""
    if arguments.optuna is not None:
        return _export_study(arguments)
    if arguments.study_name is not None:
        raise UserError("--study-name names a study in an Optuna storage", hint="add --optuna study.db")
    from gansearch import storage
    from gansearch.kept_models import find_weights, load_model
    from gansearch.yaml_files import dump_yaml

    run: Location = arguments.run_directory
    skip = arguments.skip_damaged
    model = load_model(find_weights(run, arguments.config_id, skip_damaged=skip))
    out: Path = arguments.output or Path(f"{run.resolve().name}-export")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ResultsError(f"{out} exists already", hint="give another directory with -o")
    content = model.path.read_bytes()
    provenance = _provenance(run, model, hashlib.sha256(content).hexdigest(), skip)
    storage.write_bytes(out / "weights.safetensors", content)
    storage.write_text(out / "config.yaml", dump_yaml(_config_file(run, model, skip)))
    storage.write_text(out / "provenance.json", to_json(provenance) + "\n")
    storage.write_text(out / "README.md", _README.format(name=out.name, model=model.describe(), run=run.resolve().name))
    say(f"exported {model.describe()}")
    if arguments.json:
        emit_json(provenance | {"directory": str(out)})
    else:
        emit(str(out))
    return 0


def _export_study(arguments: argparse.Namespace) -> int:
    """Write a run's search to an Optuna storage."""
    from analysis.optuna_studies import export

    for option, value in (("-o", arguments.output), ("--config-id", arguments.config_id)):
        if value is not None:
            raise UserError(f"--optuna writes the whole search to its storage and takes no {option}")
    made = export(
        arguments.run_directory, arguments.optuna, name=arguments.study_name, skip_damaged=arguments.skip_damaged
    )
    tell_skipped(made.skipped)
    if made.left_out:
        say(f"note: trials without an outcome left out: {made.left_out}")
    counts = ", ".join(f"{count} {state}" for state, count in made.states.items())
    say(f"exported study {made.study}: {counts or 'no trials'}; open it with: optuna-dashboard {made.storage}")
    if arguments.json:
        emit_json(dataclasses.asdict(made))
    else:
        emit(made.storage)
    return 0


def _config_file(run: Location, model: KeptModel, skip_damaged: bool) -> dict[str, Any]:
    """Return a configuration file: with what its seeds scored where it is the run's leader."""
    from analysis.best import best_document

    spec = model.spec
    try:
        document = best_document(run, skip_damaged=skip_damaged)
    except ResultsError:  # trials of `gansearch train` alone: there is nothing to choose from
        document = {}
    if document.get("config_id") == spec.config.config_id:
        return document
    return {
        "description": f"A configuration trained in {run.resolve().name}",
        "config_id": spec.config.config_id,
        "config": spec.config.to_dict(),
        "seed": spec.seed,
        "protocol": spec.protocols[0].to_dict(),
        "report_protocol": spec.report_protocol.to_dict(),
    }


def _provenance(run: Location, model: KeptModel, sha256: str, skip_damaged: bool) -> dict[str, Any]:
    """Return where a model is from and what it scored: its trial's rows without the configuration's columns."""
    from gansearch.parts import DamagedPartError
    from gansearch.recorder import Recorder

    rows = []
    for protocol in model.spec.protocols:
        try:
            rows += Recorder(run).rows(model.spec.key, [protocol.id])
        except DamagedPartError:
            if not skip_damaged:
                raise
    return {
        "run": str(run.resolve()),
        "weights": {
            "file": "weights.safetensors",
            "sha256": sha256,
            "weights_digest": model.digest,
            "scored_epoch": model.scored_epoch,
            "parameters": {name: list(tensor.shape) for name, tensor in sorted(model.weights.items())},
        },
        "config": json.loads(model.spec.config.to_json()),
        "rows": [{k: v for k, v in row.items() if not k.startswith("cfg_")} for row in rows],
    }


_README = """\
# {name}

The generator of {model}, from the run `{run}`.

- `weights.safetensors`: its parameters. The file's metadata says which trial they are of.
- `config.yaml`: the configuration; `gansearch train config.yaml` trains it again, and `gansearch reproduce
  config.yaml` compares where the file has the scores of its seeds.
- `provenance.json`: the trial's rows, with its scores, data digests, versions and machine.

    gansearch sample weights.safetensors -n 100 -o samples.png

`safetensors.torch.load_file("weights.safetensors")` returns the parameters by name.
"""

COMMANDS = (
    Command(
        name="sample",
        help="draw a sheet of samples",
        description="Draw samples of a kept model as a PNG. Of a run this is the leader's first confirm seed: chosen\n"
        "by validation, not by looks. Weights are kept of confirm trials and of `gansearch train`.",
        examples=("gansearch sample runs/quickstart -o samples.png",),
        add_arguments=_add_sample,
        run=run_sample,
    ),
    Command(
        name="export",
        help="write a model's weights and configuration, or the search for Optuna",
        description="Write the weights of a run's leader (of its first confirm seed), its configuration and where it\n"
        "is from to a new directory; or, with --optuna, the search's trials to a storage that Optuna Dashboard opens.",
        examples=(
            "gansearch export runs/quickstart -o quickstart-model",
            "gansearch export runs/quickstart --optuna quickstart.db",
        ),
        add_arguments=_add_export,
        run=run_export,
    ),
)
