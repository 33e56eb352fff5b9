"""Scores of a trained run of MR to CT on pairs that it has not seen."""

import statistics
import time

import numpy as np

from lift_jax import hosts
from lift_jax.data.cases import CaseSource
from lift_jax.data.hounsfield import OUTSIDE
from lift_jax.data.paired_cases import PairedCase
from lift_jax.evaluation.aggregates import Row, rank_cases
from lift_jax.evaluation.cost import hardware, peak_memory, translation_flops
from lift_jax.evaluation.ct_figures import CtPicture
from lift_jax.evaluation.ct_scores import WATER, score_ct
from lift_jax.evaluation.scores import MODEL
from lift_jax.inference.ct import predict_ct
from lift_jax.progress import progress
from lift_jax.trained import Trained


def score_ct_run(trained: Trained, cases: CaseSource) -> tuple[list[Row], dict[str, float]]:
    """Predicts the CT of each case from its MR, and scores it beside water throughout the body.

    Processes take cases in turn, and all return the rows of all, in the order of the cases.

    Args:
      trained: the run.
      cases: pairs.

    Returns:
      One row per case and method; and the cost of one translation: `seconds_per_volume` (median, after the compilation;
      reading and scoring apart), `flops_per_volume` and `peak_memory_gib`.
    """
    pieces: dict[int, dict] = {}
    compiled: set[tuple[int, ...]] = set()
    for index in progress(
        hosts.own_share(len(cases.names)), description="evaluating", unit="subject", enabled=hosts.is_first()
    ):
        case = cases.load(index)
        rows, seconds = [], []
        began = time.perf_counter()
        prediction = _predict(trained, case)
        if case.mr.shape in compiled:
            seconds.append(time.perf_counter() - began)
        compiled.add(case.mr.shape)
        water = np.where(case.mask, 0, OUTSIDE)
        for method, made in ((MODEL, prediction), (WATER, water)):
            scores = score_ct(case.ct, made, case.mask)
            rows.append({"case": case.name, "contrast": "ct", "method": method, **scores})
        pieces[index] = {"rows": rows, "seconds": seconds, "shape": case.mr.shape}
    merged = hosts.merged(pieces)
    rows, seconds = ([entry for piece in merged for entry in piece[key]] for key in ("rows", "seconds"))
    return rows, _cost(trained, tuple(merged[-1]["shape"]), seconds)


def picture_ct_run(trained: Trained, cases: CaseSource, rows: list[Row]) -> list[CtPicture]:
    """The best, median and worst case, predicted anew so that no volume need be kept meanwhile."""
    pictures = []
    for rank, name in rank_cases(rows, "ct").items():
        case = cases.load(list(cases.names).index(name))
        pictures.append(CtPicture.of(case, _predict(trained, case), rank))
    return pictures


def ct_run_facts(trained: Trained, cases: CaseSource, data_set: str, cost: dict[str, float]) -> dict[str, str]:
    """What a report says beside its numbers."""
    config = trained.config
    stages = ", ".join(f"{name} {config.stage[name].steps:,} steps" for name in config.stages)
    side = config.data.side
    grid = f"resampled to {side}×{side}×{side} voxels" if side else "native grid"
    grid = f"at {config.data.spacing:g} mm" if config.data.layout == "phantom" else grid
    return {
        "data set": data_set,
        "cases": str(len(cases.names)),
        "task": "CT predicted from MR",
        "protocol": f"SynthRAD2023, {grid}; MS-SSIM as SynthRAD2025",
        "training": stages,
        "checkpoint": f"stage {trained.stage}, step {trained.step:,}, averaged parameters",
        "mixer": config.model.mixer.kind,
        "hardware": hardware(),
        "seconds per volume": f"{cost['seconds_per_volume']:.3g} (median, after compilation)",
        "operations per volume": f"{cost['flops_per_volume'] / 1e12:.3g} TFLOP",
        "peak memory": f"{cost['peak_memory_gib']:.2f} GiB",
    }


def _predict(trained: Trained, case: PairedCase) -> np.ndarray:
    return predict_ct(trained.network, trained.params, case, **trained.options)


def _cost(trained: Trained, shape: tuple[int, int, int], seconds: list[float]) -> dict[str, float]:
    multiple, inference = trained.network.translator.multiple, trained.config.inference
    padded = (shape[0], *(-(-side // multiple) * multiple for side in shape[1:]), 1)
    return {
        "seconds_per_volume": statistics.median(seconds) if seconds else np.nan,
        "flops_per_volume": translation_flops(
            trained.network, trained.params, padded, chunk=inference.chunk, skip_memory=inference.skip_memory
        ),
        "peak_memory_gib": peak_memory(),
    }
