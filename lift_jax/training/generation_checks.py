"""What LiFT-U's training refuses: batches, volumes and settings that do not go together."""

from ml_collections import ConfigDict

from lift_jax.data.single_channel import volume_shape
from lift_jax.errors import UserError
from lift_jax.models.generation.networks import GenerationNetworks, generation_networks
from lift_jax.training.sharding import check_batch


def check_generation(config: ConfigDict, devices: int) -> None:
    """Refuses batches that do not divide over so many devices, and volumes or settings that do not fit the networks."""
    for name in config.stages:
        for key in ("batch", "positives"):
            if key in config.stage[name]:
                check_batch(config.stage[name][key], 1, devices, f"stage.{name}.{key}")
    shape = volume_shape(config.data)
    check_shapes(generation_networks(config, shape), config, shape)


def check_count(config: ConfigDict, count: int) -> None:
    """Refuses steps that ask for more real volumes than there are."""
    positives = config.stage.mapper.positives
    if positives > count:
        raise UserError(
            f"config.stage.mapper.positives: {positives} real volumes a step are asked for, there are {count}"
        )


def check_shapes(networks: GenerationNetworks, config: ConfigDict, sides: tuple[int, int, int]) -> None:
    """Refuses volumes `[D, H, W]` that the networks or the settings cannot take, naming what to change."""
    encoder, generator, mapper = networks.encoder, networks.generator, config.stage.mapper
    if min(sides) < encoder.smallest_side or any(side % encoder.multiple for side in sides):
        raise UserError(
            f"config.data: volumes of {tuple(sides)} do not suit the encoder, which takes sides of "
            f"{encoder.smallest_side} or more that are multiples of {encoder.multiple}"
        )
    if any(side % generator.multiple for side in sides[1:]):
        raise UserError(
            f"config.model.generator: slices of {tuple(sides[1:])} are no multiples of {generator.multiple}, its head "
            "and doublings; use fewer widths or a smaller head"
        )
    if mapper.positions > min(sides) or (mapper.positions < 2 and config.loss.particles == "segment"):
        raise UserError(
            f"config.stage.mapper.positions: {mapper.positions} must be from 2 to the shortest side, {min(sides)}"
        )
