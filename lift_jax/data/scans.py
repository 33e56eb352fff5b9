"""Scanned subjects: files read, compared with each other, resampled and normalized, the same for every data set."""

import dataclasses
import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lift_jax.data.foreground import body_mask, subject_foreground
from lift_jax.data.geometry import Grid, describe_difference, describe_offset
from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.naming import MASK, SEGMENTATION, SubjectFiles
from lift_jax.data.resample import resample_subject
from lift_jax.data.subject import Subject
from lift_jax.data.volumes import read_header, read_volume
from lift_jax.errors import DataWarning, UserError

VERSION = 4
"""What `ScannedSubjects` makes of voxels; part of every fingerprint, so change it with the code."""

MASK_THRESHOLD = 0.5


def files_of(files: SubjectFiles) -> dict[str, Path]:
    """All files of a subject by channel, `MASK` and `SEGMENTATION`; the first one gives the grid."""
    others = {MASK: files.mask, SEGMENTATION: files.segmentation}
    return dict(files.channels) | {kind: path for kind, path in others.items() if path is not None}


def header_errors(files: SubjectFiles) -> Iterator[str]:
    """One line for each file of a subject that cannot be read, or is not on the grid of the first one."""
    first = None
    for path in files_of(files).values():
        try:
            grid = read_header(path)
            if first is None:
                first = path, grid
            check_same_grid(*first, path, grid)
        except UserError as error:
            yield str(error)


def check_headers(subjects: Sequence[SubjectFiles]) -> None:
    """Reads the header of every file, so that a bad one is reported at the start and not after hours.

    Raises:
      UserError: its first line says how many subjects cannot be used; one line for each problem follows.
    """
    errors = [lines for files in subjects if (lines := list(header_errors(files)))]
    if errors:
        first = f"{len(errors)} of {len(subjects)} subjects cannot be used; repair or remove them:"
        raise UserError("\n".join([first, *(line for lines in errors for line in lines)]))


def compare_grids(first_path: Path, first: Grid, path: Path, grid: Grid) -> tuple[str | None, str | None]:
    """An error, where two files of a subject are not on one grid; a warning about a difference beyond rounding."""
    difference, offset = describe_difference(first, grid), None if first is grid else describe_offset(first, grid)
    if difference:
        return f"{path}: is not on the grid of {first_path}: {difference}; resample it onto that grid", None
    return None, f"{path}: {offset} from the grid of {first_path}; it is taken to be on it" if offset else None


def check_same_grid(first_path: Path, first: Grid, path: Path, grid: Grid) -> None:
    """Raises UserError where two files of a subject are not on one grid; a difference beyond rounding is a warning."""
    error, warning = compare_grids(first_path, first, path, grid)
    if error:
        raise UserError(error)
    if warning:
        warnings.warn(warning, DataWarning, 2)


