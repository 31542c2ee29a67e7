"""What a sweep needs, checked before it starts: the cluster, its machines, the run directory, the data set."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sized
from pathlib import Path
from typing import Any

from gansearch import storage
from gansearch.core.datasets import load
from gansearch.errors import ResourceError, UserError
from gansearch.object_store import RemotePath
from gansearch.search import probes
from gansearch.search.capacity import check_resources
from gansearch.search.cluster import connected
from gansearch.search.machines import Answer, Machine, ask, listed, machines
from gansearch.search.sections import Resources
from gansearch.search.study import Study
from gansearch.search.versions import HERE, HINT, PACKAGES, differences
from gansearch.storage import Location

OK, WARNING, FAIL = "ok", "warning", "fail"
CLOCK_WARNING, CLOCK_FAIL = 2.0, 300.0
"""Seconds that a clock may be off. Object stores refuse requests whose time is off by a quarter of an hour."""
DISK_WARNING, DISK_FAIL = 10e9, 1e9
"""Free bytes."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was found of one thing.

    Attributes:
        name: what was looked at.
        outcome: `ok`, `warning` or `fail`.
        text: what was found.
        hint: what to do about it; None where nothing is to be done.
    """

    name: str
    outcome: str
    text: str
    hint: str | None = None


def examine(
    study: Study | None = None,
    out: str | Path | None = None,
    *,
    address: str | None = None,
    data_dir: str | Path | None = None,
    download: bool = True,
) -> Iterator[Check]:
    """Check what a sweep needs, one thing after another.

    Each machine is asked by tasks that take no CPU, so a cluster that is busy answers too. What is written to the
    run directory is removed again. A data set that is not here is downloaded, as the sweep would do.

    Args:
        study: says what a trial takes and which data set it needs; without it neither is checked.
        out: the run directory, a path or a URI; without it none is checked.
        address: the cluster, as in `sweep`.
        data_dir: where data sets are looked for, as in `sweep`.
        download: whether a data set that is not here may be downloaded.

    Yields:
        what was found, as soon as it is known; of a cluster that cannot be used, that alone.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(connected(address))
        except UserError as error:
            yield _failed("ray", error)
            return
        there = machines()
        yield _size(there, address or os.environ.get("RAY_ADDRESS"))
        token = ask(there, probes.ask_token)
        if silent := _silent("machines", token):
            yield silent
        there = [machine for machine in there if token[machine].error is None]
        workers = [machine for machine in there if machine.cpus > 0] or there
        yield check_token({machine: token[machine] for machine in there})
        yield check_same_versions(probes.ask_versions(PACKAGES), ask(there, probes.ask_versions, PACKAGES))
        if study is not None:
            yield _room(study.resources)
        with_gpus = [machine for machine in there if machine.gpus > 0]
        yield check_gpus(ask(with_gpus, probes.ask_gpus))
        run = None
        if out is not None:
            check, run = _run_directory(out, workers)
            yield check
        if study is not None:
            data_path = str(Path(data_dir).absolute()) if data_dir else None
            yield _data(study.base.dataset.name, data_path, download, workers)
        yield check_clocks(_clocks(there))
        local = str(run) if isinstance(run, Path) else None
        yield check_disks(ask(there, probes.ask_disk, local))


def _failed(name: str, error: UserError) -> Check:
    return Check(name=name, outcome=FAIL, text=error.message, hint=error.hint)


def _size(there: list[Machine], address: str | None) -> Check:
    cpus, gpus = sum(machine.cpus for machine in there), sum(machine.gpus for machine in there)
    where = "on this machine alone" if address in (None, "local") else f"at {address}, {_count(there)}"
    return Check(name="ray", outcome=OK, text=f"{where}: {cpus:g} CPU and {gpus:g} GPU")


def _count(those: Sized) -> str:
    return f"{len(those)} machine{'' if len(those) == 1 else 's'}"


def check_token(answers: Mapping[Machine, Answer[bool]]) -> Check:
    """Say whether each machine asks for a token."""
    without = [machine.name for machine, answer in answers.items() if answer.value is False]
    if without:
        return Check(
            name="token",
            outcome=FAIL,
            text=f"whoever reaches a port of {listed(without)} can run code there: token authentication is off",
            hint="start every machine's Ray with RAY_AUTH_MODE=token and the same token, see docs/security.md",
        )
    return Check(name="token", outcome=OK, text="token authentication is on")


