"""Pages: which files of the project are the site's, and where their links lead there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

PROJECT: Final = Path(__file__).parents[2]
PAGES: Final = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/RESULTS.md",
    "clients/javascript/README.md",
    "deploy/README.md",
    "docs/*.md",
]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name the sections as the links between the documents do."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take the documents from where they are: links from one to another hold."""
    for pattern in PAGES:
        for path in sorted(PROJECT.glob(pattern)):
            name = path.relative_to(PROJECT).as_posix()
            files.append(File(name, str(PROJECT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **others: Any) -> str:
    """Leave the name of what is in the repository, but no page; what is nowhere fails the build."""
    folder = (PROJECT / page.file.src_uri).parent

    def linked(link: re.Match[str]) -> str:
        target = (folder / link["target"]).resolve()
        known = not target.exists() or files.get_file_from_path(_name(target))
        return link[0] if known else link["text"]

    return re.sub(r"\[(?P<text>[^\]]+)\]\((?P<target>[^):#]+)\)", linked, markdown)


def _name(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()
