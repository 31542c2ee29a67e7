"""Whether the head of a cluster answers, and how long it may be silent."""

from __future__ import annotations

import socket

import pytest

from gansearch.search.head import RAYS_SETTING, answers, patience


@pytest.mark.parametrize(("rays", "ours"), [(None, 40.0), ("600", 580.0), ("30", 15.0)])
def test_the_last_words_come_before_ray_ends_the_process(
    rays: str | None, ours: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(RAYS_SETTING, raising=False)
    if rays is not None:
        monkeypatch.setenv(RAYS_SETTING, rays)
    assert patience() == ours


def test_a_port_answers_while_somebody_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert answers(address)
    assert not answers(address)
    assert not answers("no-such-host.invalid:6379")
