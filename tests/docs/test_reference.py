"""The reference pages are those of the code: no key, flag or message is out of date."""

import fnmatch
import re

import pytest

from scripts.make_reference import PAGES
from tests.docs.pages import DOCS, REPOSITORY


@pytest.mark.parametrize("page", PAGES)
def test_reference_pages_are_those_of_the_code(page):
    written = (DOCS / "reference" / page).read_text(encoding="utf-8")
    assert written == PAGES[page](), "run python -m scripts.make_reference --output docs/reference"


def test_every_key_has_a_meaning():
    rows = re.findall(r"^\| `[\w.]+` \| .*$", PAGES["configuration.md"](), flags=re.MULTILINE)
    assert len(rows) > 100
    assert not [row for row in rows if row.endswith("|  |")]


def test_every_message_of_the_troubleshooting_page_is_one_of_the_program():
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)`", page, flags=re.MULTILINE)
    sources = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "lift_jax").rglob("*.py")]
    assert len(messages) > 20
    assert not [message for message in messages if not any(message in source for source in sources)]


def test_keys_that_pages_name_exist():
    known = set(re.findall(r"^\| `([\w.]+)` \|", PAGES["configuration.md"](), flags=re.MULTILINE))
    known |= {section for key in known for section in (key.rpartition(".")[0], key.split(".")[0])}
    named = re.compile(
        r"\bconfig\.((?:data|model|loss|stage|optimizer|checkpoint|log|inference|features)(?:\.[\w*]+)*)"
    )
    for page in DOCS.rglob("*.md"):
        for key in named.findall(page.read_text(encoding="utf-8")):
            free = key.startswith(("data.channels.", "data.suffixes."))
            assert free or "studies" in page.parts or fnmatch.filter(known, key), f"{page}: {key}"
