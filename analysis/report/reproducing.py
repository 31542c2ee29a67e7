"""The exact commands that make the best configuration, the search and the page again, and the files they take."""

from __future__ import annotations

import dataclasses
import re
import shlex

from analysis.best import best_document
from analysis.report.embedding import data_uri
from analysis.report.section import Content, attempt, sentence
from analysis.report.sources import Sources
from analysis.report.words import brief
from gansearch.yaml_files import dump_yaml

_DIRTY = "-dirty"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that the page carries.

    Attributes:
        name: what it is saved as.
        text: its content.
        uri: the same as a link to save it.
    """

    name: str
    text: str
    uri: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something to do.

    Attributes:
        title: what it does.
        commands: what to type; none where the notes say why.
        notes: what to know of it.
        file: a file that it needs, which the page carries; None where it needs none.
    """

    title: str
    commands: tuple[str, ...]
    notes: tuple[str, ...] = ()
    file: File | None = None


def content(sources: Sources) -> Content:
    """Return the steps, one after the other."""
    return {"steps": [_code(sources), _data(sources), _best(sources), _search(sources), _page(sources)]}


def _code(sources: Sources) -> Step:
    rows = [row for row in sources.trials if row["run_code_revision"] is not None]
    revision = brief(rows[-1]["run_code_revision"]) if rows else ""
    notes = [] if rows else ["The rows do not say which revision of the code ran."]
    if revision.endswith(_DIRTY):
        notes.append("Files differed from that revision when the trials ran: the code itself is not in it.")
    commands = (f"git checkout {shlex.quote(revision.removesuffix(_DIRTY))}", "pip install .") if revision else ()
    return Step(title="The code, in a checkout of gansearch", commands=commands, notes=tuple(notes))


def _data(sources: Sources) -> Step:
    from gansearch.core.datasets import DATASETS

    names = sorted({str(row["cfg_dataset_name"]) for row in sources.trials})
    notes = []
    for name in names:
        if name in DATASETS:
            info = DATASETS[name][0].info
            files = (
                "read from $GANSEARCH_DATA, else downloaded when first needed" if info.needs_files else "needs no files"
            )
            notes.append(
                f"{name}: {info.description}; {info.n_train:,} training, {info.n_valid:,} validation and "
                f"{info.n_test:,} test images; {files}."
            )
        else:
            notes.append(f"{brief(name)}: not a data set of this version.")
    return Step(title="The data", commands=(), notes=(*notes, "Their digests stand under Provenance."))


def _best(sources: Sources) -> Step:
    title = "The best configuration, trained again and held against its row"
    found = attempt(lambda: best_document(sources.run, skip_damaged=sources.skip_damaged))
    if found.error is not None:
        return Step(title=title, commands=(), notes=(sentence(found.error),))
    commands = (f"gansearch best {shlex.quote(sources.given)} -o best.yaml", "gansearch reproduce best.yaml")
    note = "Without the run directory, save best.yaml from here and begin with the second command."
    return Step(title=title, commands=commands, notes=(note,), file=_file("best.yaml", dump_yaml(found.get())))


def _search(sources: Sources) -> Step:
    title = "The whole search again"
    if not sources.study:
        return Step(title=title, commands=(), notes=("The run has no plan file: it was not made by a sweep.",))
    name = re.sub(r"[^A-Za-z0-9._-]", "-", str(sources.plan.get("name") or "")).strip(".-_") or "study"
    return Step(
        title=title,
        commands=(f"gansearch sweep {name}.yaml --out runs/{name}-again",),
        notes=(
            f"Save {name}.yaml from here: it is the study as the run resolved it, with the command line's options.",
            "Which configurations a searcher suggests depends on the order in which trials end; with several at a time "
            "that order is the machine's.",
        ),
        file=_file(f"{name}.yaml", dump_yaml(sources.study)),
    )


def _page(sources: Sources) -> Step:
    run = shlex.quote(sources.given)
    commands = (f"gansearch table1 {run}", f"gansearch finalists {run}", f"gansearch report {run} -o report.html")
    return Step(title="Table 1, the comparison and this page from the run's tables", commands=commands)


def _file(name: str, text: str) -> File:
    return File(name=name, text=text, uri=data_uri(text.encode(errors="backslashreplace"), "text/yaml"))
