"""gansearch: distributed hyperparameter search for the adversarial nets of Goodfellow et al. 2014.

Light on purpose: importing it loads neither torch nor Ray.
"""

from __future__ import annotations

__version__ = "0.1.0"
