"""README and docs: what they link to is there, and every option is described."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.procfs import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_links_to_what_is_there(page: Path):
    """No link within the project is dead, no picture missing."""
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    within = [link.partition("#")[0] for link in links if not link.startswith(("https://", "http://", "#"))]
    assert [link for link in within if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["server.py", "client.py"])
def test_every_option_is_described_once(name: str):
    """What --help names has one row in docs/options.md, in the table of both programs or in that of its own."""
    told = subprocess.run([sys.executable, name, "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^  (-.*?)(?:  |$)", told, re.MULTILINE)
    options = {option for line in lines for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)} - {"--help"}
    rows = described("both") + described(name)
    assert sorted(rows) == sorted(options)


def described(table: str) -> list[str]:
    """Return the options that stand in the first cells of a table of docs/options.md."""
    text = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    rows = text.partition(f"| {table} | |\n")[2].partition("\n\n")[0]
    cells = "\n".join(re.findall(r"^\|(.*?)(?<!\\)\|", rows, re.MULTILINE))
    return re.findall(r"(?<![\w-])--[a-z][a-z-]*", cells)


def test_docs_are_a_site(tmp_path: Path):
    """Every page is in the site's table of contents, and no link or anchor in any of them leads nowhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "Ball over WebRTC" in index
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', index)  # nothing is asked for elsewhere


def test_workflow_in_the_docs_is_one(tmp_path: Path):
    """The example for GitHub Actions is what GitHub takes, and keeps the run as an artefact."""
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "report.md").read_text(encoding="utf-8"), re.DOTALL)
    workflow = tmp_path / "vision.yml"
    workflow.write_text(block, encoding="utf-8")
    check = Path(sys.executable).with_name("check-jsonschema")
    command = [str(check), "--builtin-schema", "vendor.github-workflows", str(workflow)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "upload-artifact" in block


def test_readme_is_one_page():
    """Whoever begins reads two hundred lines and no more."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
