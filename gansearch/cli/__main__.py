"""`python -m gansearch.cli` is `gansearch`."""

from __future__ import annotations

import sys

from gansearch.cli import main

sys.exit(main())
