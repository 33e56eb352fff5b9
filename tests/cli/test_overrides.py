"""`--config.KEY=VALUE`: texts become values of the type of the default, or a line that says why not."""

import pytest

from lift_jax.config import translation
from lift_jax.config.documents import override, parse_value
from lift_jax.errors import UserError


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ("20_000", 100, 20000),
        ("1e4", 100, 10000),
        ("-3", 1, -3),
        ("2", 0.5, 2),
        ("1e-3", 0.5, 0.001),
        ("true", False, True),
        ("False", True, False),
        ("(32, 64)", (8, 16), (32, 64)),
        ("[32]", (8, 16), (32,)),
        ("32,64", (8, 16), (32, 64)),
        ("7", (8, 16), (7,)),
        ("t1n,t2w", ("t2f",), ("t1n", "t2w")),
        ("('translator', 'mixer')", ("joint",), ("translator", "mixer")),
        ("joint", (), ("joint",)),
        ("", ("joint",), ()),
        ("3", "text", "3"),
        ("a=b,(c", "", "a=b,(c"),
        ("{'PET': 'unit'}", {}, {"PET": "unit"}),
    ],
)
def test_a_text_becomes_a_value_of_the_type_of_the_default(text, default, value):
    parsed = parse_value(text, default)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "default"),
    [
        ("many", 1),
        ("True", 1),
        ("(1, 2)", 1),
        ("x", 0.5),
        ("2", True),
        ("maybe", False),
        ("a,b", (8, 16)),
        ("__import__('os')", 1),
    ],
)
def test_a_text_that_does_not_fit_is_refused(text, default):
    with pytest.raises(ValueError, match="is "):
        parse_value(text, default)


def test_keys_are_set_in_a_copy():
    config = translation()
    changed = override(config, {"stage.joint.steps": "7", "stages": "translator,mixer", "data.root": "0123"})
    assert (changed.stage.joint.steps, changed.stages, changed.data.root) == (7, ("translator", "mixer"), "0123")
    assert config.stage.joint.steps != 7 and changed.is_locked


def test_channels_can_be_named_one_by_one_or_all_at_once():
    config = translation()
    one = override(config, {"data.channels.PET": "unit"})
    assert one.data.channels.PET == "unit"
    everything = override(config, {"data.channels": "{'CT': 'ct_hu'}"})
    assert everything.data.channels.to_dict() == {"CT": "ct_hu"} and everything.data.channels.is_locked


def test_all_that_is_wrong_is_reported_with_the_nearest_key():
    wrong = {"stage.joint.stepps": "3", "optimizer.ema_decay": "much", "stage": "1", "seed": "1.5"}
    with pytest.raises(UserError) as refused:
        override(translation(), wrong)
    lines = str(refused.value).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("config.stage.joint.stepps: there is no such key; near it")
    assert "stage.joint.steps" in lines[0]
    assert lines[1] == "config.optimizer.ema_decay: 'much' is not understood; give a number or a Python literal"
    assert lines[2].startswith("config.stage: is a section; name a key in it, such as stage.")
    assert lines[3].startswith("config.seed: 1.5 is no int")
