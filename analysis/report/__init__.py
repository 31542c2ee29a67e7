"""A run as one HTML page that opens without a network: `gansearch report`.

    from analysis.report.page import report
    html = report("runs/quickstart")

A section whose source cannot be read says so in a sentence; the page is never blank.
"""
