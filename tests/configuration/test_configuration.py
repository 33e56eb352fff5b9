import importlib
import json
import math

import pytest
from ml_collections import ConfigDict

from lift_jax.config import differences, from_json, missing_mr, to_json, validate
from lift_jax.errors import UserError

EXPERIMENTS = [
    ("quickstart", ""),
    ("quickstart", "tiny"),
    ("quickstart", "no_mixer"),
    ("brats_missing_mr", ""),
    ("brats_missing_mr", "no_mixer"),
    ("brats_missing_mr", "small"),
    ("phantom_unconditional", ""),
    ("phantom_unconditional", "tiny"),
    ("brats_unconditional", ""),
    ("synthrad_mr_to_ct", ""),
    ("synthrad_mr_to_ct", "no_mixer"),
    ("synthrad_mr_to_ct", "phantom"),
    ("synthrad_cbct_to_ct", ""),
    ("mr_to_ct_multi", "tiny"),
    ("t1_to_flair", ""),
    ("t1_to_flair", "bids_tiny"),
    ("brats_unconditional", "small"),
]

REFUSED_OF_GENERATION = [
    ("data.dataset", "dicom"),
    ("data.targets", ("flair",)),
    ("data.targets", ("t1n", "t2f")),
    ("data.sources", ("t1n",)),
    ("data.spacing", 0.0),
    ("data.size", (32, 0, 32)),
    ("model.encoder.kind", "vgg"),
    ("model.generator.widths", ()),
    ("model.generator.depth_to_space", 3),
    ("model.mapper.hidden", 0),
    ("features.grids", (1, 0)),
    ("features.dtype", "float16"),
    ("loss.field", "softmin"),
    ("loss.particles", "segments"),
    ("loss.temperatures", (0.2, 0.0)),
    ("model.prior.init", "pricipal"),
    ("stages", ("mapper", "generator")),
    ("stages", ("encoder", "mapper")),
    ("stages", ("generator", "mapper")),
    ("stage.encoder.mask_ratio", 1.0),
    ("stage.generator.batch", 1),
    ("stage.generator.reconstruction_weight", -1.0),
    ("stage.generator.latent_interpolation", 1.0),
    ("inference.temperature", 0.0),
    ("stage.mapper.batch", 1),
    ("stage.mapper.positives", 100_000),
    ("stage.mapper.chunk", 0),
    ("stage.mapper.positions", 1),
]

REFUSED = [
    ("task", "segmentation"),
    ("data.dataset", "dicom"),
    ("data.root", ""),
    ("data.spacing", 0.0),
    ("data.targets", ("t1n", "flair")),
    ("data.sources", ("t1n", "pet")),
    ("data.hu_range", (3000.0, -1024.0)),
    ("loss.bone", 1.0),
    ("loss.bone", -1.0),
    ("data.size", (32, 0, 32)),
    ("data.subjects.train", 0),
    ("data.subjects.validation", 0),
    ("data.crop", (0, 100)),
    ("data.crop", (64, 0)),
    ("data.source_drop", 1.0),
    ("data.source_drop", -0.1),
    ("data.threads", 0),
    ("model.translator.widths", ()),
    ("model.translator.blocks", 0),
    ("model.translator.space_to_depth", 3),
    ("model.translator.dtype", "float16"),
    ("model.mixer.kind", "lstm"),
    ("model.mixer.hidden", 0),
    ("model.mixer.grid", 0),
    ("optimizer.clip_norm", 0.0),
    ("stages", ()),
    ("stages", ("joint", "polish")),
    ("stages", ("joint", "joint")),
    ("stage.joint.steps", 0),
    ("stage.joint.batch", -1),
    ("stage.joint.slices", 0),
    ("optimizer.accumulate", 0),
    ("optimizer.accumulate", 2),
    ("checkpoint.every_steps", 0),
    ("checkpoint.max_to_keep", 0),
    ("log.every_steps", 0),
    ("log.validate_every_steps", 0),
    ("log.validation_subjects", 0),
    ("inference.chunk", -1),
    # found by tests/test_fuzzing.py
    ("optimizer.clip_norm", None),
    ("data.source_drop", None),
    ("stage.joint.mixer_learning_rate", math.nan),
    ("loss.pixel", math.inf),
    ("model.translator.widths", ("a",)),
    ("model.translator.widths", (None,)),
    ("model.translator.widths", ((64,),)),
    ("model.translator.widths", (8,) * 20_000),
    ("data.size", (32, 32)),
    ("data.crop", ()),
    ("seed", 2**70),
    ("data.crop", (10**5000, 0)),
    ("seed", True),
    ("data.root", "a\0b"),
]


