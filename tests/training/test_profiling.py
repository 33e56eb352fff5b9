"""Which steps are traced."""

import pytest

from lift_jax.errors import UserError
from lift_jax.training.run_log import steps_of


@pytest.mark.parametrize(
    ("text", "steps"), [("20,24", (20, 24)), ("20-24", (20, 24)), (" 1 , 1 ", (1, 1)), ("7 - 12", (7, 12))]
)
def test_first_and_last_step_are_reported_with_a_comma_or_a_dash(text, steps):
    assert steps_of(text) == steps


@pytest.mark.parametrize("text", ["", "20", "24,20", "0,4", "1,2,3", "-1,3", "1.5,3", "a,b", "(20, 24)", "9" * 5000])
def test_anything_else_is_refused_in_one_line_by_the_flag(text):
    with pytest.raises(UserError, match=r"^--profile_steps: ") as refusal:
        steps_of(text)
    assert "\n" not in str(refusal.value)
