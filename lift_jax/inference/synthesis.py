"""Missing channels of subjects, written as NIfTI on the grid of the subject's own files."""

import dataclasses
import functools
import hashlib
import json
import pathlib
import warnings
from collections.abc import Mapping

import jax
import numpy as np

from lift_jax.data.check import subject_warnings
from lift_jax.data.geometry import Grid
from lift_jax.data.resample import resample_within_mask
from lift_jax.data.scans import ScannedSubjects, files_of
from lift_jax.data.statistics import unfamiliar
from lift_jax.data.subject import Subject, foreground
from lift_jax.data.volumes import write_volume
from lift_jax.errors import DataWarning, UserError
from lift_jax.inference.guided import guided_upsampling
from lift_jax.inference.output import make_folder, output_path
from lift_jax.paths import atomic_write
from lift_jax.trained import NOTICE, Trained


@dataclasses.dataclass(frozen=True)
class ReadSubject:
    """The sources of a subject on the network's grid and on its own grid, and what is predicted."""

    index: int
    subject: Subject
    native: Subject
    grid: Grid
    sources: tuple[str, ...]
    targets: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Predicted:
    """Channels of a subject `[D, H, W]` in the units of their protocols, on its own grid."""

    index: int
    grid: Grid
    volumes: dict[str, np.ndarray]
    sources: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Synthesis:
    """Predicts channels of subjects and writes `<subject>-<channel>.nii.gz`. A `folder.SubjectWork`.

    Voxels are in the unit of the channel's protocol: float32 in [0, 1] (the scanner's unit of a channel that was never
    scanned is not known), or int16 in HU. Beside them, `<subject>-synthesis.json` records what they were made from. A
    run that was trained on resampled subjects works on that grid, and its result is interpolated back.

    Attributes:
      trained: the run.
      subjects: the subjects. Only files of sources are read.
      output: folder for the results.
      target: the channel to predict; None: every target that is missing, or that is never a source of the run.
      force: predict a target that is there, from the other channels.
      path: the file to write, in place of a name made of subject and channel; one subject and one target.
      training: what the run records of its training data, see `familiarity`; None: nothing is compared.
    """

    trained: Trained
    subjects: ScannedSubjects
    output: pathlib.Path
    target: str | None = None
    force: bool = False
    path: pathlib.Path | None = None
    training: Mapping | None = None

    def __len__(self) -> int:
        """How many subjects there are."""
        return len(self.subjects.names)

    @property
    def source_files(self) -> list[pathlib.Path]:
        """All files of the subjects, which results must not replace."""
        return [path for files in self.subjects.files for path in files_of(files).values()]

    def outputs(self, index: int) -> list[pathlib.Path]:
        """The volumes of a subject, and the record of how they were made."""
        sources, targets = self._channels(index)
        self._check_sources(index, sources, targets)
        return [*self._volume_paths(index, targets), self._record_path(index)]

    def is_done(self, index: int) -> bool:
        """Whether the outputs are there, of this checkpoint and from the same channels."""
        paths = self.outputs(index)
        if not all(path.exists() for path in paths):
            return False
        try:
            record = json.loads(paths[-1].read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(record, dict) and all(
            record.get(key) == value for key, value in self._identity(*self._channels(index)).items()
        )

    def read(self, index: int) -> ReadSubject:
        """The sources of a subject and its grid.

        Raises:
          UserError: the subject cannot be used, lacks nothing, or has no source.
        """
        sources, targets = self._channels(index)
        self._check_sources(index, sources, targets)
        grid, subject = self.subjects.geometry(index), self.subjects.load(index, sources)
        native = subject
        if self.subjects.spacing > 0 or any(self.subjects.size):
            native = dataclasses.replace(self.subjects, spacing=0.0, size=(0, 0, 0)).load(index, sources)
        messages = subject_warnings(subject, self.trained.channels.protocols)
        if self.training:
            different = unfamiliar(self.training, grid, subject, sources, self.trained.channels, self.subjects.spacing)
            messages += [f"{subject.name}: {line}" for line in different]
        for message in messages:
            warnings.warn(message, DataWarning, stacklevel=2)
        return ReadSubject(index, subject, native, grid, sources, targets)

    def predict(self, work: ReadSubject) -> Predicted:
        """The targets, on the subject's own grid."""
        volumes = self.trained.predict(work.subject, work.sources, work.targets)
        if work.subject.shape != work.grid.shape or not np.array_equal(work.subject.affine, work.native.affine):
            volumes = {target: self._bring_back(work, target, volume) for target, volume in volumes.items()}
        return Predicted(work.index, work.grid, volumes, work.sources)

    def _bring_back(self, work: ReadSubject, target: str, volume: np.ndarray) -> np.ndarray:
        """A prediction on the subject's own grid: with the detail of its sources, where they are of its unit."""
        protocols, pair = self.trained.channels.protocols, (work.subject, work.native)
        known, inside = (foreground(subject, work.sources, protocols) for subject in pair)
        affines = work.subject.affine, work.native.affine
        if {protocols[channel].unit for channel in (target, *work.sources)} != {"[0, 1]"}:
            return resample_within_mask(volume, known, affines[0], inside, affines[1], protocols[target].background)
        guides, sources = (np.stack([subject.images[channel] for channel in work.sources], axis=-1) for subject in pair)
        return guided_upsampling(volume, guides, known, affines[0], sources, inside, affines[1])

    def write(self, result: Predicted, seconds: float) -> list[pathlib.Path]:
        """Writes the volumes of a subject, and then the record.

        Raises:
          UserError: results cannot be written.
        """
        make_folder(self.output)
        index, targets, protocols = result.index, tuple(result.volumes), self.trained.channels.protocols
        paths = self._volume_paths(index, targets)
        record_path = self._record_path(index)
        record_path.unlink(missing_ok=True)  # it would vouch for volumes of another checkpoint
        for path, (target, volume) in zip(paths, result.volumes.items(), strict=True):
            write_volume(path, volume, result.grid, dtype=np.int16 if protocols[target].unit == "HU" else np.float32)
        record = {
            "subject": self.subjects.names[index],
            **self._identity(result.sources, targets),
            "files": {channel: str(self.subjects.files[index].channels[channel]) for channel in result.sources},
            "units": {target: protocols[target].unit for target in targets},
            "foreground": self._foreground_origin(index),
            "spacing_mm": self.subjects.spacing,
            "size": list(self.subjects.size),
            "seconds": round(seconds, 3),
            "stage": self.trained.stage,
            "step": self.trained.step,
            "device": jax.devices()[0].device_kind,
            **({"notice": NOTICE} if self.trained.shipped else {}),
            "config": self.trained.config.to_dict(),
        }
        try:
            atomic_write(record_path, json.dumps(record, indent=2) + "\n")
        except OSError as error:
            raise UserError(f"{record_path}: cannot be written ({error.strerror}); check the folder") from None
        return paths

    @functools.cached_property
    def checkpoint(self) -> str:
        """A hex digest of the parameters and of the type of the activations."""
        translator = self.trained.config.model.translator
        digest = hashlib.blake2b(repr(translator.dtype).encode(), digest_size=16)
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.trained.params):
            digest.update(jax.tree_util.keystr(path).encode() + np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()

    def _identity(self, sources: tuple[str, ...], targets: tuple[str, ...]) -> dict:
        return {"checkpoint": self.checkpoint, "sources": list(sources), "targets": list(targets)}

    def _channels(self, index: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Sources and targets of a subject; raises UserError where there is nothing to predict or to predict from."""
        channels, name = self.trained.channels, self.subjects.names[index]
        present = self.subjects.channels(index)
        targets = self._targets(name, present)
        sources = tuple(channel for channel in channels.sources if channel in present and channel not in targets)
        if not sources:
            listed = ", ".join(channel for channel in channels.sources if channel not in targets)
            raise UserError(f"{name}: nothing to predict {', '.join(targets)} from; add one of {listed}")
        return sources, targets

    def _targets(self, name: str, present: tuple[str, ...]) -> tuple[str, ...]:
        channels = self.trained.channels
        if self.target is not None:
            if self.target not in channels.targets:
                raise UserError(f"--target: {self.target!r} is none of {', '.join(channels.targets)}")
            if self.target in present and self.target in channels.sources and not self.force:
                raise UserError(f"{name}: has {self.target} already; give --force to predict it from the others")
            return (self.target,)
        asked = [target for target in channels.targets if target not in present or target not in channels.sources]
        if not asked:
            raise UserError(f"{name}: lacks no channel; give --target CHANNEL --force to predict one from the others")
        return tuple(asked)

    def _check_sources(self, index: int, sources: tuple[str, ...], targets: tuple[str, ...]) -> None:
        """Raises UserError where a result would replace one of the subject's files."""
        own = {path.resolve() for path in files_of(self.subjects.files[index]).values()}
        for path in self._volume_paths(index, targets):
            if path.resolve() in own:
                raise UserError(f"{path}: is a file of the subject and would be overwritten; name another --output")

    def _volume_paths(self, index: int, targets: tuple[str, ...]) -> list[pathlib.Path]:
        if self.path is not None:
            return [self.path]
        name = self.subjects.names[index]
        return [output_path(self.output, name, f"-{target}.nii.gz") for target in targets]

    def _record_path(self, index: int) -> pathlib.Path:
        name = self.subjects.names[index] if self.path is None else self.path.name.removesuffix(".gz")
        return output_path(self.output, name.removesuffix(".nii"), "-synthesis.json")

    def _foreground_origin(self, index: int) -> str:
        if self.subjects.has_mask(index):
            return "mask of the subject"
        if any(protocol.unit == "HU" for protocol in self.subjects.protocols.values()):
            return "found by threshold in the first source; check its outline"
        return "where the sources show something"
