"""Scores of a run of LiFT-U: its volumes, its slices without a mapper, and real volumes, against other real ones."""

import functools
import time

import numpy as np

from lift_jax import run_directory
from lift_jax.data.cache import cache_subjects
from lift_jax.data.datasets.registry import DATASETS
from lift_jax.data.single_channel import channel_source, stack_volumes
from lift_jax.data.splits import SPLITS, check_members
from lift_jax.evaluation.cost import hardware, peak_memory
from lift_jax.evaluation.metrics.plane_features import slice_encoder
from lift_jax.evaluation.unconditional import UnconditionalScores, score_unconditional
from lift_jax.inference.sample import sample_independent_slices, sample_volumes
from lift_jax.models.encoders.medicalnet import medicalnet_features, medicalnet_parameters
from lift_jax.paths import PathLike
from lift_jax.trained import TrainedGeneration

MODEL, INDEPENDENT, HELD_OUT = "LiFT-U", "independent slices", "real (held out)"
"""What is compared: the model, the same generator without a mapper, and real volumes of the validation split."""

SEED = 2
"""Of the samples that are scored."""


def real_volumes(trained: TrainedGeneration, workdir: PathLike) -> dict[str, np.ndarray]:
    """The volumes `[V, D, H, W]` float32 in [0, 1] of each split.

    Raises:
      UserError: a split file leaves one of them empty.
    """
    config, volumes = trained.config, {}
    for split in SPLITS:
        source = channel_source(config.data, split)
        check_members(source.names, split, config.data.split_file)
        subjects = cache_subjects(source, run_directory.cache_directory(workdir, config), config.data.threads)
        volumes[split] = stack_volumes(subjects, config.data.targets[0]).astype(np.float32)
    return volumes


def sampled_sets(trained: TrainedGeneration, held_out: np.ndarray, count: int) -> tuple[dict[str, np.ndarray], float]:
    """Volumes of the model and of the two baselines, `count` each, and the model's seconds per volume."""
    inference = trained.config.inference
    sampled, independent = (
        functools.partial(
            sample,
            trained.networks,
            trained.params,
            SEED,
            depth=trained.shape[0],
            chunk=inference.chunk,
            temperature=inference.temperature,
        )
        for sample in (sample_volumes, sample_independent_slices)
    )
    sampled(1)  # compiles
    began = time.perf_counter()
    made = sampled(count)
    seconds = (time.perf_counter() - began) / count
    return {MODEL: made, INDEPENDENT: independent(count), HELD_OUT: held_out[:count]}, seconds


def score_generation(
    trained: TrainedGeneration, sets: dict[str, np.ndarray], real: dict[str, np.ndarray], medicalnet: str | None
) -> UnconditionalScores:
    """Scores of the sets against the test split, by the run's own encoder and, if its weights are given, MedicalNet.

    Raises:
      UserError: if MedicalNet's weights cannot be used.
    """
    volume_encoders = {}
    if medicalnet:
        weights = medicalnet_parameters(medicalnet)
        volume_encoders["MedicalNet ResNet-50"] = lambda volumes: medicalnet_features(weights, volumes)
    encoder = slice_encoder(trained.networks.encoder, trained.params["encoder"])
    return score_unconditional(
        sets,
        real["test"],
        real["train"],
        slice_encoders={encoder_name(trained): encoder},
        volume_encoders=volume_encoders,
    )


def encoder_name(trained: TrainedGeneration) -> str:
    """What the run's encoder is called in tables."""
    kind = trained.config.model.encoder.kind
    return "this run's MAE" if kind == "mae" else kind


def generation_facts(trained: TrainedGeneration, seconds: float) -> dict[str, str]:
    """What a report says beside its numbers."""
    config = trained.config
    stages = ", ".join(f"{name} {config.stage[name].steps:,} steps" for name in config.stages)
    size = "×".join(map(str, trained.shape))
    data = config.data
    made = " phantoms" if DATASETS[data.dataset].scanned_as else ""
    voxel = (
        f"{data.spacing:g} mm{made}" if data.spacing > 0 else "as configured" if any(data.size) else "WDM's protocol"
    )
    return {
        "data set": f"{data.dataset}, {data.targets[0]}, {size}, {voxel}",
        "task": "volumes out of noise",
        "particles": config.loss.particles,
        "loss": f"drifting, field {config.loss.field}",
        "encoder": encoder_name(trained),
        "training": stages,
        "checkpoint": f"stage {trained.stage}, step {trained.step:,}, averaged parameters",
        "hardware": hardware(),
        "seconds per volume": f"{seconds:.3g} (mean, after compilation)",
        "peak memory": f"{peak_memory():.2f} GiB, of the whole evaluation",
    }
