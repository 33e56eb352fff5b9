"""Scores of a trained run on cases it has not seen, by the cWDM protocol."""

import statistics
import time

import numpy as np

from lift_jax import hosts
from lift_jax.data.cases import CONTRASTS, CaseSource
from lift_jax.evaluation.aggregates import Row, distinct, rank_cases
from lift_jax.evaluation.cost import hardware, peak_memory, translation_flops
from lift_jax.evaluation.held_out import other_contrasts, picture_hidden, predict_hidden
from lift_jax.evaluation.report_figures import PictureCase
from lift_jax.evaluation.scores import score_methods_cwdm
from lift_jax.progress import progress
from lift_jax.trained import Trained


def score_run(trained: Trained, cases: CaseSource) -> tuple[list[Row], dict[str, float]]:
    """Hides each configured target of each case in turn, predicts it from all other contrasts, and scores it.

    Args:
      trained: the run.
      cases: cases with all contrasts.

    Returns:
      One row per case, contrast and method (the model, and two baselines that need no training); and the cost of one
      translation: `seconds_per_volume` (median, after the compilation; reading and scoring apart), `flops_per_volume`
      and `peak_memory_gib`.
    """
    rows, shape, seconds = score_cases(trained, cases)
    return rows, _cost(trained, shape, seconds)


def score_cases(trained: Trained, cases: CaseSource) -> tuple[list[Row], tuple[int, ...], list[float]]:
    """The rows of `score_run`, the shape of the last case's sources, and the seconds of every translation.

    Processes take cases in turn, and all return the rows of all, in the order of the cases.
    The first translation of every shape, which holds the compilation, is not among the seconds.
    """
    pieces: dict[int, dict] = {}
    compiled: set[tuple[int, ...]] = set()
    for index in progress(
        hosts.own_share(len(cases.names)), description="evaluating", unit="subject", enabled=hosts.is_first()
    ):
        case = cases.load(index)
        rows, seconds = [], []
        for name in trained.config.data.targets:
            began = time.perf_counter()
            prediction = predict_hidden(trained.network, trained.params, case, name, trained.config, trained.mesh)
            if case.sources.shape in compiled:
                seconds.append(time.perf_counter() - began)
            compiled.add(case.sources.shape)
            others = case.sources[..., other_contrasts(case, name)]
            target = case.targets[..., CONTRASTS.index(name)]
            for method, scores in score_methods_cwdm(target, prediction, others, others[..., 0]).items():
                rows.append({"case": case.name, "contrast": name, "method": method, **scores})
        pieces[index] = {"rows": rows, "seconds": seconds, "shape": case.sources.shape}
    merged = hosts.merged(pieces)
    rows, seconds = ([entry for piece in merged for entry in piece[key]] for key in ("rows", "seconds"))
    return rows, tuple(merged[-1]["shape"]), seconds


def picture_run(trained: Trained, cases: CaseSource, rows: list[Row]) -> list[PictureCase]:
    """The best, median and worst case of every contrast, predicted anew so that no volume need be kept meanwhile."""
    pictures = []
    for contrast in distinct(rows, "contrast"):
        for rank, name in rank_cases(rows, contrast).items():
            case = cases.load(list(cases.names).index(name))
            prediction = predict_hidden(trained.network, trained.params, case, contrast, trained.config, trained.mesh)
            pictures.append(picture_hidden(case, contrast, prediction, rank))
    return pictures


def run_facts(trained: Trained, cases: CaseSource, data_set: str, cost: dict[str, float]) -> dict[str, str]:
    """What a report says beside its numbers."""
    stages = ", ".join(f"{name} {trained.config.stage[name].steps:,} steps" for name in trained.config.stages)
    spacing = trained.config.data.spacing
    return {
        "data set": data_set,
        "cases": str(len(cases.names)),
        "task": "each contrast predicted from all others",
        "protocol": f"cWDM, at {spacing:g} mm" if spacing else "cWDM, native grid",
        "training": stages,
        "checkpoint": f"stage {trained.stage}, step {trained.step:,}, averaged parameters",
        "mixer": trained.config.model.mixer.kind,
        "hardware": hardware(),
        "seconds per volume": f"{cost['seconds_per_volume']:.3g} (median, after compilation)",
        "operations per volume": f"{cost['flops_per_volume'] / 1e12:.3g} TFLOP",
        "peak memory": f"{cost['peak_memory_gib']:.2f} GiB",
    }


def volume_flops(trained: Trained, shape: tuple[int, ...]) -> float:
    """Operations of translating one contrast of sources `(D, H, W, C)`."""
    multiple, inference = trained.network.translator.multiple, trained.config.inference
    padded = (shape[0], *(-(-side // multiple) * multiple for side in shape[1:3]), shape[3])
    options = {"chunk": inference.chunk, "skip_memory": inference.skip_memory}
    return translation_flops(trained.network, trained.params, padded, **options)


def _cost(trained: Trained, shape: tuple[int, ...], seconds: list[float]) -> dict[str, float]:
    return {
        "seconds_per_volume": statistics.median(seconds) if seconds else np.nan,
        "flops_per_volume": volume_flops(trained, shape),
        "peak_memory_gib": peak_memory(),
    }
