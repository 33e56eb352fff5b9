"""Write a web page that shows NIfTI volumes side by side, and needs no network.

usage: lift-jax view FILE... [options]

The files share one grid: a source, the truth and a prediction, for example.

examples:
  lift-jax view t1.nii.gz truth.nii.gz prediction.nii.gz --open
  lift-jax view ct.nii.gz --level=40 --window=80 --output=brain.html
"""

import webbrowser

from lift_jax.cli.arguments import Parser
from lift_jax.cli.process import Say


def add_arguments(parser: Parser) -> None:
    """The options of the command."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="NIfTI files (.nii, .nii.gz) on one grid")
    parser.add_argument("--output", default="view.html", metavar="FILE", help="the page to write (view.html)")
    parser.add_argument("--level", type=float, metavar="X", help="intensity in the middle of the gray scale")
    parser.add_argument("--window", type=float, metavar="X", help="width of the gray scale")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")


def run(arguments, say: Say) -> dict:
    """Writes the page."""
    from lift_jax.evaluation.report.viewer import write_viewer
    from lift_jax.paths import resolve_local_path

    output = resolve_local_path(arguments.output)
    page = write_viewer(arguments.files, output, level=arguments.level, window=arguments.window)
    say(page)
    if arguments.open and not webbrowser.open(page.resolve().as_uri()):
        say(f"no browser here; open {page} in one")
    return {"page": str(page), "files": arguments.files}
