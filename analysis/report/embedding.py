"""What the page carries inside itself: data for its scripts, files to save, and the policy that nothing else runs."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def script_json(value: Any) -> str:
    r"""Return a value as JSON that may stand inside a script element, whatever texts it holds.

    JSON has these characters inside texts only, where `\u003c` means the same; so no `</script>` and no `<!--` can
    end or change the element. Numbers that are not finite are null.
    """
    return inert(json.dumps(_finite(value), separators=(",", ":"), allow_nan=False))


def inert(text: str) -> str:
    """Return JSON with nothing in it that HTML reads as its own."""
    for character, escape in _UNSAFE.items():
        text = text.replace(character, escape)
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def data_uri(content: bytes, kind: str) -> str:
    """Return a file as a URI that holds it, such as a picture (`image/png`)."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def policy(scripts: Iterable[str], *, compiles: bool = False) -> str:
    """Return the content security policy of a page: no network, and only these scripts run.

    A script or handler that found its way in with a run's texts has another digest, and does not run.

    Args:
        scripts: the text of each script element, exactly as it stands there.
        compiles: whether these scripts compile code themselves, as Plotly does to draw by WebGL.

    Source:
        Content Security Policy Level 3, sections 2.3.1 and 8.4 (digests).
    """
    allowed = " ".join(
        [*(f"'sha256-{_digest(script)}'" for script in scripts), *(["'unsafe-eval'"] if compiles else [])]
    )
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