@dataclasses.dataclass(frozen=True)
class ScannedSubjects:
    """Subjects from files, a SubjectSource.

    Attributes:
      files: of the subjects, in the order of their indices.
      protocols: channel to intensity protocol, of the channels that are read, in order.
      spacing: voxel side in millimeters to which subjects are resampled; 0 keeps the spacing, or follows from `size`.
      size: grid `(D, H, W)` to which subjects are resampled; zeros keep the field of view.
    """

    files: tuple[SubjectFiles, ...]
    protocols: Mapping[str, IntensityProtocol]
    spacing: float = 0.0
    size: tuple[int, int, int] = (0, 0, 0)

    @property
    def names(self) -> list[str]:
        """Names of the subjects."""
        return [files.name for files in self.files]

    @property
    def patients(self) -> list[str]:
        """The patient of each subject."""
        return [files.patient for files in self.files]

    def channels(self, index: int) -> tuple[str, ...]:
        """The channels that subject `index` has, in the order of `protocols`."""
        return tuple(channel for channel in self.protocols if channel in self.files[index].channels)

    def has_mask(self, index: int) -> bool:
        """Whether subject `index` comes with a mask file."""
        return self.files[index].mask is not None

    def geometry(self, index: int) -> Grid:
        """The grid of the first channel's file, on which results for subject `index` are written."""
        return read_header(self.files[index].channels[self.channels(index)[0]])

    def load(self, index: int, channels: Sequence[str] | None = None) -> Subject:
        """Reads subject `index`; only files of the named channels are read, so that no other can influence the result.

        Without a mask file, channels are normalized and resampled each within its own foreground; a data set with a CT
        needs one body, which is found in the first channel that is read. The segmentation is read with all channels.

        Raises:
          UserError: the subject has none of the channels, or a file cannot be used.
        """
        files, present = self.files[index], self.channels(index)
        chosen = [channel for channel in present if channels is None or channel in channels]
        if not chosen:
            raise UserError(f"{files.name}: has none of {', '.join(channels or ())}; it has {', '.join(present)}")
        grid_path, grid = files.channels[present[0]], self.geometry(index)

        def read(path: Path) -> np.ndarray:
            volume = read_volume(path)
            check_same_grid(grid_path, grid, path, volume)
            return volume.array

        paths = [files.channels[channel] for channel in chosen] + ([] if files.mask is None else [files.mask])
        with ThreadPoolExecutor(len(paths)) as pool:  # decompression and NumPy leave the interpreter to each other
            volumes = list(pool.map(read, paths))
        arrays = dict(zip(chosen, volumes, strict=False))
        mask = volumes[-1] if files.mask is not None else None
        del volumes
        explicit, masks, lines = find_masks(files, arrays, mask, self.protocols)
        for line in lines:
            warnings.warn(line, DataWarning, stacklevel=2)
        for channel in chosen:
            self._check(files.channels[channel], channel, arrays[channel], masks[channel])
        labels = read_labels(files.segmentation, read) if files.segmentation and channels is None else None
        images, references = self._normalized(files, arrays, masks)
        subject = Subject(files.name, images, grid.affine, explicit, references, labels)
        if self.spacing > 0 or min(self.size) > 0:
            subject = resample_subject(subject, masks, self.protocols, self.spacing, self.size)
        return subject

    def fingerprint(self, index: int) -> str:
        """A hex digest of the subject's name, the bytes of its files, the protocols and the grid.

        Raises:
          UserError: a file cannot be read.
        """
        files = self.files[index]
        known = (VERSION, files.name, tuple(self.protocols.items()), float(self.spacing), tuple(self.size))
        digest = hashlib.blake2b(repr(known).encode(errors="surrogateescape"), digest_size=16)
        for kind, path in files_of(files).items():
            if kind not in (*self.protocols, MASK, SEGMENTATION):
                continue
            try:
                with open(path, "rb") as file:
                    digest.update(kind.encode() + hashlib.file_digest(file, "blake2b").digest())
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from None
        return digest.hexdigest()

    def _check(self, path: Path, channel: str, array: np.ndarray, mask: np.ndarray) -> None:
        errors, notes = self.protocols[channel].check(array, mask)
        for line in notes:
            warnings.warn(f"{path}: {line}", DataWarning, stacklevel=3)
        if errors:
            raise UserError("\n".join(f"{path}: {error}" for error in errors))

    def _normalized(self, files: SubjectFiles, arrays: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]):
        """Images in protocol units; and of CT, what clipping would lose, as references.

        Volumes are normalized before they are resampled: averaged voxels have other quantiles, so that levels would
        depend on the voxel size.
        """
        images, references = {}, {}
        for channel, array in arrays.items():
            protocol = self.protocols[channel]
            try:
                images[channel] = protocol.normalize(array, masks[channel])
            except ValueError as error:
                raise UserError(f"{files.channels[channel]}: {error}") from None
            if protocol.unit == "HU":
                unclipped = np.where(masks[channel], array, protocol.background).astype(np.float32)
                if not np.array_equal(unclipped, images[channel]):
                    references[channel] = unclipped
        return images, references


def find_masks(
    files: SubjectFiles,
    arrays: Mapping[str, np.ndarray],
    mask: np.ndarray | None,
    protocols: Mapping[str, IntensityProtocol],
) -> tuple[np.ndarray | None, dict[str, np.ndarray], list[str]]:
    """Where the body or brain of a subject is: one mask or None, the foreground of each channel, and warnings.

    Args:
      files: of the subject, for messages.
      arrays: channel to `[D, H, W]`, in the units of the files.
      mask: the voxels of the mask file, or None.
      protocols: of all channels of the data set; if there is CT among them, the subject has one body.

    Raises:
      UserError: nothing is foreground.
    """
    channel, array = next(iter(arrays.items()))
    lines, path, problem = [], files.mask, "the mask is empty"
    if mask is not None:
        explicit = mask > MASK_THRESHOLD
    elif any(protocol.unit == "HU" for protocol in protocols.values()):
        path, problem = files.channels[channel], "no body was found in it"
        lines.append(f"{path}: has no mask beside it; the body was found by threshold, check its outline")
        explicit = body_mask(array - protocols[channel].low if protocols[channel].unit == "HU" else array)
    else:
        try:
            return None, subject_foreground(arrays), lines
        except ValueError as error:
            raise UserError(f"{files.channels[channel].parent}: {error}") from None
    if not explicit.any():
        raise UserError(f"{path}: {problem}; draw a mask, or leave the subject out")
    return explicit, dict.fromkeys(arrays, explicit), lines


def read_labels(path: Path, read) -> np.ndarray:
    """A segmentation, `[D, H, W]` uint8.

    Raises:
      UserError: its voxels are no labels.
    """
    values = read(path)
    labels = np.rint(values)
    if np.abs(values - labels).max() > 0.01 or labels.min() < 0 or labels.max() > 255:
        raise UserError(f"{path}: holds no labels, which are whole numbers from 0 to 255; resample it by nearest label")
    return labels.astype(np.uint8)
