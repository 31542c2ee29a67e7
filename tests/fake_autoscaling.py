"""A cluster on this machine that Ray's own autoscaler grows and shrinks: its machines are Ray nodes started here.

    types = {"small": {"resources": {"CPU": 1}, "max_workers": 2}}
    with AutoscalingCluster(tmp_path, types) as cluster:
        subprocess.run([..., "--address", cluster.address], env={**os.environ, **cluster.env})

The autoscaler is the one that `ray up` starts (v2) or the one before it; machines come from Ray's fake provider. Of a
type with `node_config: {out_of_stock: true}` none can be started, as where a quota is used up.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ray._private import services
from ray.autoscaler._private.fake_multi_node.node_provider import (
    FAKE_HEAD_NODE_ID,
    FAKE_HEAD_NODE_TYPE,
    FakeMultiNodeProvider,
)

from tests.ray_processes import (
    START,
    WORKER_PORTS,
    free_ports,
    kill_tree,
    start_process,
    token_env,
    wait_started,
    write_token,
)
from tests.search.small_studies import descendants

HOST = "127.0.0.1"
_OBJECT_STORE = 80_000_000
_EMPTY_LISTS = (
    *("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files"),
)
_BESIDE = """
import os, runpy, sys
sys.argv = ["monitor", *os.environ["MONITOR_ARGUMENTS"].split()]
runpy.run_module("ray.autoscaler.v2.monitor", run_name="__main__")
"""


class Provider(FakeMultiNodeProvider):
    """Ray's fake provider, on the loopback interface, and now and then out of stock."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        services.get_node_ip_address = lambda *_: HOST
        super().__init__(provider_config, cluster_name)

    def create_node_with_resources_and_labels(self, node_config: dict[str, Any], *more: Any) -> None:
        """Start machines, unless there are none to be had."""
        if node_config.get("out_of_stock"):
            raise RuntimeError("InsufficientInstanceCapacity: there is no such machine to be had")
        super().create_node_with_resources_and_labels(node_config, *more)  # type: ignore[no-untyped-call]


class AutoscalingCluster:
    """A head without CPUs, and the machines that its autoscaler starts.

    Args:
        folder: where logs and the cluster file go.
        types: node types, by name, as a cluster file has them.
        max_workers: machines of all types together.
        idle_seconds: how long a machine is idle before it is given back.
        version: of the autoscaler: 2, which `ray up` starts, or 1.
        beside: whether the monitor runs beside the head, as KubeRay's does, and not under it.
    """

    def __init__(
        self,
        folder: Path,
        types: Mapping[str, Mapping[str, Any]],
        *,
        max_workers: int = 4,
        idle_seconds: float = 12,
        version: int = 2,
        beside: bool = False,
    ) -> None:
        self._folder, self._types, self._max_workers = folder, types, max_workers
        self._idle_seconds, self._version, self._beside = idle_seconds, version, beside
        self._stack = contextlib.ExitStack()
        self.address = ""
        """Of the cluster: what `--address` takes."""
        self.token_path = folder / "auth_token"

    def __enter__(self) -> AutoscalingCluster:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_token(self.token_path)
        with contextlib.ExitStack() as stack:
            temp_dir = tempfile.mkdtemp(prefix="gs-as-")
            stack.callback(shutil.rmtree, temp_dir, ignore_errors=True)
            gcs, client, dashboard = free_ports(3)
            self.address = f"{HOST}:{gcs}"
            file = self._folder / "cluster.json"
            file.write_text(json.dumps(self._config()))
            command = [
                *(*START, "--head", *WORKER_PORTS),
                *(f"--port={gcs}", f"--ray-client-server-port={client}", f"--dashboard-port={dashboard}"),
                *(f"--node-ip-address={HOST}", f"--temp-dir={temp_dir}", "--include-dashboard=false"),
                *("--num-cpus=0", "--num-gpus=0", f"--object-store-memory={_OBJECT_STORE}"),
                "--no-monitor" if self._beside else f"--autoscaling-config={file}",
            ]
            log = self._folder / "head.log"
            self._head = self._start(stack, command, log)
            wait_started(self._head, log)
            if self._beside:
                arguments = f"--gcs-address={self.address} --autoscaling-config={file} --logs-dir={self._folder}"
                monitor = [sys.executable, "-c", _BESIDE]
                self._start(stack, monitor, self._folder / "monitor.log", {"MONITOR_ARGUMENTS": arguments})
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def env(self) -> dict[str, str]:
        """What the environment of a process that connects needs."""
        return token_env(self.token_path)

    def workers(self) -> list[int]:
        """Return the ids of the processes (raylets) that stand for the machines which it has started."""
        monitors = [pid for pid, command in descendants(self._head.pid).items() if "monitor.py" in command]
        below = [one for pid in monitors for one in descendants(pid).items()]
        return sorted(pid for pid, command in below if command.split(" ")[0].endswith("/raylet"))

    def _start(
        self, stack: contextlib.ExitStack, command: list[str], log: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        fake = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        if self._version == 2:
            named = dict.fromkeys(("RAY_CLOUD_INSTANCE_ID", "RAY_OVERRIDE_NODE_ID_FOR_TESTING"), FAKE_HEAD_NODE_ID)
            fake |= {"RAY_enable_autoscaler_v2": "1", "RAY_NODE_TYPE_NAME": FAKE_HEAD_NODE_TYPE, **named}
        process = start_process(command, log, {**self.env, **fake, **(env or {})})
        stack.callback(kill_tree, process)
        return process

    def _config(self) -> dict[str, Any]:
        """Return the cluster file, all of it: the fake provider has no defaults."""
        provider = {"type": "external", "module": f"{__name__}.Provider", "gcs_address": self.address}
        head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
        types = {
            name: {"node_config": {}, "min_workers": 0, **kind, "resources": _with_store(kind["resources"])}
            for name, kind in self._types.items()
        }
        return {
            "cluster_name": "fake",
            "max_workers": self._max_workers,
            "idle_timeout_minutes": self._idle_seconds / 60,
            "upscaling_speed": 1.0,
            "provider": {**provider, "head_node_id": FAKE_HEAD_NODE_ID, "launch_multiple": self._version == 2},
            "auth": {},
            "docker": {},
            "available_node_types": {FAKE_HEAD_NODE_TYPE: head, **types},
            "head_node_type": FAKE_HEAD_NODE_TYPE,
            "file_mounts": {},
            "file_mounts_sync_continuously": False,
            "rsync_exclude": [],
            "rsync_filter": [],
            **{name: [] for name in _EMPTY_LISTS},
        }


def _with_store(resources: Mapping[str, float]) -> dict[str, float]:
    return {"object_store_memory": _OBJECT_STORE, **resources}
