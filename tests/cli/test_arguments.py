"""The argument parser: help that fits a screen, nearest names, and overrides of a configuration."""

import importlib
import subprocess
import sys

import pytest

from lift_jax import cli
from lift_jax.cli.arguments import Parser, add_common_arguments, describe, split_overrides
from lift_jax.errors import UserError
from tests.commands import REPOSITORY, SECONDS


def parser_of(name):
    module = importlib.import_module(f"lift_jax.cli.{name}")
    parser = Parser(f"lift-jax {name}", **describe(module.__doc__))
    module.add_arguments(parser)
    add_common_arguments(parser)
    return parser


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_fits_a_screen_and_ends_with_examples(name, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.dispatch([name, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert len(lines) <= 40 and max(map(len, lines)) <= 120
    examples = lines[lines.index("examples:") + 1 :]
    assert examples and all(line.startswith(f"  lift-jax {name}") for line in examples)


def test_every_option_of_an_example_is_known():
    for name in cli.COMMANDS:
        lines = describe(importlib.import_module(f"lift_jax.cli.{name}").__doc__)["epilog"].splitlines()[1:]
        for line in lines:
            words, _ = split_overrides(line.partition(" > ")[0].split()[2:])
            parser_of(name).parse(words)


def test_the_commands_are_listed(capsys):
    assert cli.dispatch([]) == cli.dispatch(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in cli.COMMANDS)


def test_help_imports_neither_jax_nor_numpy():
    code = (
        "import sys; from lift_jax.cli import dispatch\ntry: dispatch(['train', '--help'])\nexcept SystemExit: pass\n"
    )
    code += "sys.exit(bool({'jax', 'numpy', 'scipy'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=SECONDS, capture_output=True)
    assert run.returncode == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["trian"], r"trian: no such command; .*near it is train"),
        (["train", "--workdr=x"], "--workdr: no such option; near it is --workdir"),
        (["train", "--work=x"], "--work: no such option"),  # no abbreviations, which a new option would break
        (["train", "--zzz"], "--zzz: no such option; see lift-jax train --help"),
        (["train", "steps=3"], "steps=3: not an option"),
        (["train", "--device=gup"], "--device: invalid choice: 'gup'"),
        (["train", "--processes=0"], "--processes: 0 must be 1 or more"),
        (["train", "--processes=many"], "--processes: 'many' is not a whole number"),
        (["train", "--workdir"], "--workdir: expected one argument"),
        (["train", "--config.seed"], "--config.seed: has no value"),
        (["train"], "--workdir: not given"),
        (["train", "--workdir=x"], "--config: not given"),
        (["evaluate", "--workdir=x", "--protocol=cwdm"], "--protocol: does not apply without --predictions"),
        (["evaluate", "--predictions=x", "--root=y"], "--root: does not apply with --predictions"),
        (["sweep", "--parallel=0"], "--parallel: 0 must be 1 or more"),
        (["check", "--root=x", "--channels=T1"], "--channels: give NAME=VALUE"),
        (["view"], "FILE"),
    ],
)
def test_what_is_not_understood_is_one_line(given, message):
    with pytest.raises(UserError, match=message) as refused:
        cli.dispatch(given)
    assert "\n" not in str(refused.value)


def test_words_of_options_may_be_joined_by_dashes():
    parsed = parser_of("train").parse(["--join-seconds=7", "--profile-steps", "3,4", "--workdir=a-b"])
    assert (parsed.join_seconds, parsed.profile_steps, parsed.workdir) == (7, "3,4", "a-b")


def test_overrides_are_taken_out_of_the_options():
    given = ["--config=a", "--config.stage.joint.steps=3", "--config.data.root", "x=y", "--workdir=z"]
    rest, overrides = split_overrides(given)
    assert rest == ["--config=a", "--workdir=z"]
    assert overrides == {"stage.joint.steps": "3", "data.root": "x=y"}