def experiment(name="quickstart", variant=""):
    return importlib.import_module(f"configs.{name}").get_config(variant)


def changed(config, values):
    """The configuration with the dotted keys of `values` set."""
    config.update_from_flattened_dict(values)
    return config


@pytest.mark.parametrize(("name", "variant"), EXPERIMENTS)
def test_every_experiment_is_valid_and_passes_through_json(name, variant):
    config = changed(experiment(name, variant), {"data.root": "subjects"})
    assert validate(config) is config
    again = from_json(to_json(config), "config.json")
    assert again.to_dict() == config.to_dict()
    assert differences(again, config) == []
    part = "generator" if config.task == "generation" else "translator"
    assert again.model[part].widths == config.model[part].widths  # tuples, as networks need them


@pytest.mark.parametrize("name", sorted({name for name, _ in EXPERIMENTS}))
def test_a_variant_that_does_not_exist_is_refused_by_name(name):
    with pytest.raises(UserError, match="'huge'"):
        experiment(name, "huge")


def test_an_experiment_cannot_grow_keys():
    with pytest.raises(AttributeError, match="learning_rate"):
        experiment().learning_rate = 1.0


@pytest.mark.parametrize(("key", "value"), REFUSED)
def test_a_value_that_cannot_work_is_refused_by_the_name_of_its_key(key, value):
    config = experiment("brats_missing_mr" if key == "data.root" else "quickstart")
    changed(config, {key: value})
    with pytest.raises(UserError) as refusal:
        validate(config)
    assert str(refusal.value).startswith(f"config.{key}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("key", "value"), REFUSED_OF_GENERATION)
def test_a_value_that_cannot_work_in_generation_is_refused_by_the_name_of_its_key(key, value):
    with pytest.raises(UserError) as refusal:
        validate(changed(experiment("phantom_unconditional"), {"loss.particles": "segment", key: value}))
    assert str(refusal.value).startswith(f"config.{key}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("loss.field", "kernel_gradiant", "near it is kernel_gradient")],
)
def test_a_misspelled_name_is_reported_with_what_it_resembles(key, value, message):
    with pytest.raises(UserError, match=rf"^config\.{key}: '{value}' is none of .*; {message}$"):
        validate(changed(experiment("phantom_unconditional"), {key: value}))


def test_a_name_like_no_other_is_reported_with_what_there_is():
    with pytest.raises(UserError, match=r"is none of slice, segment, volume, unordered, unordered_segment$"):
        validate(changed(experiment("phantom_unconditional"), {"loss.particles": "xyz"}))


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"model.prior.init": "random"}, "stage.generator.reconstruction_weight"),
    ],
)
def test_settings_of_generation_that_do_not_go_together_are_refused(values, key):
    with pytest.raises(UserError, match=rf"^config\.{key}: "):
        validate(changed(experiment("phantom_unconditional"), values))


@pytest.mark.parametrize("planes", [(), ("axial", "oblique")])
def test_no_planes_and_unknown_ones_are_refused(planes):
    with pytest.raises(UserError, match=r"^config\.loss\.planes"):
        validate(changed(experiment("phantom_unconditional"), {"loss.planes": planes}))


def test_a_pretrained_encoder_needs_its_weights():
    values = {"model.encoder.kind": "resnet18", "stages": ("generator", "mapper")}
    with pytest.raises(UserError, match=r"^config\.model\.encoder\.weights"):
        validate(changed(experiment("phantom_unconditional"), values))


def test_a_mixer_stage_needs_a_mixer():
    config = changed(experiment("quickstart", "no_mixer"), {"stages": ("translator", "mixer")})
    with pytest.raises(UserError, match=r"^config\.stages: there is a stage mixer"):
        validate(config)


@pytest.mark.parametrize(("variant", "rates"), [("", (0.0, 0.0)), ("no_mixer", (0.0, 1e-3))])
def test_a_stage_that_would_train_nothing_is_refused(variant, rates):
    config = experiment("quickstart", variant)
    changed(
        config,
        dict(zip(("stage.joint.translator_learning_rate", "stage.joint.mixer_learning_rate"), rates, strict=True)),
    )
    with pytest.raises(UserError, match=r"^config\.stage\.joint: "):
        validate(config)


