"""The page: its sections in order, its style and scripts, all in one file."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Callable

import jinja2

from analysis.cells import counted
from analysis.report import finalist_cards, plots, provenance, reproducing, spending, summary, table_one, trials_table
from analysis.report.embedding import policy, script_json
from analysis.report.section import Content, Section, section
from analysis.report.sources import Sources, gather
from analysis.report.words import brief, visible
from gansearch import __version__
from gansearch.storage import Location

_SECTIONS: tuple[tuple[str, str, Callable[[Sources], Content]], ...] = (
    ("summary", "Summary", summary.content),
    ("table1", "Table 1", table_one.content),
    ("finalists", "Finalists", finalist_cards.content),
    ("search", "The search", plots.search),
    ("curves", "Learning curves", plots.curves),
    ("trials", "Trials", trials_table.content),
    ("costs", "Costs", spending.content),
    ("provenance", "Provenance", provenance.content),
    ("reproduce", "Reproduce", reproducing.content),
)


def report(run: Location | str, *, skip_damaged: bool = False) -> str:
    """Return a run as one HTML page.

    Args:
        run: the run directory.
        skip_damaged: leave out damaged parts instead of refusing.

    Raises:
        ResultsError: when the run cannot be read or has no trial.
        ConfigError: when its plan file cannot be read.
    """
    sources = gather(run, skip_damaged=skip_damaged)
    return page(sources, [section(name, title, functools.partial(make, sources)) for name, title, make in _SECTIONS])


def page(sources: Sources, sections: list[Section]) -> str:
    """Return the page of these sections."""
    templates = _templates()
    bodies = {s.name: templates.get_template(f"{s.name}.html").render(s.content) for s in sections if s.content}
    scripts = [_plotly(), _file("plots.js"), _file("trials.js")]
    return templates.get_template("page.html").render(
        name=sources.name,
        description=sources.study.get("description") or "",
        version=__version__,
        sections=sections,
        bodies=bodies,
        style=_file("style.css"),
        scripts=scripts,
        policy=policy(scripts, compiles=plots.needs_webgl(sources)),
    )


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.report"),
        autoescape=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"brief": brief, "counted": counted, "script_json": script_json}
    return environment


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _file(name: str) -> str:
    return (importlib.resources.files("analysis.report") / name).read_text(encoding="utf-8")
