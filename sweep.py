"""Compares variants of a configuration: trains them with several seeds, scores them, and writes a table and a page.

    python sweep.py --sweep configs/sweeps/drifting_fields.py --workdir runs/sweep

Started again with the same command, a sweep goes on from where it was: runs that are scored stay as they are. What the
runs have in common, such as an encoder, is trained once. `sweep.csv`, `sweep.md` and `sweep.html` are
written after every run.
"""

import sys

from absl import flags

from lift_jax import commands

commands.prepare_jax()

SWEEP = flags.DEFINE_string("sweep", None, "file with get_sweep, and :variant")
WORKDIR = flags.DEFINE_string("workdir", None, "folder for all runs, shared stages, sweep.csv, sweep.md and sweep.html")
PARALLEL = flags.DEFINE_integer(
    "parallel", 1, "runs at a time, each in a process of its own; on GPUs, each on the next one"
)


def main():
    import jax

    from lift_jax.errors import UserError
    from lift_jax.places import local_place
    from lift_jax.sweeps.course import carry_here, follow
    from lift_jax.sweeps.definition import load_sweep
    from lift_jax.sweeps.parallel import carry_in_processes
    from lift_jax.sweeps.plan import check_runs, plan_runs
    from lift_jax.sweeps.report import write_sweep
    from lift_jax.training.preemption import Preempted

    name, workdir = commands.required_path("sweep"), local_place(commands.required_path("workdir"))
    if PARALLEL.value < 1:
        raise UserError(f"--parallel: {PARALLEL.value} must be 1 or more")
    sweep = load_sweep(name)
    runs = plan_runs(sweep, workdir)
    # With several processes this one must not open the devices, which would take their memory: each has one of its own.
    check_runs(runs, jax.device_count() if PARALLEL.value == 1 else 1)
    failures = {}

    def tell(work, reason):
        place = work.directory.relative_to(workdir)
        if reason is not None:
            failures[work.directory] = reason
            print(f"{place}: failed: {reason}", file=sys.stderr)
        else:
            print(f"{place}: {'trained and scored' if work.scored else f'trained stage {work.stage}'}")
        if work.scored:
            write_sweep(sweep, runs, workdir, failures, title=name)

    carry = carry_here if PARALLEL.value == 1 else carry_in_processes(PARALLEL.value)
    try:
        follow(runs, workdir, carry, tell)
    except Preempted as stop:
        print(f"{stop}; the same command goes on from there")
        return
    write_sweep(sweep, runs, workdir, failures, title=name)
    print(f"report: {workdir / 'sweep.html'}")
    failed = [run for run in runs if run.directory in failures]
    if failed:
        raise UserError(f"{workdir}: {len(failed)} of {len(runs)} runs failed; sweep.html says which and why")


if __name__ == "__main__":
    commands.run(main)
