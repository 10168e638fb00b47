"""The project's pages, as far as tests look into them: code blocks, links, headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.tools import ROOT

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# Text in brackets, then the target; pictures too. A target has no spaces here.
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text()

    def blocks(self, language: str) -> list[str]:
        """The code blocks that are marked with that language, without their indentation."""
        found = []
        for indent, marked, code in _BLOCK.findall(self.text):
            if marked == language:
                found.append("".join(line.removeprefix(indent) for line in code.splitlines(keepends=True)))
        return found

    def commands(self) -> list[str]:
        """Each command of the `sh` blocks: comments left out, continued lines joined."""
        lines = "".join(self.blocks("sh")).replace("\\\n", " ").splitlines()
        return [re.sub(r" {2,}", " ", line.partition(" # ")[0]).strip() for line in lines if line and line[0] != "#"]

    def links(self) -> list[str]:
        return _LINK.findall(_BLOCK.sub("", self.text))

    def anchors(self) -> set[str]:
        """What `#…` may name, as GitHub makes it of headings."""
        headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", self.text), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def all_pages() -> list[Page]:
    folders = (ROOT, ROOT / "docs", ROOT / "docs" / "decisions", ROOT / "client")
    return [Page(path) for folder in folders for path in sorted(folder.glob("*.md"))]


def page(name: str) -> Page:
    return Page(ROOT / name)
