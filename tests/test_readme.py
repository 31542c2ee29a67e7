"""The README does what it says: every block is run, or says why it is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.pages import Block, blocks, commands, missing_lines, run

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RUN_LANGUAGES = ("console", "python", "yaml")


def test_every_block_is_run_or_says_why_not() -> None:
    found = blocks(README)
    assert len([b for b in found if b.not_run is None]) >= 5
    for block in found:
        assert block.language in RUN_LANGUAGES or block.not_run, f"line {block.line}: {block.language or 'no language'}"


def test_pictures_and_links_are_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README.read_text(encoding="utf-8"))
    local = [t for t in targets if "://" not in t]
    assert any(t.endswith(".png") for t in local)
    for target in local:
        assert (ROOT / target).exists(), target


@pytest.mark.slow
def test_blocks_do_what_they_show(tmp_path: Path) -> None:
    """Run the blocks in their order, in one folder, as a reader would."""
    for block in blocks(README):
        if block.not_run is None:
            _run_block(block, tmp_path)


def _run_block(block: Block, folder: Path) -> None:
    where = f"README line {block.line}"
    if block.language == "yaml":
        name = re.match(r"# (\S+\.yaml)\n", block.text)
        assert name, f"{where}: a YAML block names its file in its first line"
        assert yaml.safe_load(block.text)
        (folder / name[1]).write_text(block.text, encoding="utf-8")
    elif block.language == "python":
        script = folder / f"block_{block.line}.py"
        script.write_text(block.text, encoding="utf-8")
        done = run(f"python {script}", folder)
        assert done.returncode == 0, f"{where}:\n{done.stderr}"
    else:
        for command, shown in commands(block.text):
            done = run(command, folder)
            assert done.returncode == 0, f"{where}: {command}\n{done.stderr}"
            assert not missing_lines(shown, done.stdout + done.stderr), (
                f"{where}: {command}\n{done.stdout}{done.stderr}"
            )
