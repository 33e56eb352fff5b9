"""Writes the reference pages of the configuration and of the command line from the code.

python -m scripts.make_reference --output docs/reference

`tests/docs/test_reference.py` fails where the pages in the repository are not those of the code.
"""

import argparse
import ast
import contextlib
import fnmatch
import html
import inspect
import io
import pathlib
import re
import tokenize

from ml_collections import ConfigDict

import configs
from lift_jax import cli
from lift_jax.config.common import shared_defaults
from lift_jax.config.documents import TASKS

TITLES = {"translation": "Translation (LiFT-C)", "generation": "Generation (LiFT-U)"}

NOTE = "<!-- Written by scripts/make_reference.py; do not edit. -->"

KEYS = f"""{NOTE}
# Configuration

A config file holds `get_config(variant="") -> ConfigDict`. It starts from the defaults of its task, such as
`translation()`, and sets what its experiment decides. Any key can be set on the command line:

<!-- needs: an editor -->
```
lift-jax train --config quickstart --workdir DIR --config.stage.joint.steps=100 "--config.stages=('joint',)"
```

Values are Python literals. `config.data.channels` and `config.data.suffixes` take keys of your own.
"""


def comments_of(defaults) -> dict[str, str]:
    """Dotted key to the comment behind its default in the source; `*` stands for a name that is computed.

    Args:
      defaults: the function that makes the defaults. Private functions of its module are read too.
    """
    source = inspect.getsource(inspect.getmodule(defaults))
    lines = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}

    def visit(key: str, value: ast.expr) -> None:
        if isinstance(value, ast.Call) and value.args and isinstance(value.args[0], ast.Dict):
            value = value.args[0]
            for name, entry in zip(value.keys, value.values, strict=True):
                visit(f"{key}.{name.value}", entry)
        if value.end_lineno in lines:
            found[key] = lines[value.end_lineno]

    for function in ast.parse(source).body:
        if isinstance(function, ast.FunctionDef) and (function.name == defaults.__name__ or function.name[0] == "_"):
            for statement in ast.walk(function):
                if isinstance(statement, ast.Assign):
                    visit(_dotted(statement.targets[0]), statement.value)
    return found


def _dotted(target: ast.expr) -> str:
    """`config.stage[name]` as `stage.*`; the name in front of a section is left out if it is `config`."""
    text = re.sub(r"\[(\w+)\]", ".*", ast.unparse(target))
    return text.removeprefix("config.")


def comment_of(key: str, comments: dict[str, str]) -> str:
    """The comment of a key, of the nearest section above it where it has none of its own."""
    for pattern, comment in comments.items():
        if fnmatch.fnmatchcase(key, pattern):
            return comment
    section = key.rpartition(".")[0]
    return comment_of(section, comments) if section else ""


def rows(section: ConfigDict, prefix: str, comments: dict[str, str]) -> list[str]:
    """A row of the table for every key of a section, those of its sections included."""
    lines = []
    for name, value in section.items():
        key = f"{prefix}{name}"
        if isinstance(value, ConfigDict) and len(value):
            lines += rows(value, f"{key}.", comments)
        else:
            shown = "{}" if isinstance(value, ConfigDict) else repr(value)
            meaning = html.escape(comment_of(key, comments), quote=False).replace("|", "\\|")
            lines.append(f"| `{key}` | `{shown}` | {meaning} |")
    return lines


def configuration_page() -> str:
    """All keys of both tasks with their defaults, and the config files that are shipped."""
    parts = [KEYS]
    for task, title in TITLES.items():
        comments = comments_of(shared_defaults) | comments_of(TASKS[task][0])
        defaults = TASKS[task][0]()
        parts.append(f"## {title}\n")
        for name, value in defaults.items():
            if not isinstance(value, ConfigDict):
                continue
            parts.append(f"### {task}: {name}\n\n| key | default | meaning |\n|---|---|---|")
            parts.append("\n".join(rows(value, f"{name}.", comments)) + "\n")
        plain = ConfigDict({name: value for name, value in defaults.items() if not isinstance(value, ConfigDict)})
        parts.append(f"### {task}: other keys\n\n| key | default | meaning |\n|---|---|---|")
        parts.append("\n".join(rows(plain, "", comments)) + "\n")
    parts.append("## Configurations that are shipped\n\n| name | what it trains |\n|---|---|")
    parts.append("\n".join(f"| `{name}` | {summary} |" for name, summary in shipped()))
    return "\n".join(parts) + "\n"


def shipped() -> list[tuple[str, str]]:
    """Names of the config files and the first sentence of each."""
    found = []
    for path in sorted(pathlib.Path(configs.__path__[0]).glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if text:
            found.append((path.stem, " ".join(text.split("\n\n")[0].split())))
    return found


def command_page() -> str:
    """The help of every command."""
    parts = [f"{NOTE}\n# Command line\n", *_block(["--help"])]
    for name in cli.COMMANDS:
        parts += [f"## {name}\n", *_block([name, "--help"])]
    return "\n".join(parts)


def _block(arguments: list[str]) -> list[str]:
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
        cli.dispatch(arguments)
    return ["```text", output.getvalue().rstrip(), "```\n"]


PAGES = {"configuration.md": configuration_page, "command_line.md": command_page}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder of the pages")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
