"""Ray's token authentication, seen from a process that wants to connect."""

from __future__ import annotations

import os

import ray.exceptions
from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled, and without stubs

from gansearch.errors import ResourceError

_OTHER_CLUSTER = "00" * 28
"""Id of no cluster: a client that has one does not ask for it, again and again. It is told so, if its token is good."""
_REFUSED = "InvalidAuthToken"


def check_token(address: str, seconds: float) -> None:
    """Ask a cluster whether it takes this process's token: Ray itself would try for 20 s and not say why it failed.

    Args:
        address: `host:port`.
        seconds: longest wait for an answer; without one nothing is said.

    Raises:
        ResourceError: when it does not.
    """
    try:
        ensure_token_if_auth_enabled(create_token_if_missing=False)  # without one the client would end this process
    except ray.exceptions.AuthenticationError as error:
        raise _refused(address) from error
    try:
        client = GcsClient(address=address, cluster_id=_OTHER_CLUSTER)
        client.internal_kv_get(b"gansearch", None, timeout=seconds)
    except ray.exceptions.RayError as error:
        if _REFUSED in str(error):
            raise _refused(address) from error


def _refused(address: str) -> ResourceError:
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token":
        hint = "the cluster's token must be in ~/.ray/auth_token, or the file that RAY_AUTH_TOKEN_PATH names"
    else:
        hint = "set RAY_AUTH_MODE=token, and have the cluster's token in ~/.ray/auth_token"
    return ResourceError(f"the Ray cluster at {address} refuses this process: its token is missing or wrong", hint=hint)
