"""Which driver holds a run: one at a time, on any storage that lists what was written.

A driver claims a run by writing a claim of its own and then listing the claims: where another one lives, it
withdraws. Two that claim at the same moment both see the other and both withdraw, so no lock, no exclusive
creation and no clock is needed, and a shared file system or an object store serves as well as a disk. A holder
renews its claim every few seconds. A claim's life is judged by its process where that can be asked for, else by
whether it is renewed while one watches: clocks of two machines are never compared.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from gansearch import parsing, storage
from gansearch.errors import ConfigError, ResultsError
from gansearch.object_store import RemotePath, StorageError
from gansearch.paths import RunPaths
from gansearch.storage import Location

RENEW_SECONDS = 5.0
WATCH_SECONDS = 20.0
"""A claim of another machine that is not renewed for so long is taken for dead."""
_UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A driver's claim on a run.

    Attributes:
        id: of this claim, unlike any other.
        host: the driver's machine.
        place: where its process number means something: machine, start of the machine, process namespace.
        pid: its process.
        started: when the process started, as the system counts; tells it from a later one of its number.
        since: when it was made, ISO 8601.
        renewed: how often it was renewed.
    """

    id: str
    host: str
    place: str
    pid: int
    started: str
    since: str
    renewed: int = 0

    def describe(self) -> str:
        """Return who holds the run, and since when."""
        return f"process {self.pid} on {self.host}, since {self.since}"

    @property
    def alive(self) -> bool | None:
        """Whether its process runs; None where that cannot be told from here."""
        if self.place != _place():
            return None
        started = _started(self.pid)
        if started is not None and _UNKNOWN in (started, self.started):
            return None  # a process of that number runs; whether it is the one, its renewals tell
        return started == self.started


def _place() -> str:
    """Return what tells this machine's processes from those of others."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _started(pid: int) -> str | None:
    """Return when a process started; None where none of that number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    try:
        # After the name, which may hold spaces: state is field 3, the start time field 22.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _UNKNOWN  # no such file on this system, or not for this user
    return None if fields[0] == "Z" else fields[19]


class Lease:
    """A run that this process holds, until `release`.

    Attributes:
        claim: what stands in the run directory.
    """

    def __init__(self, run: Location, claim: Claim) -> None:
        self.claim = claim
        self._run = run
        self._path = RunPaths(run).claim(claim.id)
        self._ended = threading.Event()
        self._lost = False
        self._renewer = threading.Thread(target=self._renew, daemon=True, name="lease")
        self._renewer.start()

    @property
    def lost(self) -> bool:
        """Whether another driver took the run over, having taken this one for dead.

        On an object store as of the last renewal: each question there is a request.
        """
        if self._ended.is_set() or isinstance(self._path, RemotePath):
            return self._lost
        return not self._path.exists()

    def release(self) -> None:
        """Give the run back; where the storage is away, the claim goes when somebody finds its process gone."""
        self._ended.set()
        self._renewer.join()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _renew(self) -> None:
        renewed = 0
        while not self._ended.wait(RENEW_SECONDS):
            # A moment in which the storage does not answer is survived; the next renewal may do.
            with contextlib.suppress(ResultsError, OSError):
                if not self._path.exists():
                    self._lost = True
                    return
                renewed += 1
                _write(self._path, dataclasses.replace(self.claim, renewed=renewed))
                # One that is renewed is no mere attempt: it took this driver for dead between the two lines above.
                if any(c.renewed and c.id != self.claim.id for c in _claims(self._run).values()):
                    self._path.unlink(missing_ok=True)
                    self._lost = True
                    return


def _write(path: Location, claim: Claim) -> None:
    storage.write_json(path, dataclasses.asdict(claim))


@contextlib.contextmanager
def held(run: Location) -> Iterator[Lease]:
    """Hold a run for the time of the block.

    Args:
        run: the run directory; may be new.

    Raises:
        ResultsError: when another driver holds it (the message says which and since when), or it cannot be
            written.
    """
    lease = claim(run)
    try:
        yield lease
    finally:
        lease.release()


def claim(run: Location) -> Lease:
    """Claim a run and return the lease; `held` is the safer way.

    Raises:
        ResultsError: as `held`.
    """
    _refuse_if_held(run, own="")
    own = Claim(
        id=uuid.uuid4().hex[:12],
        host=socket.gethostname(),
        place=_place(),
        pid=os.getpid(),
        started=_started(os.getpid()) or _UNKNOWN,
        since=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    path = RunPaths(run).claim(own.id)
    _write(path, own)
    try:
        _refuse_if_held(run, own.id)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Lease(run, own)


def _refuse_if_held(run: Location, own: str) -> None:
    """Raise ResultsError where another driver holds the run, or claims it at this moment; remove dead claims.

    Args:
        run: the run directory.
        own: id of this driver's claim where it has made one. A claim that has come since is of a driver that claims
            too and does not renew yet: of that one, waiting would tell nothing.
    """
    for path, found in _claims(run).items():
        if found.id == own:
            continue
        if found.alive is not False if own else _lives(path, found):
            raise ResultsError(
                f"{run} is held by another driver: {found.describe()}",
                hint=f"`gansearch status {run}` shows what it does, `gansearch stop {run}` ends it",
            )
        _remove(path)


def _remove(path: Location) -> None:
    """Remove the claim of a dead driver."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ResultsError(
            f"cannot remove {path}, which a dead driver left: {storage.reason(error)}",
            hint="check the permissions there",
        ) from error


def _claims(run: Location) -> dict[Location, Claim]:
    there: list[Location] = list(RunPaths(run).claims.glob("[!._]*.json"))
    found = {}
    for path in sorted(there, key=str):
        claim_there = _read(path)
        if claim_there is not None:
            found[path] = claim_there
    return found


def _read(path: Location) -> Claim | None:
    """Return the claim of a file; None where it is gone.

    Raises:
        ResultsError: when it is no claim.
    """
    try:
        return parsing.build(Claim, json.loads(path.read_text(encoding="utf-8")), "it")
    except FileNotFoundError:
        return None
    except StorageError:
        raise
    except (OSError, ValueError, ConfigError) as error:
        raise ResultsError(
            f"{path} is not a driver's claim: {error}", hint="remove it if no sweep runs there"
        ) from error


def _lives(path: Location, found: Claim) -> bool:
    """Return whether a claim's driver lives, watching it where its process cannot be asked for."""
    if found.alive is not None:
        return found.alive
    until = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < until:
        now = _read(path)
        if now is None:
            return False
        if now.renewed != found.renewed:
            return True
        time.sleep(min(RENEW_SECONDS / 5, 1.0))
    return False
