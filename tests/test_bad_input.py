"""What a user can get wrong: one message, a hint, exit code 2, no traceback, nothing written, nothing lost."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gansearch.cli import main
from tests.analysis.rows import config, confirm_rows, trial_row, write_run

BASE = "base: {dataset: {name: digits}}\n"
GOOD = BASE + "space: {algorithm.k: {int: [1, 5]}}\nnum_trials: 4\n"

STUDIES = {
    "misspelt key of a study": (
        GOOD + "num_trails: 3\n",
        "unknown key 'num_trails'",
        "did you mean 'num_trials'?",
    ),
    "misspelt parameter": (
        BASE + "space: {momentum.lrg: {loguniform: [0.01, 0.2]}}\nnum_trials: 4\n",
        "no parameter is called 'momentum.lrg'",
        "did you mean 'momentum.lr_g'?",
    ),
    "misspelt kind": (
        BASE + "space: {momentum.lr_g: {loguniforn: [0.01, 0.2]}}\nnum_trials: 4\n",
        "loguniforn",
        "did you mean 'loguniform'?",
    ),
    "misspelt section of the base": (
        "base: {discriminators: {pieces: 3}}\nspace: {algorithm.k: {int: [1, 5]}}\nnum_trials: 4\n",
        "unknown key 'discriminators'",
        "did you mean 'discriminator'?",
    ),
    "value out of range": (
        "base: {discriminator: {dropout_hidden: 1.5}}\nspace: {algorithm.k: {int: [1, 5]}}\nnum_trials: 4\n",
        "discriminator.dropout_hidden must be a probability of dropping in [0, 1), got 1.5",
        None,
    ),
    "bound out of range": (
        BASE + "space: {algorithm.k: {int: [0, 5]}}\nnum_trials: 4\n",
        "algorithm.k must be 1 or more, got 0",
        None,
    ),
    "bounds the wrong way round": (
        BASE + "space: {momentum.lr_g: {uniform: [0.2, 0.1]}}\nnum_trials: 4\n",
        "0.2",
        None,
    ),
    "empty space": (BASE + "space: {}\nnum_trials: 4\n", "space is empty: no parameter is searched", "at least one"),
    "contradictory space": (
        BASE + "space: {adam.beta1: {uniform: [0.1, 0.9], when: {update.rule: adam}}}\nnum_trials: 4\n",
        "update.rule is always momentum, so the parameter could never act",
        "search update.rule as well",
    ),
    "base outside its own bounds": (
        BASE + "space: {momentum.lr_g: {loguniform: [0.2, 0.4]}}\nnum_trials: 4\n",
        "the base's momentum.lr_g is 0.1, outside the space",
        "widen the range",
    ),
    "no number of trials": (BASE + "space: {algorithm.k: {int: [1, 5]}}\n", "needs the key 'num_trials'", None),
    "not YAML": ("base: {dataset: [digits\nspace: :\n", "study.yaml", None),
    "YAML that builds objects": (
        "base: !!python/object/apply:os.system ['touch owned']\n" + GOOD,
        "!!python/object/apply:os.system",
        None,
    ),
    "a configuration for a study": (
        "config: {dataset: {name: digits}}\n",
        "this is a configuration, not a study",
        "gansearch train",
    ),
    "unknown data set": (
        "base: {dataset: {name: mnits}}\nspace: {algorithm.k: {int: [1, 5]}}\nnum_trials: 4\n",
        "mnits",
        "did you mean 'mnist'?",
    ),
    "minibatch larger than the data set": (
        "base: {dataset: {name: digits}, algorithm: {batch_size: 2000}}\n"
        "space: {algorithm.k: {int: [1, 5]}}\nnum_trials: 4\n",
        "the data set 'digits' has 1,197 training images, fewer than a minibatch of 2,000",
        "algorithm.batch_size",
    ),
    "data set missing": (
        "base: {dataset: {name: mnist}}\nspace: {algorithm.k: {int: [1, 5]}}\nnum_trials: 4\n",
        "no-data-here",
        "--data-dir",
    ),
}


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must be refused; return what it says."""
    code = main(arguments)
    output = capsys.readouterr()
    assert code == 2
    assert output.out == ""
    lines = output.err.strip().splitlines()
    assert "Traceback" not in output.err
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1
    assert all(line.startswith(("error: ", "hint: ", "sweep ")) for line in lines), output.err
    return output.err


@pytest.mark.parametrize("case", STUDIES)
def test_a_bad_study_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, message, hint = STUDIES[case]
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(text, encoding="utf-8")
    said = _refused(
        capsys, "sweep", "study.yaml", "--out", "run", "--data-dir", str(tmp_path / "no-data-here"), "--no-download"
    )
    assert message in said
    if hint is not None:
        assert hint in said.partition("hint: ")[2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["study.yaml"]


def test_a_good_study_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cases above differ from this one in what they are about."""
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(GOOD, encoding="utf-8")
    assert main(["sweep", "study.yaml", "--out", "run", "--dry-run"]) == 0
    assert "algorithm.k" in capsys.readouterr().out


def test_a_gpu_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    Path("study.yaml").write_text(GOOD + "resources: {gpu: 0.25}\n", encoding="utf-8")
    said = _refused(capsys, "sweep", "study.yaml", "--out", "run")
    assert "each trial asks for 0.25 GPU, but no machine of the cluster has more than 0" in said
    assert "resources.gpu" in said
    assert not Path("run").exists()


def test_a_gpu_that_is_not_there_for_one_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    Path("config.yaml").write_text("config: {dataset: {name: digits}}\n", encoding="utf-8")
    said = _refused(capsys, "train", "config.yaml", "--device", "cuda", "--out", "run")
    assert "a GPU is asked for, but PyTorch sees none here" in said
    assert not Path("run").exists()


def _contents(folder: Path) -> dict[str, str]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_a_run_directory_that_holds_another_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    write_run(run, [trial_row(config(), 11, score=7.5)])
    (run / "sweep.yaml").write_text("name: another\n", encoding="utf-8")
    before = _contents(run)
    said = _refused(capsys, "sweep", "quickstart", "--out", str(run))
    assert "already holds a sweep" in said
    assert _contents(run) == before


def test_a_truncated_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named; `--skip-damaged` reads the rest."""
    run = tmp_path / "run"
    rows = [row for seed in (11, 12) for row in confirm_rows(config(), seed, 7.5 + seed, 6.5 + seed)]
    write_run(run, [*rows, trial_row(config(), 13, score=7.25)])
    damaged = next((run / "trials").glob("*-11-confirm-*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    before = _contents(run)
    for command in ("best", "table1"):
        said = _refused(capsys, command, str(run))
        assert str(damaged) in said
        assert "--skip-damaged" in said
    assert main(["best", str(run), "--skip-damaged"]) == 0
    assert "config_id" in capsys.readouterr().out
    assert _contents(run) == before


def test_not_a_run_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("best", "table1", "status", "stop", "sample", "export"):
        assert str(tmp_path) in _refused(capsys, command, str(tmp_path))
