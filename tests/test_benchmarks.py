"""What benchmarks rest on: their batches are those of training, and their sums are right."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from benchmarks import cwdm
from benchmarks.balls import Balls
from benchmarks.step_parts import parts_of
from benchmarks.timed_work import Timed, idle_shares
from benchmarks.translation_steps import joint_step, random_slabs
from configs import quickstart
from lift_jax.data.cache import cache_subjects
from lift_jax.data.slabs import RandomSlab
from lift_jax.data.subject import foreground, foreground_box


def test_random_slabs_have_the_form_of_those_of_training(tmp_path):
    joint = joint_step(quickstart.get_config("tiny"))
    subject = cache_subjects(Balls(("ball",), joint.channels.protocols, (6, 16, 16)), tmp_path, threads=1)[0]
    slab = RandomSlab(6, (16, 16), joint.channels).random_map(subject, np.random.default_rng(0))
    made = random_slabs(joint.channels, (3, 6, 16, 16))
    assert {name: x.shape[1:] for name, x in made.items()} == {name: x.shape for name, x in slab.items()}
    assert {x.dtype for x in made.values()} == {x.dtype for x in slab.values()} == {np.dtype(np.float32)}


def test_the_parts_of_a_step_are_all_there_and_reach_their_parameters():
    config = quickstart.get_config("tiny")
    config.loss.update(pixel=1.0, similarity=0.5, through_plane=0.5)
    parts = parts_of(config, (1, 4, 16, 16))
    losses = {f"loss: {name}" for name in ("pixel", "similarity", "through_plane")}
    assert set(parts) == {"encoder", "mixer", "decoder", "optimizer"} | losses
    for name in ("encoder", "mixer", "decoder"):
        function, arrays = parts[name]
        gradients = jax.eval_shape(function, *arrays)
        assert jax.tree.structure(gradients) == jax.tree.structure(arrays)


def test_a_part_is_idle_while_it_does_nothing():
    busy = [("read", 0.0, 2.0), ("predict", 2.0, 6.0), ("read", 2.0, 3.0), ("write", 6.0, 10.0)]
    assert idle_shares(busy) == pytest.approx({"read": 0.7, "predict": 0.6, "write": 0.6})


def test_timed_work_notes_parts_that_fail_too():
    class Fails:
        def read(self, index):
            raise ValueError(index)

        def outputs(self, index):
            return [index]

    timed = Timed(Fails())
    assert timed.outputs(3) == [3]
    with pytest.raises(ValueError, match="7"):
        timed.read(7)
    assert [part for part, *_ in timed.busy] == ["read"]


def test_the_ball_fills_of_a_volume_what_a_brain_fills():
    balls = Balls(("ball",), joint_step(quickstart.get_config("tiny")).channels.protocols, (62, 96, 96))
    inside = foreground(balls.load(0), balls.protocols, balls.protocols)
    assert 0.14 < inside.mean() < 0.18
    assert np.prod(foreground_box(inside).shape) < 0.5 * inside.size


def test_the_peer_takes_a_thousand_steps():
    assert cwdm.times_fewer(7.17e12) == 1000
    assert cwdm.times_faster(58.0) == 1000


def test_synthesis_imports_nothing_that_it_does_not_run():
    names = ("grain", "jinja2", "matplotlib", "scipy.stats", "tensorboardX")
    code = (
        "import sys; from lift_jax.tasks import TASKS, translation_synthesis; "
        f"print([name for name in {names!r} if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
