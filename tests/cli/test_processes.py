"""Runs of several processes on this machine: the same numbers on any topology, and no number lost when one dies.

Every process compiles for itself, so that most of this takes minutes: `make test-hosts`.
"""

import contextlib
import json
import re
import signal
import socket
import time

import jax
import numpy as np
import pytest

from lift_jax.run_directory import checkpoint_directory
from tests.commands import SMALL_GENERATION, SMALL_TRANSLATION, free_port, metrics

SECONDS = 900
"""Bound on any wait: every process compiles for itself, and there may be fewer cores than processes."""

TOPOLOGIES = [(1, 1), (1, 8), (2, 4)]
"""Processes, and devices of each."""

COMMON = [
    "--config.data.subjects.train=8",
    "--config.data.subjects.validation=2",
    "--config.data.subjects.test=3",
    "--config.checkpoint.every_steps=4",
    "--config.log.validate_every_steps=100",
    "--config.log.validation_subjects=2",
    "--config.log.every_steps=1",
]
PAIRED = [
    *SMALL_TRANSLATION,
    *COMMON,
    "--config.data.targets=('t2f',)",
    *(f"--config.stage.{stage}.batch=8" for stage in ("translator", "mixer", "joint")),
    *(f"--config.stage.{stage}.steps=10" for stage in ("translator", "mixer", "joint")),
    *(f"--config.stage.{stage}.slices=4" for stage in ("translator", "mixer", "joint")),
]
TRANSLATION = [*PAIRED, "--config.stages=('translator', 'mixer', 'joint')"]
SHORT = [
    *PAIRED,
    "--config.stages=('translator',)",
    "--config.stage.translator.steps=20",
    "--config.stage.translator.batch=2",
    "--config.data.subjects.train=4",
    "--config.data.subjects.validation=1",
    "--config.data.subjects.test=1",
    "--config.log.validation_subjects=1",
]
GENERATION = [*SMALL_GENERATION, *COMMON, "--config.stages=('encoder', 'generator')"]
AT_RANDOM = [*GENERATION, "--config.model.prior.init=random", "--config.stage.generator.reconstruction_weight=0"]
MAPPER = [*SMALL_GENERATION, *COMMON, "--config.stages=('mapper',)"]  # from one generator: Adam makes more of rounding


def devices_of(count):
    """The surroundings of a process with so many simulated devices."""
    return {"XLA_FLAGS": f"--xla_backend_optimization_level=0 --xla_force_host_platform_device_count={count}"}


def meeting(processes):
    """The flags of each of so many processes."""
    if processes == 1:
        return [[]]
    flags = [f"--coordinator=127.0.0.1:{free_port()}", f"--processes={processes}", "--heartbeat_seconds=20"]
    return [[*flags, f"--process={i}"] for i in range(processes)]


@contextlib.contextmanager
def started(begin, topology, name, *arguments):
    """All processes of a command, ended at the end whatever happens."""
    processes, devices = topology
    running = [begin(name, *arguments, *flags, **devices_of(devices)) for flags in meeting(processes)]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def ended(running):
    """Exit status, output and errors of all processes."""
    outputs = [process.communicate(timeout=SECONDS) for process in running]
    return [(process.returncode, *texts) for process, texts in zip(running, outputs, strict=True)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, begin, shared):
    """A function of arguments and topology: the work directory of such a run, which is made once."""
    made = {}

    def train(arguments, topology):
        key = *arguments, topology
        if key not in made:
            made[key] = tmp_path_factory.mktemp("run")
            cached = f"--config.data.cache={shared / 'cache'}"
            with started(begin, topology, "train", *arguments, cached, f"--workdir={made[key]}") as running:
                results = ended(running)
            assert [code for code, _, _ in results] == [0] * topology[0], results
        return made[key]

    return train


def assert_same_losses(workdir, expected):
    """All lines of two logs, to what float32 keeps of sums in another order."""
    ours, theirs = metrics(workdir), metrics(expected)
    assert [(line["stage"], line["step"]) for line in ours] == [(line["stage"], line["step"]) for line in theirs]
    for a, b in zip(ours, theirs, strict=True):
        numbers = {key: value for key, value in b.items() if key not in ("stage", "step")}
        assert a.keys() == b.keys()
        for key, value in numbers.items():
            # Adam and the stages before have made more of the last digits, which norms of gradients show first.
            loose = {"gradient_norm": 5e-4}.get(key, 1e-2 if key.startswith("validation") else 1e-4)
            np.testing.assert_allclose(a[key], value, rtol=loose, atol=1e-6, err_msg=f"{b['stage']} {b['step']} {key}")


def saved(workdir, stage):
    """The parameters of a stage's newest checkpoint, as they lie on disk."""
    import orbax.checkpoint as ocp

    directory = checkpoint_directory(workdir, stage)
    step = max(int(path.name) for path in directory.iterdir() if path.name.isdigit())
    with ocp.PyTreeCheckpointer() as reader:
        structure = reader.metadata(directory / str(step) / "ema").item_metadata.tree
        return reader.restore(
            directory / str(step) / "ema",
            restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), structure),
        )


