"""LiFT-C's training for missing-modality MR."""

import functools

import jax
from ml_collections import ConfigDict

from lift_jax import run_directory
from lift_jax.data.cases import CONTRASTS
from lift_jax.data.sources import case_source
from lift_jax.data.splits import check_members
from lift_jax.data.windows import TakeWindow
from lift_jax.models.build import configured_translator, initial_parameters
from lift_jax.places import Place
from lift_jax.training.cases import agree_on_cases, cache_shared
from lift_jax.training.starting import starting_parameters
from lift_jax.training.translation_loss import translation_loss
from lift_jax.training.translator_stages import check_batches, train_stages, training_size
from lift_jax.training.validation import validate


def train_translation(config: ConfigDict, workdir: Place) -> None:
    """Trains all stages of a configuration in a work directory, going on from its checkpoints if it has any.

    Raises:
      UserError: before any training, if configuration, data, devices or work directory do not fit; later on a full
        disk, or when too many steps have no finite loss.
    """
    check_batches(config, jax.device_count())
    data = config.data
    sources = {split: case_source(data, split) for split in ("train", "validation")}
    check_members(sources["train"].names, "train", data.split_file)
    agree_on_cases(sources)
    network = configured_translator(config)
    fresh = initial_parameters(network, jax.random.key(config.seed))
    params = starting_parameters(config, workdir, fresh)
    run_directory.prepare(workdir, config)
    cases = cache_shared(sources["train"], config, workdir)
    take_window = functools.partial(
        TakeWindow,
        size=training_size(cases, config, network),
        targets=tuple(CONTRASTS.index(name) for name in data.targets),
        flip=data.flip,
        source_drop=data.source_drop,
        gamma=data.gamma,
    )
    train_stages(
        config,
        workdir,
        params,
        cases,
        take_window=take_window,
        loss=functools.partial(translation_loss, network, config.loss),
        look=functools.partial(validate, network, cases=sources["validation"], config=config),
    )
