"""What MkDocs has to know of our pages (mkdocs.yml): README and CHANGELOG are pages too, and code is not.

The pages are written to be read where the code is: a link to a file that is no page is text on the site.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
OUTER = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}  # pages outside docs/, and what they are on the site
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside docs/."""
    for outer, name in OUTER.items():
        files.append(File.generated(config, name, content=(ROOT / outer).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Return a page with its links as they are on the site."""
    names = {name: outer for outer, name in OUTER.items()}
    place = names.get(page.file.src_uri, f"docs/{page.file.src_uri}")  # where the page stands among the code
    return for_site(markdown, place)


def for_site(markdown: str, place: str) -> str:
    """Return a page's text with its links as they are on the site.

    Args:
        markdown: the page.
        place: where it stands among the code.

    >>> for_site("[a](../film/drawn.py), [b](faults.md#x), [c](../README.md)", "docs/design.md")
    'a, [b](faults.md#x), [c](index.md)'
    >>> for_site("![a](docs/a.svg)", "README.md")
    '![a](a.svg)'
    """

    def link(match: re.Match[str]) -> str:
        image, text, target = match.groups()
        path, hash_sign, anchor = target.partition("#")
        if "://" in target or not path:
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
        if file not in OUTER and not (file.startswith("docs/") and posixpath.splitext(file)[1]):
            return text
        return f"{image}[{text}]({OUTER.get(file, file.removeprefix('docs/'))}{hash_sign}{anchor})"

    return LINK.sub(link, markdown)
