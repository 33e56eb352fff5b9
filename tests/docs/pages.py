"""The pages of the documentation, and what tests take from them."""

import pathlib
import re

REPOSITORY = pathlib.Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted({*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md")})

_FENCE = re.compile(r"^(?P<fence>```+)(?P<language>\w*)\n(?P<body>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE)
_COMMANDS = re.compile(
    r"(?P<needs><!-- needs: [^\n]+ -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE
)


def text_without_code(page: pathlib.Path) -> str:
    """A page without its code blocks and code spans."""
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text(encoding="utf-8")))


def command_blocks(page: pathlib.Path) -> list[list[str]]:
    """The commands of every block without language that is not marked as needing something; lines are joined."""
    blocks = []
    for block in _COMMANDS.finditer(page.read_text(encoding="utf-8")):
        if not block["needs"] and not block["language"]:
            lines = block["body"].replace("\\\n", " ").splitlines()
            blocks.append([line.split("  #")[0].strip() for line in lines if line.strip()])
    return blocks


def name(page: pathlib.Path) -> str:
    """A page's path in the repository."""
    return str(page.relative_to(REPOSITORY))
