"""Missing contrasts of NIfTI cases, written as NIfTI in the geometry of the case's own files."""

import dataclasses
import json
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from lift_jax.data.brats import BratsCases, contrast_paths
from lift_jax.data.cases import CONTRASTS, Case
from lift_jax.data.intensities import brain_mask
from lift_jax.data.regrid import regrid_brain_onto
from lift_jax.data.volumes import Grid, write_volume
from lift_jax.errors import UserError
from lift_jax.inference.complete import predict_contrasts
from lift_jax.places import write_aside
from lift_jax.trained import Trained


class ReadCase(NamedTuple):
    """A case as it was read: itself, its brain on its own grid where it was resampled, and that grid."""

    case: Case
    native: tuple[np.ndarray, np.ndarray] | None
    grid: Grid
    targets: list[str]
    available: np.ndarray


class Predicted(NamedTuple):
    """Contrasts of a case `[D, H, W]` in [0, 1], on its own grid, and what they were made from."""

    name: str
    grid: Grid
    contrasts: dict[str, np.ndarray]
    available: np.ndarray


@dataclasses.dataclass(frozen=True)
class ContrastSynthesis:
    """Predicts what cases lack, or one contrast that is asked for, and writes `<case>-<contrast>.nii.gz`.

    Voxels are float32 in [0, 1], the protocol's unit: the scanner's unit of a contrast that was never scanned is not
    known. Beside them, `<case>-synthesis.json` says what they were made from. A run that was trained at a fixed voxel
    size works at that size, and its result is interpolated onto the case's grid. A `folder.CaseWork`.

    Attributes:
      trained: the run.
      cases: a folder of cases.
      output: folder for the results; made if it is not there.
      target: the contrast to predict, from all others; None predicts all that are missing.
      force: predict a target that is there already.
    """

    trained: Trained
    cases: BratsCases
    output: pathlib.Path
    target: str | None = None
    force: bool = False

    def __len__(self) -> int:
        """How many cases there are."""
        return len(self.cases.names)

    def outputs(self, index: int) -> list[pathlib.Path]:
        """The volumes of a case, and what says how they were made."""
        name = self.cases.names[index]
        there = contrast_paths(pathlib.Path(self.cases.root), name)
        targets = self._targets(name, np.isin(CONTRASTS, list(there)))
        return [*self._volumes(name, targets), self._facts(name)]

    def read(self, index: int) -> ReadCase:
        """A case and its grid.

        Raises:
          UserError: if the case cannot be used, lacks nothing, or has no source.
        """
        name = self.cases.names[index]
        case, grid = self.cases.load(index), self.cases.geometry(index)
        targets = self._targets(name, case.available)
        available = case.available & ~np.isin(CONTRASTS, targets)
        if not available.any():
            raise UserError(f"{name}: nothing to predict {', '.join(targets)} from; add another contrast")
        native = None
        if self.cases.spacing is not None:
            whole = dataclasses.replace(self.cases, spacing=None).load(index)
            native = brain_mask(whole.sources[..., available]), whole.affine
        return ReadCase(case, native, grid, targets, available)

    def predict(self, work: ReadCase) -> Predicted:
        """The wanted contrasts."""
        targets = [CONTRASTS.index(contrast) for contrast in work.targets]
        inputs = self.trained.network, self.trained.params, work.case, work.available, targets
        made = predict_contrasts(*inputs, **self.trained.options)
        if work.native is not None:
            made = [regrid_brain_onto(volume, work.case.affine, *work.native) for volume in made]
        return Predicted(work.case.name, work.grid, dict(zip(work.targets, made, strict=True)), work.available)

    def write(self, result: Predicted, seconds: float) -> list[pathlib.Path]:
        """Writes a case's contrasts, and last what they were made from.

        Raises:
          UserError: if results cannot be written.
        """
        make_folder(self.output)
        paths = self._volumes(result.name, list(result.contrasts))
        for path, volume in zip(paths, result.contrasts.values(), strict=True):
            write_volume(path, volume, result.grid)
        facts = {
            "case": result.name,
            "targets": list(result.contrasts),
            "sources": [contrast for contrast, there in zip(CONTRASTS, result.available, strict=True) if there],
            "spacing_mm": self.cases.spacing,
            "seconds": round(seconds, 3),
        }
        write_facts(self._facts(result.name), facts, self.trained)
        return paths

    def _targets(self, name: str, available: np.ndarray) -> list[str]:
        return wanted_contrasts(name, available, self.target, self.force)

    def _volumes(self, name: str, targets: list[str]) -> list[pathlib.Path]:
        return [output_path(self.output, name, f"-{contrast}.nii.gz") for contrast in targets]

    def _facts(self, name: str) -> pathlib.Path:
        return output_path(self.output, name, "-synthesis.json")


def output_path(folder: pathlib.Path, name: str, ending: str) -> pathlib.Path:
    """The file of a result that is named after a case; it lies in `folder`, whatever the case is called.

    Raises:
      UserError: if the name would lead elsewhere.
    """
    if name in ("", ".", "..") or pathlib.PurePath(name).name != name or "\0" in name:
        raise UserError(f"{name!r}: is no name of a case, which results could be named after")
    return folder / f"{name}{ending}"


def wanted_contrasts(name: str, available: np.ndarray, target: str | None, force: bool = False) -> list[str]:
    """The contrasts to predict: `target` if one is named, else all that are not available.

    Raises:
      UserError: if the target is not a contrast, or is there and `force` was not said, or nothing is missing.
    """
    if target is not None:
        if target not in CONTRASTS:
            raise UserError(f"--target: {target!r} is none of {', '.join(CONTRASTS)}")
        if available[CONTRASTS.index(target)] and not force:
            raise UserError(f"{name}: has {target} already; give --force to predict it from the others all the same")
        return [target]
    missing = [contrast for contrast, there in zip(CONTRASTS, available, strict=True) if not there]
    if not missing:
        raise UserError(f"{name}: lacks no contrast; give --target CONTRAST --force to predict one from the others")
    return missing


def write_facts(path: pathlib.Path, facts: dict, trained: Trained) -> None:
    """Writes what a result was made from: `facts`, the checkpoint, the device and the configuration."""
    facts = facts | {
        "stage": trained.stage,
        "step": trained.step,
        "device": jax.devices()[0].device_kind,
        "config": trained.config.to_dict(),
    }
    write_aside(path, json.dumps(facts, indent=2) + "\n")


def make_folder(folder: pathlib.Path) -> None:
    """Makes a folder for results.

    Raises:
      UserError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); name another --output") from None