def check_same_versions(here: dict[str, str | None], answers: Mapping[Machine, Answer[dict[str, str | None]]]) -> Check:
    """Say whether all machines run what this process runs."""
    found = {machine.name: answer.value for machine, answer in answers.items() if answer.value is not None}
    different = differences({HERE: here, **found})
    if different:
        return Check(name="versions", outcome=FAIL, text=f"differ: {'; '.join(different)}", hint=HINT)
    told = ", ".join(f"{name} {here[name]}" for name in ("python", "ray", "torch", "gansearch"))
    return _silent("versions", answers) or Check(name="versions", outcome=OK, text=f"the same everywhere: {told}")


def _room(resources: Resources) -> Check:
    try:
        fit = check_resources(resources)
    except UserError as error:
        return _failed("resources", error)
    asked = f"{resources.cpu:g} CPU and {resources.gpu:g} GPU"
    return Check(name="resources", outcome=OK, text=f"{fit} trials of {asked} fit at a time")


def check_gpus(answers: Mapping[Machine, Answer[int | str]]) -> Check:
    """Say whether torch sees the GPUs that Ray hands out."""
    if not answers:
        return Check(name="gpus", outcome=OK, text="no machine offers a GPU")
    problems = []
    for machine, answer in answers.items():
        if isinstance(answer.value, str):
            problems.append(f"on {machine.name} {answer.value}")
        elif answer.value is not None and answer.value < machine.gpus:
            problems.append(f"Ray hands out {machine.gpus:g} on {machine.name}, where torch sees {answer.value}")
    if problems:
        hint = "`nvidia-smi` there says whether the driver works; torch must be built for its version of CUDA"
        return Check(name="gpus", outcome=FAIL, text=listed(problems), hint=hint)
    count = sum(machine.gpus for machine in answers)
    return _silent("gpus", answers) or Check(name="gpus", outcome=OK, text=f"torch sees all {count:g}")


def check_shared(run: Location) -> None:
    """See that each machine of the cluster reads and writes the run directory.

    Raises:
        ResourceError: when one does not.
    """
    there = machines()
    workers = [machine for machine in there if machine.cpus]
    if len(there) > 1 and workers:
        check, _ = _run_directory(run, workers)
        if check.outcome == FAIL:
            raise ResourceError(check.text, hint=check.hint)


def _run_directory(out: Location | str, workers: list[Machine]) -> tuple[Check, Location | None]:
    """Write a file here that each machine reads and answers with another beside it; return the run directory too."""
    name = "run directory"
    mark = f".doctor-{uuid.uuid4().hex[:12]}"
    replies = {machine: f"{mark}-{number}" for number, machine in enumerate(workers)}
    with contextlib.ExitStack() as stack:
        try:
            run = storage.location(out if isinstance(out, str) else out.absolute()).absolute()
            stack.callback(_remove_made, _missing(run))
            for file in (mark, *replies.values()):
                stack.callback(_remove, run / file)
            storage.write(run / mark, lambda file: file.write(mark.encode()))
            answers = ask(workers, probes.ask_run, str(run), mark, own=replies)
            arrived = {machine: (run / reply).exists() for machine, reply in replies.items()}
        except UserError as error:
            return _failed(name, error), None
        except OSError as error:
            text = f"{run} cannot be written: {storage.reason(error)}"
            return Check(
                name=name, outcome=FAIL, text=text, hint="check the free space and the permissions there"
            ), None
    return check_run(run, answers, arrived), run


def check_run(run: Location, answers: Mapping[Machine, Answer[str | None]], arrived: Mapping[Machine, bool]) -> Check:
    """Say whether each machine has the run directory that is here.

    Args:
        run: the run directory.
        answers: what `ask_run` found on each machine.
        arrived: whether what each machine wrote can be seen here.
    """
    name = "run directory"
    unseen = [
        machine.name
        for machine, answer in answers.items()
        if answer.value == "missing" or (answer.error is None and answer.value is None and not arrived[machine])
    ]
    if unseen:
        return Check(
            name=name,
            outcome=FAIL,
            text=f"{run} is not shared: {listed(unseen)} {'do' if len(unseen) > 1 else 'does'} not see what is there",
            hint="give a folder of a file system that all machines mount under the same path, or a URI such as "
            "s3://bucket/runs/a",
        )
    refused = [f"on {machine.name} it {answer.value}" for machine, answer in answers.items() if answer.value]
    if refused:
        hint = "the processes of Ray need the permission, and a URI's credentials, on every machine"
        return Check(name=name, outcome=FAIL, text=f"{run}: {listed(refused)}", hint=hint)
    text = f"{run} is read and written by {_count(answers)}"
    return _silent(name, answers) or Check(name=name, outcome=OK, text=text)


