"""The Python API: a trained run as an object.

model = lift_jax.load("runs/brats")
image = model.translate({"t1n": "a.nii.gz", "t2w": image}, target="t2f")
volumes = lift_jax.load("runs/unconditional").sample(4, seed=7)
lift_jax.score("prediction.nii.gz", "truth.nii.gz", protocol="cwdm")
"""

import contextlib
import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Mapping

import nibabel as nib
import numpy as np

from lift_jax.data.scans import check_headers
from lift_jax.data.statistics import read_description
from lift_jax.data.volumes import volume_image
from lift_jax.errors import UserError
from lift_jax.evaluation.predictions import score_file
from lift_jax.inference.synthesis import Synthesis
from lift_jax.paths import PathLike
from lift_jax.run_directory import read_config
from lift_jax.tasks.generation import sample_grid, sampled
from lift_jax.tasks.translation_synthesis import plain_subject
from lift_jax.trained import Trained, TrainedGeneration, for_inference, load_generation, load_trained, trained_folder

Image = str | os.PathLike | nib.Nifti1Image
"""A NIfTI file, or an image in memory."""


def load(workdir: str | os.PathLike, *, dtype: str | None = None) -> "TranslationModel | GenerationModel":
    """The newest checkpoint of a run, or weights that come with the package.

    Args:
      workdir: work directory of a run that was trained, or the name of shipped weights, such as `phantom-missing-mr`.
      dtype: `float32` or `bfloat16`, of activations of a translation; None: that of the training.

    Raises:
      UserError: there is no such run, or it has no checkpoint yet.
    """
    path = trained_folder(workdir)
    if read_config(path).task == "generation":
        return GenerationModel(load_generation(path))
    return TranslationModel(path, for_inference(load_trained(path), dtype))


@dataclasses.dataclass(frozen=True)
class TranslationModel:
    """A run that translates channels.

    Attributes:
      workdir: of the run.
      trained: network, parameters and channels.
    """

    workdir: PathLike
    trained: Trained

    @property
    def sources(self) -> tuple[str, ...]:
        """Channels that may be given."""
        return self.trained.channels.sources

    @property
    def targets(self) -> tuple[str, ...]:
        """Channels that may be predicted."""
        return self.trained.channels.targets

    def translate(self, inputs: Mapping[str, Image], target: str, mask: Image | None = None) -> nib.Nifti1Image:
        """A target channel on the grid of the first input's file, in the unit of its intensity protocol.

        Args:
          inputs: channel to image, registered and on one grid; any non-empty subset of `sources`.
          target: the channel to predict.
          mask: brain or body, on the same grid; None: it is found.

        Returns:
          A float32 image in [0, 1], or an int16 image in HU.

        Raises:
          UserError: a channel or an image cannot be used.
        """
        with contextlib.ExitStack() as stack:
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            paths = {channel: _file(image, folder / f"{channel}.nii") for channel, image in inputs.items()}
            mask_path = None if mask is None else _file(mask, folder / "mask.nii")
            subjects = plain_subject(self.trained, folder / f"{target}.nii", paths, mask_path)
            check_headers(subjects.files)
            work = Synthesis(self.trained, subjects, folder, target, True, training=read_description(self.workdir))
            predicted = work.predict(work.read(0))
        dtype = np.int16 if self.trained.channels.protocols[target].unit == "HU" else np.float32
        return volume_image(predicted.volumes[target], predicted.grid, dtype)


@dataclasses.dataclass(frozen=True)
class GenerationModel:
    """A run that generates volumes from noise.

    Attributes:
      trained: networks and parameters.
    """

    trained: TrainedGeneration

    def sample(
        self, count: int, seed: int = 0, *, depth: int = 0, temperature: float | None = None
    ) -> list[nib.Nifti1Image]:
        """Volumes as float32 images in [0, 1], RAS+, centered at the origin.

        Args:
          count: how many volumes; volume `i` of a seed is the same whatever the count.
          seed: of the latents.
          depth: slices of each volume; 0 for as many as in training.
          temperature: standard deviation of the latents; None: that of the run.

        Raises:
          UserError: a number is out of its range.
        """
        grid = sample_grid(self.trained, depth)
        return [volume_image(volume, grid) for volume in sampled(self.trained, count, seed, depth, temperature)]


def score(
    prediction: str | os.PathLike,
    target: str | os.PathLike,
    *,
    protocol: str = "cwdm",
    mask: str | os.PathLike | None = None,
    prediction_range: tuple[float, float] | None = None,
) -> dict[str, float]:
    """Metrics of a predicted NIfTI file against the true one.

    Args:
      prediction, target: files on one grid.
      protocol: `cwdm`, `synthrad2023` or `synthrad2025`.
      mask: file of the brain or body; None: it is found in the target.
      prediction_range: values of the prediction that stand for the ends of the protocol's range; None: it is in the
        protocol's unit.

    Returns:
      Metric to value, such as `psnr`, `ssim` and `delta_z_mae`.

    Raises:
      UserError: a file cannot be used, or is in another unit.
    """
    paths = pathlib.Path(prediction), pathlib.Path(target)
    rows, _, _ = score_file(*paths, protocol, prediction_range, None if mask is None else pathlib.Path(mask))
    return {key: value for key, value in rows[0].items() if isinstance(value, float)}


def _file(image: Image, path: pathlib.Path) -> pathlib.Path:
    """The file of an image; one in memory is written to `path`."""
    if isinstance(image, str | os.PathLike):
        return pathlib.Path(image)
    if not hasattr(image, "to_filename"):
        raise UserError(f"{path.stem}: {type(image).__name__} is no image; give a NIfTI file or a nibabel image")
    image.to_filename(path)
    return path
