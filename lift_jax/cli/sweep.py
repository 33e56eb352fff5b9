"""Compare variants of a configuration: train them with several seeds, score them, and write a report.

usage: lift-jax sweep --sweep NAME_OR_FILE[:VARIANT] --workdir DIR [options]

The same command resumes a stopped sweep. sweep.csv, sweep.md and sweep.html are written after every run.

examples:
  lift-jax sweep --sweep drifting_fields --workdir runs/fields
  lift-jax sweep --sweep particles:tiny --workdir runs/particles --parallel=2
"""

import sys

from lift_jax.cli.arguments import Parser, add_device_argument, positive, required
from lift_jax.cli.process import Say, prepare_jax, run_until_stopped


def add_arguments(parser: Parser) -> None:
    """The options of the command."""
    parser.add_argument("--sweep", metavar="NAME", help="a shipped sweep or a file, and :VARIANT")
    parser.add_argument("--workdir", metavar="DIR", help="folder for runs, shared stages, tables and the page")
    parser.add_argument(
        "--parallel",
        type=positive,
        default=1,
        metavar="N",
        help="runs in parallel, each on the next GPU (1)",
    )
    add_device_argument(parser)


def run(arguments, say: Say) -> dict:
    """Trains and scores what is left to do; failed runs count as errors."""
    prepare_jax(arguments.device)
    required(arguments.sweep, "--sweep")
    required(arguments.workdir, "--workdir")
    import jax

    from lift_jax.paths import resolve_local_path
    from lift_jax.sweeps import load_sweep
    from lift_jax.sweeps.parallel import run_in_processes
    from lift_jax.sweeps.plan import check_runs, plan_runs
    from lift_jax.sweeps.report import write_sweep
    from lift_jax.sweeps.scheduler import run_all, run_local

    name, workdir, parallel = arguments.sweep, resolve_local_path(arguments.workdir), arguments.parallel
    sweep = load_sweep(name)
    runs = plan_runs(sweep, workdir)
    # With several processes this one must not open the devices, which would take their memory: each has one of its own.
    check_runs(runs, jax.device_count() if parallel == 1 else 1)
    failures = {}

    def report(work, reason):
        directory = work.directory.relative_to(workdir)
        if reason is not None:
            failures[work.directory] = reason
            print(f"{directory}: failed: {reason}", file=sys.stderr)
        else:
            say(f"{directory}: {'trained and scored' if work.scored else f'trained stage {work.stage}'}")
        if work.scored:
            write_sweep(sweep, runs, workdir, failures, title=name)

    runner = run_local if parallel == 1 else run_in_processes(parallel)
    page = workdir / "sweep.html"
    summary = {"workdir": str(workdir), "runs": len(runs), "done": True, "report": str(page), "errors": []}
    stopped = run_until_stopped(lambda: run_all(runs, workdir, runner, report))
    if stopped:
        say(stopped)
        return summary | {"done": False}
    write_sweep(sweep, runs, workdir, failures, title=name)
    say(f"report: {page}")
    failed = {str(run.directory): failures[run.directory] for run in runs if run.directory in failures}
    if failed:
        print(f"{workdir}: {len(failed)} of {len(runs)} runs failed; sweep.html says which and why", file=sys.stderr)
    return summary | {"errors": failed}