def test_a_loss_without_terms_is_refused():
    config = changed(experiment(), {"loss.pixel": 0.0, "loss.similarity": 0.0, "loss.through_plane": 0.0})
    with pytest.raises(UserError, match=r"^config\.loss: "):
        validate(config)


def test_settings_of_stages_that_do_not_run_are_not_looked_at():
    validate(changed(experiment(), {"stage.mixer.steps": 0}))


@pytest.mark.parametrize(
    "edit",
    [
        lambda values: values.update(color="blue"),
        lambda values: values["data"].update(color="blue"),
        lambda values: values["model"]["mixer"].update(color="blue"),
    ],
)
def test_json_with_an_unknown_key_is_refused_by_name(edit):
    values = json.loads(to_json(experiment()))
    edit(values)
    with pytest.raises(UserError, match=r"^runs/a/config\.json: .*color"):
        from_json(json.dumps(values), "runs/a/config.json")


def test_json_with_a_missing_key_is_refused_by_name():
    values = json.loads(to_json(experiment()))
    del values["optimizer"]["clip_norm"]
    with pytest.raises(UserError, match=r"config\.json: .*clip_norm"):
        from_json(json.dumps(values), "config.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"seed": 1', "null"])
def test_text_that_is_no_configuration_is_refused_in_one_line(text):
    with pytest.raises(UserError, match=r"^config\.json: ") as refusal:
        from_json(text, "config.json")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("key", "value"), [("seed", "one"), ("data", 3), ("model.mixer", "gru"), ("stages", 1)])
def test_json_with_a_value_of_another_type_is_refused(key, value):
    values = json.loads(to_json(experiment()))
    *sections, last = key.split(".")
    inner = values
    for section in sections:
        inner = inner[section]
    inner[last] = value
    with pytest.raises(UserError, match=r"^config\.json: "):
        from_json(json.dumps(values), "config.json")


@pytest.mark.parametrize(
    ("task", "message"), [("", "task '' is none of"), (None, "task None"), ([], "unhashable type: 'list'")]
)
def test_json_of_no_task_is_refused_with_those_there_are(task, message):
    with pytest.raises(UserError, match=rf"^config\.json: not a configuration of this version \({message}"):
        from_json(json.dumps({"task": task}), "config.json")


def test_json_with_a_number_beyond_all_floats_is_refused():
    values = json.loads(to_json(experiment()))
    values["optimizer"]["clip_norm"] = 10**400
    with pytest.raises(UserError, match=r"^config\.json: not a configuration of this version"):
        from_json(json.dumps(values), "config.json")


def test_json_that_holds_a_value_that_cannot_work_is_refused_by_its_key():
    values = json.loads(to_json(experiment()))
    values["stage"]["joint"]["steps"] = -5
    with pytest.raises(UserError, match=r"config\.stage\.joint\.steps"):
        from_json(json.dumps(values), "config.json")


def test_differences_name_nested_keys_with_both_values():
    there = experiment()
    here = changed(experiment(), {"seed": 4, "model.mixer.hidden": 32, "data.targets": ("t2f",)})
    assert differences(there, there) == []
    assert differences(there, here) == [
        "data.targets (('t1n', 't1c', 't2w', 't2f') there, ('t2f',) here)",
        "model.mixer.hidden (64 there, 32 here)",
        "seed (0 there, 4 here)",
    ]


def test_lists_and_tuples_do_not_differ():
    config = changed(missing_mr(), {"data.size": (48, 48, 48)})
    other = from_json(to_json(changed(config.copy_and_resolve_references(), {"data.spacing": 4.0})), "c")
    assert differences(config, other) == ["data.spacing (0.0 there, 4.0 here)"]


def test_channels_of_the_user_pass_through_json_in_the_order_of_sources_and_targets():
    config = experiment("t1_to_flair")
    config.data.root = "subjects"
    again = from_json(to_json(validate(config)), "c")
    assert again.data.channels.to_dict() == {"T1": "mr_quantile", "FLAIR": "mr_quantile"}
    assert again.data.sources == ("T1",) and again.data.targets == ("FLAIR",)


@pytest.mark.parametrize("channels", [{"T1": 3}, {"T1": "mr_max"}, {"T1 w": "unit"}, {"T1": "unit"}])
def test_channels_that_cannot_work_are_refused(channels):
    config = experiment("t1_to_flair")
    config.data.root = "subjects"
    config.data.channels = ConfigDict(channels)
    with pytest.raises(UserError, match=r"^config\.data\."):
        validate(config)
