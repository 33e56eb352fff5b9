"""What a training step sends between devices."""

import jax
import pytest

from benchmarks.collectives import collective_bytes
from benchmarks.scaling import DEVICES, generation, translation
from configs import quickstart
from tests.small_generation import small_config

HLO = """
  %param.3 = f32[2,2]{1,0} parameter(0), metadata={op_name="all-gather(x)"}
  %all_gather.3 = f32[8,2]{1,0} all-gather(%param.3), channel_id=1, dimensions={0}
  %all-reduce = (f32[3,5]{1,0}, bf16[], s32[4]{0}) all-reduce(%a, %b, %c), channel_id=1, to_apply=%region_1.0
  %get-tuple-element.2 = f32[3,5]{1,0} get-tuple-element(%all-reduce), index=0
  %other = f32[7]{0} all-reduce-start(%d), channel_id=2
  %done = f32[7]{0} all-reduce-done(%other)
"""


def test_collectives_are_counted_with_the_bytes_of_their_results():
    assert collective_bytes(HLO) == {"all-gather": (1, 64), "all-reduce": (2, 60 + 2 + 16 + 28)}


def sent(problem):
    lowered, _, _ = problem.lower(DEVICES)
    return {kind: size for kind, (_, size) in collective_bytes(lowered.as_text("hlo")).items()}


def test_a_mapper_step_sends_gradients_and_features_however_large_the_volumes():
    """Of the depth's Fourier features, a mapper of twice the slices has one frequency more, and its gradient."""
    config = small_config()
    beside_gradients = []
    for side in (16, 32):
        problem = generation(config, side, DEVICES)
        bytes_sent = sent(problem)
        assert set(bytes_sent) == {"all-gather", "all-reduce"}
        bytes_sent["all-reduce"] -= sum(4 * leaf.size for leaf in jax.tree.leaves(problem.state.params["mapper"]))
        beside_gradients.append(bytes_sent)
    small, large = beside_gradients
    assert small == large and small["all-reduce"] > 0


def test_a_translation_step_sends_its_gradients_and_a_handful_of_scalars():
    problem = translation(quickstart.get_config("tiny"), 16, DEVICES)
    parameters = sum(4 * leaf.size for group in problem.state.params.values() for leaf in jax.tree.leaves(group))
    assert set(sent(problem)) == {"all-reduce"}
    assert sent(problem)["all-reduce"] == pytest.approx(parameters, abs=64)
