"""LiFT-C's training for MR to CT."""

import functools

import jax
from ml_collections import ConfigDict

from lift_jax import run_directory
from lift_jax.data.pair_sources import pair_source
from lift_jax.data.paired_windows import TakePair
from lift_jax.data.splits import check_members
from lift_jax.models.build import configured_translator, initial_parameters
from lift_jax.places import Place
from lift_jax.training.cases import agree_on_cases, cache_shared
from lift_jax.training.ct_loss import ct_loss
from lift_jax.training.ct_validation import validate_ct
from lift_jax.training.starting import starting_parameters
from lift_jax.training.translator_stages import check_batches, train_stages, training_size


def train_ct_translation(config: ConfigDict, workdir: Place) -> None:
    """Trains all stages of a configuration in a work directory, going on from its checkpoints if it has any.

    Raises:
      UserError: before any training, if configuration, data, devices or work directory do not fit; later on a full
        disk, or when too many steps have no finite loss.
    """
    check_batches(config, jax.device_count())
    data = config.data
    sources = {split: pair_source(data, split) for split in ("train", "validation")}
    check_members(sources["train"].names, "train", data.split_file)
    agree_on_cases(sources)
    network = configured_translator(config)
    params = starting_parameters(config, workdir, initial_parameters(network, jax.random.key(config.seed)))
    run_directory.prepare(workdir, config)
    cases = cache_shared(sources["train"], config, workdir)
    size = training_size(cases, config, network, "mr")
    train_stages(
        config,
        workdir,
        params,
        cases,
        take_window=functools.partial(TakePair, size=size, flip=data.flip, gamma=data.gamma),
        loss=functools.partial(ct_loss, network, config.loss, config.loss.bone_weight),
        look=functools.partial(validate_ct, network, cases=sources["validation"], config=config),
    )
