"""What the processes import that Ray holds ready for trials: see `cluster.connected`."""

from gansearch.search.imports import import_all

import_all("gansearch.search.worker")
