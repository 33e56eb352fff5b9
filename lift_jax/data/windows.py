"""Training batches: random windows of consecutive slices out of cached cases, by Grain."""

import dataclasses
from collections.abc import Sequence

import grain
import numpy as np

from lift_jax.data.cache import CachedCase
from lift_jax.data.intensities import to_network
from lift_jax.errors import UserError
from lift_jax.models.depth_encoding import depth_coordinates


@dataclasses.dataclass(frozen=True)
class TakeWindow(grain.transforms.RandomMap):
    """A random window of a case, augmented, with a random task: which contrast is wanted, and which are there.

    The result, all float32, with T = `window` slices (repeating the last where the volume is shorter):
    `sources [T, H, W, C]` and `target [T, H, W]` in [-1, 1]; `available [C]`; `wanted [C]` one-hot; `depth [T]`, each
    slice's place in the whole volume.

    Attributes:
      window: consecutive slices.
      size: rows and columns of the result; larger slices are cropped at random, smaller ones padded with background.
      targets: channels that may be wanted.
      flip: mirror left and right, every other time.
      source_drop: probability that a source is withheld; one always stays.
      gamma: sources are raised to the power of e^N(0, gamma²), each contrast its own.
    """

    window: int
    size: tuple[int, int]
    targets: tuple[int, ...]
    flip: bool = True
    source_drop: float = 0.25
    gamma: float = 0.0

    def random_map(self, case: CachedCase, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The window that `rng` draws from `case`."""
        existing = np.flatnonzero(case.facts["available"])
        wanted = rng.choice([channel for channel in self.targets if channel in existing])
        available = np.zeros(len(case.facts["available"]), np.float32)
        available[self._draw_sources(existing[existing != wanted], rng)] = 1

        sources, targets = case.array("sources"), case.array("targets")
        slices, height, width, channels = sources.shape
        start = rng.integers(max(slices - self.window, 0) + 1)
        index = np.minimum(np.arange(start, start + self.window), slices - 1)
        rows, columns = draw_range(height, self.size[0], rng), draw_range(width, self.size[1], rng)
        flip = self.flip and rng.random() < 0.5

        def cut(array: np.ndarray) -> np.ndarray:
            part = np.asarray(array[start : start + self.window, rows, columns], np.float32)
            part = pad_planes(part[:, :, ::-1] if flip else part, self.size)
            return part[index - start] if len(part) < self.window else part

        sources, target = cut(sources), cut(targets[..., wanted])
        if self.gamma > 0:
            sources **= np.exp(rng.normal(0, self.gamma, channels)).astype(np.float32)
        return {
            "sources": to_network(sources),
            "target": to_network(target),
            "available": available,
            "wanted": np.eye(channels, dtype=np.float32)[wanted],
            "depth": depth_coordinates(slices)[index],
        }

    def _draw_sources(self, others: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Of the channels `others`, each with probability 1 - source_drop, at least one."""
        kept = rng.random(len(others)) >= self.source_drop
        kept[rng.integers(len(others))] |= not kept.any()
        return others[kept]


class OwnRows(grain.MapDataset):
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
    cases: Sequence,
    take_window: grain.transforms.RandomMap,
    *,
    seed: int,
    batch: int,
    threads: int,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """An endless, resumable iterator over batches: cases in a new random order each epoch, one window a visit.

    Window `n` of the run is a function of `seed` and `n` alone, and so is every global batch. Of its rows each process
    gets its own of equal parts, in order, `[batch / process_count, …]`; positions are those of any process count.

    Args:
      cases: the training cases, in the form that `take_window` wants.
      take_window: how a window is taken, such as `TakeWindow`, or a slice, by `TakeSlice`.
      seed: of order and augmentation.
      batch: windows in a global batch, a multiple of `process_count`.
      threads: windows read ahead at a time.
      process_index, process_count: this process, of how many.
    """
    share = batch // process_count
    windows = grain.MapDataset.source(cases).seed(seed).shuffle().repeat().random_map(take_window)
    dataset = OwnRows(windows, batch, process_index * share, share).batch(share, drop_remainder=True)
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)))


def batch_cases(count: int, *, seed: int, batch: int, number: int) -> list[int]:
    """Which of `count` cases the windows of global batch `number`, from 0, of `training_batches` are taken from."""
    order = grain.MapDataset.range(count).seed(seed).shuffle().repeat()
    return [int(order[n]) for n in range(number * batch, (number + 1) * batch)]


def slice_size(
    cases: Sequence[CachedCase], crop: tuple[int, int], multiple: int, array: str = "sources"
) -> tuple[int, int]:
    """Rows and columns of training slices: the crop, or the size that all cases share, made up to a `multiple`.

    Raises:
      UserError: if there is no crop and the cases differ in size.
    """
    if any(crop):
        return tuple(crop)
    sizes = {case.array(array).shape[1:3] for case in cases}
    if len(sizes) > 1:
        told = ", ".join(f"{height}x{width}" for height, width in sorted(sizes)[:4])
        raise UserError(f"config.data.crop: slices differ in size ({told}); name one to crop or pad them to")
    return tuple(-(-side // multiple) * multiple for side in sizes.pop())


def draw_range(side: int, size: int, rng: np.random.Generator) -> slice:
    """A random range of `size` samples out of `side`; all of them where there are no more."""
    start = int(rng.integers(max(side - size, 0) + 1))
    return slice(start, start + size)


def pad_planes(part: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Zeros around `[T, h, w, …]` up to `size`, as many before as after."""
    missing = [want - have for want, have in zip(size, part.shape[1:3], strict=True)]
    if not any(missing):
        return part
    around = [(0, 0), *((n // 2, n - n // 2) for n in missing), *[(0, 0)] * (part.ndim - 3)]
    return np.pad(part, around)
