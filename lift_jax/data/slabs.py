"""Training batches: random slabs and slices out of cached subjects, by Grain."""

import dataclasses
import functools
from collections.abc import Sequence

import grain
import numpy as np

from lift_jax.data.cache import CachedSubject
from lift_jax.data.channels import Channels
from lift_jax.data.geometry import depth_coordinates
from lift_jax.data.intensity import to_network, unit_to_network
from lift_jax.errors import UserError

MAX_SIDE_RATIO = 1.75
"""Of the largest to the smallest side of slices that are padded to one size; heads of adults differ by less."""


@dataclasses.dataclass(frozen=True)
class RandomSlab(grain.transforms.RandomMap):
    """A random slab of a subject, augmented, with a random task: which channel is the target, which are given.

    The result, all float32, with T = `slices`, S sources and N targets; intensities are those of the network, [-1, 1]:
    `sources [T, H, W, S]`, background where a source is not given; `available [S]`, which are; `target_image [T, H, W]`
    and `target_onehot [N]`; `depth [T]`, each slice's coordinate in the whole volume; `foreground [T, H, W]`, the
    subject's mask or where any given source is above its background; `slice_weights [T]` and `delta_z_weights [T]`,
    see `slab_weights`. A volume of fewer slices repeats its last one.

    Attributes:
      slices: consecutive slices.
      size: rows and columns of the result; larger slices are cropped at random, smaller ones padded with background.
      channels: sources and targets.
      flip: mirror left and right, every other time.
      source_drop: probability that a source is withheld; one is always given.
      gamma: sources in [0, 1] are raised to the power of e^N(0, gamma²), each its own.
    """

    slices: int
    size: tuple[int, int]
    channels: Channels
    flip: bool = True
    source_drop: float = 0.25
    gamma: float = 0.0

    def random_map(self, subject: CachedSubject, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The slab that `rng` draws from `subject`, which has a target and a source of it."""
        candidates = self.channels.predictable(subject.channels)
        target = candidates[rng.integers(len(candidates))]
        given = self._draw_sources(self.channels.sources_of(target, subject.channels), rng)

        depth, height, width = subject.shape
        start = draw_start(depth, self.slices, rng)
        index = np.minimum(np.arange(start, start + self.slices), depth - 1)
        rows, columns = draw_range(height, self.size[0], rng), draw_range(width, self.size[1], rng)
        flip = self.flip and rng.random() < 0.5
        powers = np.exp(rng.normal(0, self.gamma, len(self.channels.sources))) if self.gamma > 0 else None

        def cut(array: np.ndarray, background: float) -> np.ndarray:
            part = np.asarray(array[start : start + self.slices, rows, columns], np.float32)
            part = pad_planes(part[:, :, ::-1] if flip else part, self.size, background)
            return part[index - start] if len(part) < self.slices else part

        shape = (self.slices, *self.size)
        sources = np.full((*shape, len(self.channels.sources)), -1, np.float32)
        foreground = np.zeros(shape, bool) if subject.mask is None else cut(subject.mask, 0) > 0
        for channel in given:
            i, protocol = self.channels.sources.index(channel), self.channels.protocols[channel]
            part = cut(subject.image(channel), protocol.background)
            if subject.mask is None:
                foreground |= part > protocol.background
            if powers is not None and protocol.unit != "HU":
                part **= np.float32(powers[i])
            sources[..., i] = to_network(protocol, part)
        protocol = self.channels.protocols[target]
        slice_weights, delta_z_weights = slab_weights(depth, self.slices, start)
        return {
            "sources": sources,
            "available": np.isin(self.channels.sources, given).astype(np.float32),
            "target_image": to_network(protocol, cut(subject.reference(target), protocol.background)),
            "target_onehot": (np.array(self.channels.targets) == target).astype(np.float32),
            "depth": depth_coordinates(depth)[index],
            "foreground": foreground.astype(np.float32),
            "slice_weights": slice_weights,
            "delta_z_weights": delta_z_weights,
        }

    def _draw_sources(self, others: tuple[str, ...], rng: np.random.Generator) -> list[str]:
        """Of the channels `others`, each with probability 1 - source_drop, at least one."""
        kept = rng.random(len(others)) >= self.source_drop
        kept[rng.integers(len(others))] |= not kept.any()
        return [channel for channel, keep in zip(others, kept, strict=True) if keep]


def draw_start(depth: int, slices: int, rng: np.random.Generator) -> int:
    """The first slice of a slab in a volume of `depth` slices.

    Slabs are drawn that reach past either end, and moved inside: else the first slice would be in one slab of all.
    `slab_weights` make up for what is drawn too often by that.
    """
    if depth <= slices:
        return int(rng.integers(1))
    return int(np.clip(rng.integers(depth + slices - 1) - (slices - 1), 0, depth - slices))


def slab_weights(depth: int, slices: int, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of a slab's slices and of their differences, `[T]` float32 each, by which all of a volume count equally.

    A weight is the inverse of the probability that `draw_start` makes the slab hold the slice, or both slices of a
    difference, and 0 for repeats. So the expected weighted mean over a slab is the mean over the volume. The difference
    `i` is that of slices `i - 1` and `i`; the first has weight 0.
    """

    weights, pairs = _weights_of_volume(depth, slices)
    places = np.arange(start, start + slices)
    inside = places < depth
    places = np.minimum(places, depth - 1)
    slice_weights, delta_z_weights = np.where(inside, weights[places], 0), np.where(inside, pairs[places], 0)
    delta_z_weights[0] = 0
    return slice_weights.astype(np.float32), delta_z_weights.astype(np.float32)


@functools.cache
def _weights_of_volume(depth: int, slices: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights `[D]` of the slices of a volume, and of their differences to the slice before."""
    starts = np.clip(np.arange(-(slices - 1), depth), 0, max(depth - slices, 0))[:, None]
    positions = np.arange(depth)
    holds = (starts <= positions) & (positions < starts + slices)
    weights, pairs = slices / depth / holds.mean(axis=0), np.zeros(depth)
    if depth > 1 and slices > 1:
        pairs[1:] = (slices - 1) / (depth - 1) / (holds[:, 1:] & holds[:, :-1]).mean(axis=0)
    return weights, pairs


class ProcessRows(grain.MapDataset):
    """Of every `batch` consecutive elements of a data set, `share` from number `first` on."""

    def __init__(self, parent: grain.MapDataset, batch: int, first: int, share: int):
        super().__init__(parent)
        self._batch, self._first, self._share = batch, first, share

    def __len__(self) -> int:
        """Elements of the whole batches."""
        return len(self._parent) // self._batch * self._share

    def __getitem__(self, index):
        """An element, or a slice of the data set."""
        if isinstance(index, slice):
            return self.slice(index)
        whole, row = divmod(index, self._share)
        return self._parent[whole * self._batch + self._first + row]


def training_batches(
    subjects: Sequence,
    transform: grain.transforms.RandomMap,
    *,
    seed: int,
    batch: int,
    threads: int,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """An endless, resumable iterator over batches: subjects in a new random order each epoch, one element a visit.

    Element `n` of the run is a function of `seed` and `n` alone, and so is every global batch. Of its rows each process
    gets its own of equal parts, in order, `[batch / process_count, …]`; positions are those of any process count.

    Args:
      subjects: the training subjects, in the form that `transform` takes.
      transform: draws an element of a subject, such as `RandomSlab` or `RandomSlice`.
      seed: of order and augmentation.
      batch: elements in a global batch, a multiple of `process_count`.
      threads: elements read ahead at a time.
      process_index, process_count: this process, of how many.
    """
    share = batch // process_count
    elements = grain.MapDataset.source(subjects).seed(seed).shuffle().repeat().random_map(transform)
    dataset = ProcessRows(elements, batch, process_index * share, share).batch(share, drop_remainder=True)
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)))


def batch_subjects(count: int, *, seed: int, batch: int, number: int) -> list[int]:
    """Which of `count` subjects the elements of global batch `number`, from 0, of `training_batches` are drawn from."""
    order = grain.MapDataset.range(count).seed(seed).shuffle().repeat()
    return [int(order[n]) for n in range(number * batch, (number + 1) * batch)]


def slab_size(subjects: Sequence[CachedSubject], crop: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Rows and columns of training slices: the crop, or what holds the slices of all subjects, up to a `multiple`.

    Raises:
      UserError: if there is no crop and the subjects differ in size by more than foreground boxes do.
    """
    if any(crop):
        return crop[0], crop[1]
    sizes = {subject.shape[1:] for subject in subjects}
    smallest, largest = np.min(list(sizes), axis=0), np.max(list(sizes), axis=0)
    if (largest > MAX_SIDE_RATIO * smallest).any():
        listed = ", ".join(f"{height}x{width}" for height, width in sorted(sizes)[:4])
        raise UserError(f"config.data.crop: slices differ in size ({listed}); name one to crop or pad them to")
    height, width = (-(-int(side) // multiple) * multiple for side in largest)
    return height, width


def draw_range(side: int, size: int, rng: np.random.Generator) -> slice:
    """A random range of `size` samples out of `side`; all of them where there are no more."""
    start = int(rng.integers(max(side - size, 0) + 1))
    return slice(start, start + size)


def pad_planes(part: np.ndarray, size: tuple[int, int], background: float) -> np.ndarray:
    """Background around `[T, h, w]` up to `size`, as much before as after."""
    missing = [want - have for want, have in zip(size, part.shape[1:3], strict=True)]
    if not any(missing):
        return part
    around = [(0, 0), *((n // 2, n - n // 2) for n in missing)]
    return np.pad(part, around, constant_values=background)


@dataclasses.dataclass(frozen=True)
class RandomSlice(grain.transforms.RandomMap):
    """A random slice of a volume that shows something, in a random plane: `image [S, S, 1]` float32 in [-1, 1].

    Attributes:
      side: S; smaller slices are padded with background, larger ones cropped at random.
      flip: mirror left and right, every other time, where the plane has a left and a right.
    """

    side: int
    flip: bool = True

    def random_map(self, volume: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The slice that `rng` draws from `volume [D, H, W]` in [0, 1]."""
        axis = int(rng.integers(3))
        shown = np.flatnonzero(volume.any(axis=tuple(other for other in range(3) if other != axis)))
        image = np.take(volume, rng.choice(shown) if shown.size else 0, axis=axis).astype(np.float32)
        if self.flip and axis < 2 and rng.random() < 0.5:
            image = image[:, ::-1]
        start = [int(rng.integers(max(size - self.side, 0) + 1)) for size in image.shape]
        image = image[start[0] : start[0] + self.side, start[1] : start[1] + self.side]
        missing = [self.side - size for size in image.shape]
        image = np.pad(image, [(n // 2, n - n // 2) for n in missing])
        return {"image": unit_to_network(image)[..., None]}
