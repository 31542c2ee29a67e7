"""`figure`: pictures of a run's samples, with what they show written into them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gansearch import __version__
from gansearch.cli.output import emit, say
from gansearch.cli.parser import Command, add_data, add_skip_damaged, data_options, integer
from gansearch.errors import ResultsError
from gansearch.storage import Location, location

if TYPE_CHECKING:
    from gansearch.figures import Figure
    from gansearch.kept_models import KeptModel
    from gansearch.paths import TrialKey

_MOST_ROWS = 100


def _add_figure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=location, metavar="RUN|WEIGHTS", help="a run directory, or a weights.safetensors"
    )
    parser.add_argument("--kind", choices=tuple(_KINDS), default="samples", help="which picture (default: samples)")
    parser.add_argument("--config-id", metavar="ID", help="another configuration than the leader")
    parser.add_argument("--seed", type=integer(0), metavar="S", help="another of its trials than the first confirm one")
    parser.add_argument(
        "--rows", type=integer(1, _MOST_ROWS), metavar="N", help="rows (default: 6; of a strip, at most 12)"
    )
    parser.add_argument(
        "--columns",
        type=integer(2, _MOST_ROWS),
        metavar="N",
        help="images a row (default: 8; 10 steps of an interpolation; all of a strip)",
    )
    parser.add_argument("--zoom", type=integer(1, 64), metavar="Z", help="size of a pixel (default: by the data set)")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="default: figure2.png, figure3.png, strip.png; of sheets, a folder: sheets",
    )
    add_data(parser)
    add_skip_damaged(parser)


def run_figure(arguments: argparse.Namespace) -> int:
    """Make a picture, or a folder of them."""
    return _KINDS[arguments.kind](arguments)


def _samples(arguments: argparse.Namespace) -> int:
    from gansearch.core.datasets import load
    from gansearch.figures import check_data, find_model, samples_with_nearest

    skip = arguments.skip_damaged
    model = find_model(arguments.source, arguments.config_id, arguments.seed, skip_damaged=skip)
    data = load(model.spec.config.dataset.name, fold=model.spec.fold, **data_options(arguments))
    if not arguments.source.is_file():
        check_data(arguments.source, model, data, skip_damaged=skip)
    return _deliver(samples_with_nearest(model, data, **_size(arguments)), model, arguments)


def _interpolation(arguments: argparse.Namespace) -> int:
    from gansearch.figures import find_model, interpolations

    skip = arguments.skip_damaged
    model = find_model(arguments.source, arguments.config_id, arguments.seed, skip_damaged=skip)
    return _deliver(interpolations(model, **_size(arguments)), model, arguments)


def _size(arguments: argparse.Namespace) -> dict[str, int]:
    """Return the rows, the columns and the zoom that are asked for."""
    asked = {name: getattr(arguments, name) for name in ("rows", "columns", "zoom")}
    return {name: value for name, value in asked.items() if value is not None}


def _deliver(figure: Figure, model: KeptModel, arguments: argparse.Namespace) -> int:
    from gansearch import pictures, storage

    text = _text(figure.title, figure.caption, model.spec.key, str(model.scored_epoch))
    output = _output(arguments)
    storage.write_bytes(output, pictures.png(figure.picture, text=text))
    say(figure.caption)
    emit(str(output))
    return 0


def _strip(arguments: argparse.Namespace) -> int:
    from analysis.strips import REPORTS_SHOWN, configuration_of, strip
    from gansearch import pictures, storage

    run, skip = _run_directory(arguments), arguments.skip_damaged
    found = strip(
        run,
        arguments.config_id or configuration_of(run, skip_damaged=skip),
        arguments.seed,
        reports=arguments.rows or REPORTS_SHOWN,
        columns=arguments.columns,
        zoom=arguments.zoom,
        skip_damaged=skip,
    )
    text = _text("Samples over the epochs", found.caption, found.key, ", ".join(map(str, found.epochs)))
    output = _output(arguments)
    storage.write_bytes(output, pictures.png(pictures.decode(found.png), text=text))
    say(found.caption)
    emit(str(output))
    return 0


def _sheets(arguments: argparse.Namespace) -> int:
    from analysis.strips import sheets
    from gansearch import pictures, storage
    from gansearch.paths import TrialKey

    run, config_id, seed = _run_directory(arguments), arguments.config_id, arguments.seed
    if arguments.rows is not None or arguments.columns is not None:
        raise ResultsError("sheets are as the run keeps them", hint="leave out --rows and --columns, or use `sample`")
    found = sheets(run, config_id=config_id, skip_damaged=arguments.skip_damaged)
    found = tuple(sheet for sheet in found if seed is None or sheet.seed == seed)
    if not found:
        of = f" of configuration {config_id}" if config_id else ""
        of += f" with seed {seed}" if seed is not None else ""
        raise ResultsError(
            f"{run} holds no sheets{of}: each finished confirm trial has one",
            hint=f"gansearch confirm {run} trains the best configurations again",
        )
    folder = _output(arguments)
    for sheet in found:
        key = TrialKey(sheet.config_id, sheet.seed, "confirm", sheet.fold)
        fold = f", fold {sheet.fold}" if sheet.fold else ""
        picture = pictures.decode(sheet.png)
        height, width = pictures.take_apart(picture, sheet.rows, sheet.columns).shape[1:3]
        caption = (
            f"{sheet.rows * sheet.columns} samples of configuration {key.config_id}, confirm seed {key.seed}"
            f"{fold}, epoch {sheet.epoch}, not picked."
        )
        zoom = arguments.zoom or pictures.zoom_for((1, height, width))
        path = folder / f"{key.config_id}-{key.seed}{f'-fold{sheet.fold}' if sheet.fold else ''}.png"
        text = _text("Samples", caption, key, str(sheet.epoch))
        storage.write_bytes(path, pictures.png(picture, zoom=zoom, text=text))
        say(caption)
        emit(str(path))
    return 0


def _run_directory(arguments: argparse.Namespace) -> Location:
    source: Location = arguments.source
    if source.is_file():
        raise ResultsError(f"{source} is one model: {arguments.kind} is made of a run's tables", hint="give the run")
    return source


def _output(arguments: argparse.Namespace) -> Path:
    asked: Path | None = arguments.output
    return asked or Path(_OUTPUTS[arguments.kind])


def _text(title: str, caption: str, key: TrialKey, epoch: str) -> Mapping[str, str]:
    """Return what a file says of itself."""
    trial = {"config_id": key.config_id, "stage": key.stage, "seed": str(key.seed), "epoch": epoch}
    return {"Title": title, "Description": caption, "Software": f"gansearch {__version__}", **trial}


_KINDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "samples": _samples,
    "interpolation": _interpolation,
    "strip": _strip,
    "sheets": _sheets,
}

_OUTPUTS: Mapping[str, str] = {
    "samples": "figure2.png",
    "interpolation": "figure3.png",
    "strip": "strip.png",
    "sheets": "sheets",
}

COMMANDS = (
    Command(
        name="figure",
        help="pictures of a run's samples",
        description="Draw a picture of a run's samples as a PNG that says what it shows. None is picked by looks.\n"
        "  samples        Figure 2 of the paper: samples, in the last column the nearest training image\n"
        "  interpolation  Figure 3 of the paper: images along lines between noise vectors\n"
        "  strip          one trial's samples over its epochs\n"
        "  sheets         the sheet of samples of each confirm trial, a file each\n"
        "The first two need kept weights (of confirm trials and of `gansearch train`), the others tables alone.",
        examples=(
            "gansearch figure runs/quickstart",
            "gansearch figure runs/quickstart --kind interpolation -o figure3.png",
            "gansearch figure runs/quickstart --kind strip",
            "gansearch figure runs/quickstart --kind sheets",
        ),
        add_arguments=_add_figure,
        run=run_figure,
    ),
)
