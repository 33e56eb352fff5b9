"""The short form of tests/faults.py: three kills of a run smaller still than the tiny ones."""

import random

from tests.cli.test_commands import TINY
from tests.faults import EVALUATE, PHASES, SYNTHESIZE, TRAIN, Course, assert_same, disturb, moments

JOINT = ("--config.stage.joint.steps=6", "--config.stage.joint.slices=8", "--config.checkpoint.every_steps=2")


def test_killed_commands_begun_again_end_as_if_undisturbed(tmp_path, environment):
    config = (*(each for each in TINY if "stage" not in each), *JOINT)
    undisturbed = Course("quickstart", tmp_path / "undisturbed", environment, config)
    seconds = [undisturbed.finish(command) for command in (TRAIN, EVALUATE, SYNTHESIZE)]
    disturbed = Course("quickstart", tmp_path / "killed", environment, config)
    phases = [phase for phase in PHASES["quickstart"] if phase.name in ("caching", "checkpointing", "report writing")]
    assert disturb(disturbed, phases, seconds, random.Random(0)) >= 2
    assert_same(disturbed.results(), undisturbed.results())


def test_moments_are_spread_over_all_phases_in_the_order_of_the_commands():
    for name, phases in PHASES.items():
        chosen = moments(name, 2 * len(phases) + 1, random.Random(0))
        assert {phase: chosen.count(phase) for phase in phases[1:]} == dict.fromkeys(phases[1:], 2)
        assert [phase.command for phase in chosen] == sorted(phase.command for phase in chosen)