@pytest.mark.hosts
@pytest.mark.parametrize("topology", TOPOLOGIES[1:], ids=["1x8", "2x4"])
@pytest.mark.parametrize(
    "arguments, stages",
    [
        (TRANSLATION, ("translator", "mixer", "joint")),
        (GENERATION, ("encoder",)),  # a last layer that begins at zero is, at first, what Adam makes of rounding
        (AT_RANDOM, ("encoder", "generator")),
        (MAPPER, ("mapper",)),
    ],
    ids=["translation", "generation", "at_random", "mapper"],
)
def test_any_topology_takes_the_same_steps_as_one_device(trained, arguments, stages, topology):
    if arguments is MAPPER:
        arguments = [*arguments, f"--config.start_from={trained(GENERATION, (1, 1))}"]
    alone, many = trained(arguments, (1, 1)), trained(arguments, topology)
    assert_same_losses(many, alone)
    for stage in stages:
        theirs, ours = saved(alone, stage), saved(many, stage)
        for expected, actual in zip(jax.tree.leaves(theirs), jax.tree.leaves(ours), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def when_saved(workdir, stage, running):
    """Waits until a stage has a checkpoint."""
    deadline = time.monotonic() + SECONDS
    directory = checkpoint_directory(workdir, stage)
    while not list(directory.glob("[0-9]")) and all(process.poll() is None for process in running):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert all(process.poll() is None for process in running), ended(running)


def test_a_run_of_two_processes_one_of_which_is_killed_goes_on_on_one_device(tmp_path, trained, begin, shared):
    arguments = [*SHORT, f"--config.data.cache={shared / 'cache'}", f"--workdir={tmp_path}"]
    with started(begin, (2, 1), "train", *arguments) as running:
        when_saved(tmp_path, "translator", running)
        running[1].kill()
        (code, _, errors), _ = ended(running)
    assert code != 0
    assert "another" in errors
    with started(begin, (1, 1), "train", *arguments) as running:
        ((code, _, errors),) = ended(running)
    assert code == 0, errors
    assert_same_losses(tmp_path, trained(SHORT, (1, 1)))


@pytest.mark.hosts
def test_two_processes_of_which_one_is_asked_to_stop_save_the_same_step(tmp_path, trained, begin, shared):
    """What goes on is one process of eight devices, with the optimizer's state divided, and traced."""
    arguments = [*TRANSLATION, f"--config.data.cache={shared / 'cache'}", f"--workdir={tmp_path}"]
    with started(begin, (2, 4), "train", *arguments) as running:
        when_saved(tmp_path, "translator", running)
        running[1].send_signal(signal.SIGTERM)
        results = ended(running)
    assert [code for code, _, _ in results] == [0, 0], results
    stage, step = re.search(r"(\w+): stopped as asked, saved at step (\d+) of 10; the same", results[0][1]).groups()
    assert "stopped" not in results[1][1]
    assert (checkpoint_directory(tmp_path, stage) / step / "state").is_dir()
    more = ["--config.optimizer.shard_state=True", "--profile_steps=3,4"]
    with started(begin, (1, 8), "train", *arguments, *more) as running:
        ((code, _, errors),) = ended(running)
    assert code == 0, errors
    assert list((tmp_path / "tensorboard" / "joint" / "plugins" / "profile").rglob("*.xplane.pb"))
    assert_same_losses(tmp_path, trained(TRANSLATION, (1, 1)))


def test_processes_with_other_configurations_are_refused(tmp_path, begin):
    meetings = meeting(2)
    arguments = [*TRANSLATION, f"--workdir={tmp_path / 'run'}"]
    running = [
        begin("train", *arguments, f"--config.seed={i}", *flags, **devices_of(1)) for i, flags in enumerate(meetings)
    ]
    for code, output, errors in ended(running):
        assert code == 1, errors
        assert "trained" not in output
        assert "the configuration of process 1 is not that of process 0" in errors.splitlines()[0]
    assert not (tmp_path / "run").exists()


def test_a_coordinator_that_does_not_answer_is_named(tmp_path, begin):
    address = f"127.0.0.1:{free_port()}"
    flags = [f"--coordinator={address}", "--processes=2", "--process=1", "--join_seconds=1"]
    ((code, output, errors),) = ended([begin("train", *TRANSLATION, f"--workdir={tmp_path / 'run'}", *flags)])
    assert (code, output) == (1, "")
    assert errors == f"{address}: not all processes met there in 1 s; see --join_seconds\n"


def slurm(index, port):
    """The environment that srun gives task `index` of two; JAX makes the port out of the job's number."""
    return {
        "SLURM_JOB_ID": str(port - 61440),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
    }


@pytest.mark.hosts
def test_two_tasks_of_slurm_score_the_subjects_as_one_process_does(tmp_path, trained, command, begin):
    workdir = trained(TRANSLATION, (2, 4))
    arguments = ["evaluate", f"--workdir={workdir}"]
    assert command(*arguments, f"--output={tmp_path / 'one'}", **devices_of(1)).returncode == 0
    port = next(port for port in range(61440, 65536) if is_free(port))
    running = [
        begin(*arguments, f"--output={tmp_path / 'two'}", **devices_of(2), **slurm(index, port)) for index in range(2)
    ]
    results = ended(running)
    assert [code for code, _, _ in results] == [0, 0], results
    assert "report:" in results[0][1] and "report:" not in results[1][1]
    one, two = ((tmp_path / name / "cases.csv").read_text() for name in ("one", "two"))
    assert one == two
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two"))
    assert one["aggregates"] == two["aggregates"]


def is_free(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0
