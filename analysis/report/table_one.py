"""The run's confirmed configuration beside the published rows."""

from __future__ import annotations

from analysis.render import render
from analysis.report.section import Content
from analysis.report.sources import Sources
from analysis.table1 import table1


def content(sources: Sources) -> Content:
    """Return Table 1 as HTML."""
    table = table1([sources.run], skip_damaged=sources.skip_damaged)
    return {"table": render(table, "html")}
