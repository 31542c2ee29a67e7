"""`sample` and `export` on a real run."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from gansearch import results
from gansearch.config_files import load_config_file
from gansearch.kept_models import find_weights, load_model
from gansearch.paths import RunPaths, TrialKey
from gansearch.training import weights_digest
from tests.cli.conftest import CONFIG, FULL, OTHER, PUBLISHED, SEEDS, Gansearch, Place

LEADER = TrialKey(CONFIG.config_id, SEEDS[0], "confirm")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_the_sheet_of_a_run_is_that_of_its_leaders_first_confirm_seed(place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("sample", place.run, "--zoom", "1")
    assert (code, out) == (0, "samples.png\n")
    assert err.startswith(f"100 samples of configuration {CONFIG.config_id}, confirm seed {SEEDS[0]}, epoch ")
    table = results.read(place.run, "samples")
    (kept,) = table[(table["kind"] == "sheet") & (table["seed"] == SEEDS[0])]["png"]
    np.testing.assert_array_equal(_pixels(Path("samples.png")), np.asarray(Image.open(io.BytesIO(kept))))


def test_the_size_of_a_sheet(place: Place, gansearch: Gansearch) -> None:
    gansearch("sample", place.run, "-n", "7", "--columns", "3", "--zoom", "2", "-o", "a.png")
    # Three rows and three columns of 8 x 8 images, a line of one pixel around each, everything doubled.
    assert _pixels(Path("a.png")).shape == (2 * (3 * 9 + 1), 2 * (3 * 9 + 1))
    gansearch("sample", place.run, "-n", "2", "-o", "b.png")
    assert _pixels(Path("b.png")).shape == (7 * (1 * 9 + 1), 7 * (2 * 9 + 1))


def test_the_seed_decides_the_noise(place: Place, gansearch: Gansearch) -> None:
    for name, seed in (("own", str(SEEDS[0])), ("other", "5")):
        gansearch("sample", place.run, "--seed", seed, "-o", f"{name}.png")
    gansearch("sample", place.run, "-o", "default.png")
    np.testing.assert_array_equal(_pixels(Path("own.png")), _pixels(Path("default.png")))
    assert (_pixels(Path("other.png")) != _pixels(Path("default.png"))).any()


def test_a_trained_configuration_is_sampled_from_its_folder_or_its_file(place: Place, gansearch: Gansearch) -> None:
    gansearch("best", place.run, "-o", "best.yaml")
    gansearch("train", "best.yaml", "--epochs", "2", "--out", "trained")
    assert gansearch("sample", "trained", "-o", "a.png")[0] == 0
    path = find_weights(Path("trained"))
    assert gansearch("sample", path, "-o", "b.png")[0] == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    gansearch("train", "best.yaml", "--epochs", "3", "--out", "trained")
    code, _, err = gansearch("sample", "trained")
    assert code == 2
    assert "several configurations were trained there" in err
    assert "hint: add --config-id" in err
    config_id = load_model(path).spec.config.config_id
    assert gansearch("sample", "trained", "--config-id", config_id, "-o", "c.png")[0] == 0
    assert Path("c.png").read_bytes() == Path("a.png").read_bytes()


def test_where_no_weights_are_kept_the_hint_says_how_to_get_them(place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("sample", place.run, "--config-id", OTHER.config_id)
    assert (code, out) == (2, "")
    assert f"keeps no weights of configuration {OTHER.config_id} (weights are kept of: {CONFIG.config_id})" in err
    assert "then gansearch train best.yaml --out" in err


def test_damaged_weights_are_refused(place: Place, gansearch: Gansearch) -> None:
    content = RunPaths(place.run).weights(LEADER).read_bytes()
    Path("cut").write_bytes(content[:-40])
    Path("flipped").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for name in ("cut", "flipped", __file__):
        code, out, err = gansearch("sample", name)
        assert (code, out) == (2, ""), name
        assert "is damaged" in err or "is not a readable checkpoint" in err


def test_export_holds_all_that_is_needed(place: Place, gansearch: Gansearch) -> None:
    code, out, err = gansearch("export", place.run)
    assert (code, out) == (0, "quickstart-export\n")
    assert err.startswith(f"exported configuration {CONFIG.config_id}, confirm seed {SEEDS[0]}")
    folder = Path("quickstart-export")
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "config.yaml",
        "provenance.json",
        "weights.safetensors",
    ]
    provenance = json.loads((folder / "provenance.json").read_text())
    weights = folder / "weights.safetensors"
    assert provenance["weights"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert provenance["weights"]["weights_digest"] == weights_digest(load_file(weights))
    assert {row["protocol_id"] for row in provenance["rows"]} >= {FULL.id}
    assert all(row["test_evaluation"] == "made" for row in provenance["rows"])
    assert load_config_file(folder / "config.yaml").config == CONFIG
    assert gansearch("sample", weights, "-o", "a.png")[0] == 0
    assert gansearch("reproduce", folder / "config.yaml")[0] == 0


def test_damaged_rows_may_be_skipped(place: Place, gansearch: Gansearch) -> None:
    shutil.copytree(place.run, "run")
    part = next(Path("run/trials").glob(f"{CONFIG.config_id}-{SEEDS[0]}-confirm-0-{FULL.id}.parquet"))
    part.write_bytes(part.read_bytes()[:100])
    for command in ("sample", "export"):
        code, out, err = gansearch(command, "run")
        assert (code, out, "--skip-damaged" in err) == (2, "", True)
    code, _, err = gansearch("sample", "run", "--skip-damaged")
    assert (code, f"confirm seed {SEEDS[0]}" in err) == (0, True)  # the other protocol's row still says that it ended
    code, out, _ = gansearch("export", "run", "--skip-damaged", "--json")
    assert (code, [row["protocol_id"] for row in json.loads(out)["rows"]]) == (0, [PUBLISHED.id])


def test_export_overwrites_nothing(place: Place, gansearch: Gansearch) -> None:
    Path("mine").mkdir()
    Path("mine/notes").write_text("keep")
    code, _, err = gansearch("export", place.run, "-o", "mine")
    assert (code, err.splitlines()[0]) == (2, "error: mine exists already")
    assert [p.name for p in Path("mine").iterdir()] == ["notes"]


def test_export_of_a_trained_configuration_trains_again(place: Place, gansearch: Gansearch) -> None:
    gansearch("best", place.run, "-o", "best.yaml")
    gansearch("train", "best.yaml", "--epochs", "2", "--seed", "9", "--out", "trained")
    code, out, _ = gansearch("export", "trained", "-o", "model", "--json")
    assert code == 0
    digest = json.loads(out)["weights"]["weights_digest"]
    code, out, _ = gansearch("train", "model/config.yaml", "--out", "again", "--json")
    (row,) = json.loads(out)["rows"]
    assert (row["seed"], row["weights_digest"]) == (9, digest)


def test_a_run_without_confirm_says_how_to_keep_weights(place: Place, gansearch: Gansearch) -> None:
    shutil.copytree(place.run, "run")
    for part in (*Path("run/trials").glob("*-confirm-*"),):
        part.unlink()
    code, _, err = gansearch("export", "run")
    assert code == 2
    assert "keeps no weights" in err
