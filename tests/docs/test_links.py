"""Links and pictures of all pages lead somewhere, headings included; the README is short."""

import re
import urllib.parse

import pytest

from tests.docs.pages import DOCS, PAGES, REPOSITORY, name, text_without_code

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
README_WORDS = 700


def anchors(page):
    """The anchors of a page's headings, as Markdown renderers make them: lower case, hyphens for blanks."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), flags=re.MULTILINE
    )
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings(page):
    broken = []
    for target in LINK.findall(text_without_code(page)):
        parts = urllib.parse.urlsplit(target)
        if parts.scheme:
            assert parts.scheme in ("https", "mailto"), target
            continue
        linked = (page.parent / parts.path).resolve() if parts.path else page
        if not linked.exists() or (parts.fragment and parts.fragment not in anchors(linked)):
            broken.append(target)
        elif DOCS in page.parents and DOCS not in linked.parents:
            broken.append(f"{target} is not part of the site")
    assert not broken


def test_every_page_is_in_the_navigation_of_the_site():
    listed = set(re.findall(r"[\w/]+\.md", (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {str(page.relative_to(DOCS)) for page in PAGES if DOCS in page.parents}


def test_every_picture_is_shown_on_a_page():
    shown = {path for page in PAGES for path in re.findall(r"images/[\w.]+", page.read_text(encoding="utf-8"))}
    assert {str(path.relative_to(DOCS)) for path in (DOCS / "images").iterdir()} == shown


def test_the_readme_is_one_page():
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").split()) <= README_WORDS
