"""Global contrast normalisation: images less their mean, scaled to one norm. It cannot be undone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CONTRAST_NORM = 55.0
"""The norm of every image after global contrast normalisation: the scale of the published configurations."""
_NO_CONTRAST = 1e-8
"""An image whose norm is below this is left as it is: dividing would only blow rounding up."""


def contrast_normalised(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images less their own mean, scaled to the norm `CONTRAST_NORM`. What an image had of both is lost.

    Source: Goodfellow et al. 2013, "Maxout networks", section 5.2; the scale is that of the released configuration.

    Args:
        images: bytes, [n, d].
    """
    out = np.empty(images.shape, np.float32)
    for i in range(0, len(images), 1000):  # in float64 a thousand at a time: all at once would take gigabytes
        centred = images[i : i + 1000].astype(np.float64)
        centred -= centred.mean(1, keepdims=True)
        norms = np.linalg.norm(centred, axis=1, keepdims=True) / CONTRAST_NORM
        out[i : i + 1000] = centred / np.where(norms < _NO_CONTRAST, 1, norms)
    return out
