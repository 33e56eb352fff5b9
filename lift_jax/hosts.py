"""The processes of one run, on one machine or many: how they find each other, agree, and share work.

JAX's own model: every process runs the same program and drives its own devices. A process that is alone does, in the
same functions, without any of this.
"""

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from lift_jax.errors import UserError

SHUTDOWN_SECONDS = 3600
"""For which processes that are done wait for the first one, which writes reports."""


HANG_SECONDS = 1800
"""Without a step after which a process of many is ended: longer than any validation, by far."""


def join(
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    *,
    seconds: int,
    heartbeat: int = 100,
    hang: int = HANG_SECONDS,
) -> None:
    """Makes this process one of a run of many, as the arguments or, without any, the environment say.

    To be called before JAX looks for devices. `processes` of 1 runs alone wherever that is.

    Args:
      coordinator: `host:port` of process 0, at a port that is free there.
      processes: how many there are.
      process: this one's number, from 0.
      seconds: for which the others are waited for, before JAX ends this process.
      heartbeat: seconds of silence after which a process counts as dead, and JAX ends the others.
      hang: what `hang_seconds` gives from now on.

    Raises:
      UserError: only some of the three are given, or the numbers do not fit, or the cluster cannot be made out.
    """
    given = {"coordinator": coordinator, "processes": processes, "process": process}
    missing = [name for name, value in given.items() if value is None]
    nothing = len(missing) == len(given)
    shown = shows_cluster(os.environ)
    if processes == 1 or (nothing and not shown and not _may_be_tpu_host()):
        return
    if not nothing:
        _check(given, missing)
    # JAX would otherwise note SIGTERM in its own handler, which knows no second signal and is deaf between stages.
    jax.config.update("jax_enable_preemption_service", False)
    method = None if nothing else "deactivate"
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            cluster_detection_method=method,
            initialization_timeout=seconds,
            heartbeat_timeout_seconds=heartbeat,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
    except (ValueError, IndexError, RuntimeError) as error:
        if nothing and not shown:
            return  # a TPU, and no slice of several hosts
        reason = " ".join(str(error).split())
        raise UserError(
            f"{coordinator or 'the cluster in the environment'}: cannot be joined ({reason}); "
            "give --coordinator=HOST:PORT, --processes and --process, or --processes=1 to run alone"
        ) from None
    post("hang_seconds", str(hang))


def _check(given: Mapping, missing: Sequence[str]) -> None:
    if missing:
        raise UserError(f"--{missing[0]}: not given; --coordinator, --processes and --process go together")
    coordinator, processes, process = given.values()
    if not coordinator.rpartition(":")[2].isdigit() or ":" not in coordinator:
        raise UserError(f"--coordinator: {coordinator}: names no port; give HOST:PORT")
    if not 0 <= process < processes:
        raise UserError(f"--process: {process} is none of 0 to {processes - 1}; there are {processes} by --processes")


def shows_cluster(environment: Mapping[str, str]) -> bool:
    """Whether this process was started as one of several, by SLURM's srun, Open MPI or a TPU's host list.

    JAX finds out the rest. A batch script of SLURM's outside srun is one process, whatever it has reserved.
    """
    counts = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    several = any(int(environment.get(name) or 1) > 1 for name in counts)
    return several or "," in environment.get("TPU_WORKER_HOSTNAMES", "")


def _may_be_tpu_host() -> bool:
    """Whether there is a TPU here; its machine's metadata, which JAX asks, then names other hosts."""
    device = os.path.exists("/dev/accel0") or os.path.exists("/dev/vfio/0")
    return device and importlib.util.find_spec("libtpu") is not None


def are_many() -> bool:
    """Whether the run has more processes than this one."""
    return jax.process_count() > 1


def report(line: str) -> None:
    """Prints a line on standard error, above a progress bar if there is one; of several processes the first does."""
    if is_first():
        tqdm.write(line, file=sys.stderr)


def is_first() -> bool:
    """Whether this is the process that logs and writes reports."""
    return jax.process_index() == 0


def own_share(count: int) -> range:
    """Which of `count` pieces of work are this process's: every n-th of n processes."""
    return range(jax.process_index(), count, jax.process_count())


def wait_for_all(name: str) -> None:
    """Returns when all processes have called this; `name` identifies the meeting point."""
    if are_many():
        multihost_utils.sync_global_devices(name)


def any_process(flag: bool) -> bool:
    """Whether the flag of any process is set; to be called by all."""
    return bool(np.any(multihost_utils.process_allgather(np.bool_(flag)))) if are_many() else flag


def gathered(value) -> list:
    """What all processes hold, in their order, on each of them; of what JSON can hold, with nan and infinities."""
    if not are_many():
        return [value]
    text = np.frombuffer(json.dumps(value, default=float).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(text.size))
    padded = np.pad(text, (0, int(sizes.max()) - text.size))
    texts = multihost_utils.process_allgather(padded)
    return [json.loads(bytes(row[:size])) for row, size in zip(np.asarray(texts), sizes, strict=True)]


def broadcast_from_first(tree):
    """The arrays of process 0 on all processes, which have them in the same shapes; to be called by all."""
    return multihost_utils.broadcast_one_to_all(tree) if are_many() else tree


def all_gather_json(pieces: Mapping[int, object]) -> list:
    """What all processes made of their shares, `{number: JSON}`, as one list in the order of the numbers."""
    together = {int(number): piece for share in gathered(pieces) for number, piece in share.items()}
    return [together[number] for number in sorted(together)]


def assert_equal_across_processes(what: str, digest: str) -> None:
    """Refuses to go on where processes differ.

    Args:
      what: that must be the same, for the message.
      digest: a hash of it.

    Raises:
      UserError: on all processes, naming the first that differs from process 0.
    """
    digests = gathered(digest)
    other = next((i for i, theirs in enumerate(digests) if theirs != digests[0]), None)
    if other is not None:
        raise UserError(
            f"{what} of process {other} is not that of process 0 (hashes {digests[other][:8]} and {digests[0][:8]}); "
            "start all with the same command on the same files"
        )


def post(topic: str, text: str) -> None:
    """Leaves a text of this process where all can read it, in place of the one before; nobody waits for it."""
    if (store := _store()) is not None:
        with contextlib.suppress(RuntimeError):  # the coordinator is gone; JAX reports it
            store.key_value_set(f"lift_jax/{topic}/{jax.process_index()}", text, allow_overwrite=True)


def posted(topic: str) -> dict[int, str]:
    """The texts that processes have left under a topic, by their numbers."""
    texts = []
    if (store := _store()) is not None:
        with contextlib.suppress(RuntimeError):
            texts = store.key_value_dir_get(f"lift_jax/{topic}/")
    return {int(key.rpartition("/")[2]): text for key, text in texts}


def hang_seconds() -> float:
    """After how long without a step this process is to be ended, see `join`."""
    return float(posted("hang_seconds").get(jax.process_index(), HANG_SECONDS))


def end_process(line: str) -> None:
    """Ends this process at once, with status 1 and a line, whatever its other threads wait for."""
    sys.stderr.write(f"\nprocess {jax.process_index()}: {line}\n")  # there may be a progress bar in this line
    sys.stderr.flush()
    os._exit(1)


def _store():
    """The key-value store that JAX's coordinator keeps for all processes; None if there is none.

    JAX uses it itself and gives no public way to it.
    """
    try:
        from jax._src.distributed import global_state

        return global_state.client
    except (ImportError, AttributeError):
        return None