def _missing(run: Location) -> list[Path]:
    """Return the folders that making the run directory makes, the innermost first."""
    return [] if isinstance(run, RemotePath) else [folder for folder in (run, *run.parents) if not folder.exists()]


def _remove_made(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _remove(file: Location) -> None:
    with contextlib.suppress(OSError, UserError):
        file.unlink(missing_ok=True)


def _data(name: str, data_dir: str | None, download: bool, workers: list[Machine]) -> Check:
    """Load the data set here, and see what copies of it the machines have."""
    try:
        here = load(name, data_dir=Path(data_dir) if data_dir else None, download=download)
    except UserError as error:
        return _failed("data set", error)
    return check_data_copies(name, here.digests, ask(workers, probes.ask_data, name, data_dir))


def check_data_copies(
    name: str, here: Mapping[str, str], answers: Mapping[Machine, Answer[dict[str, str] | str | None]]
) -> Check:
    """Say whether the copies of a data set that machines have are the one that is here.

    A machine needs no copy: a sweep sends its trials the driver's.
    """
    other = [machine.name for machine, answer in answers.items() if answer.value not in (None, dict(here))]
    if other:
        wrong = next(answer.value for answer in answers.values() if answer.value not in (None, dict(here)))
        why = f" ({wrong})" if isinstance(wrong, str) else ""
        return Check(
            name="data set",
            outcome=FAIL,
            text=f"other files of {name} than here are on {listed(other)}{why}",
            hint="delete them: trials are sent what is here, but a sweep resumed there would be refused",
        )
    copies = [machine for machine, answer in answers.items() if answer.value is not None]
    text = f"{name} is here, and the same on {_count(copies)}; trials are sent the one that is here"
    return _silent("data set", answers) or Check(name="data set", outcome=OK, text=text)


def _clocks(there: list[Machine]) -> dict[Machine, Answer[float]]:
    """Return by how many seconds each clock is ahead of this machine's."""
    found: dict[Machine, Answer[float]] = {}
    for machine in there:
        ask([machine], probes.ask_clock)  # a worker's start would count as the way there
        before = time.time()
        answer = ask([machine], probes.ask_clock)[machine]
        after = time.time()
        if answer.value is not None:
            answer = Answer(value=answer.value - (before + after) / 2)
        found[machine] = answer
    return found


def check_clocks(ahead: Mapping[Machine, Answer[float]]) -> Check:
    """Say whether the clocks agree.

    Args:
        ahead: by how many seconds each clock is ahead of this machine's.
    """
    off = {machine.name: answer.value for machine, answer in ahead.items() if answer.value is not None}
    worst = max(off, key=lambda name: abs(off[name]), default=None)
    if worst is not None and abs(off[worst]) > CLOCK_WARNING:
        seconds, way = abs(off[worst]), "ahead of" if off[worst] > 0 else "behind"
        return Check(
            name="clocks",
            outcome=FAIL if seconds > CLOCK_FAIL else WARNING,
            text=f"the clock of {worst} is {seconds:.0f} s {way} this one",
            hint="set it by NTP: `timedatectl` there says whether it is",
        )
    return _silent("clocks", ahead) or Check(name="clocks", outcome=OK, text=f"agree within {CLOCK_WARNING:g} s")


def check_disks(answers: Mapping[Machine, Answer[dict[str, tuple[int, int]]]]) -> Check:
    """Say whether there is room for what Ray and the run write."""
    free = {
        (what, machine.name): space[0]
        for machine, answer in answers.items()
        for what, space in (answer.value or {}).items()
    }
    least = min(free, key=lambda key: free[key], default=None)
    if least is None:
        return _silent("disk", answers) or Check(name="disk", outcome=WARNING, text="no machine told its free space")
    text = f"{free[least] / 1e9:.1f} GB free for {least[0]} on {least[1]}"
    if free[least] < DISK_WARNING:
        outcome = FAIL if free[least] < DISK_FAIL else WARNING
        return Check(name="disk", outcome=outcome, text=text, hint="make room there")
    return _silent("disk", answers) or Check(name="disk", outcome=OK, text=f"at least {text}")


def _silent(name: str, answers: Mapping[Machine, Answer[Any]]) -> Check | None:
    """Return the failure of machines that gave no answer; None where all did."""
    errors = [f"{machine.name} {answer.error}" for machine, answer in answers.items() if answer.error]
    if not errors:
        return None
    hint = "`ray status` shows whether it is alive; its logs are in Ray's temporary files there, under session_latest"
    return Check(name=name, outcome=FAIL, text=listed(errors), hint=hint)
