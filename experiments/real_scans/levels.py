"""Scores weights on real scans, each channel from all others, with oracles that separate levels from structure.

    python -m experiments.real_scans.levels --workdir runs/phantom_missing_mr --root DIR [--root DIR …] --output OUT

Scores are those of the cWDM protocol on the grids of the scans. The network works at the voxel size it was trained at;
its result is brought onto the grid of a scan by `guided_upsampling`, or linearly with `--linear`. Oracles know the
truth: a scale, or a scale and an offset, is fitted to it inside the brain for each volume; the best linear combination
of the sources is fitted likewise. Appends one JSON line a volume to OUT.jsonl, skips what is there, and writes OUT.md.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from experiments.real_scans.scans import Scan, read_scans
from lift_jax.data.intensity import apply_cwdm_background
from lift_jax.evaluation.metrics import SSIM_BORDER, similarity_map

METHODS = ("model", "best source", "mean of sources")
ORACLES = ("model, scale", "model, scale and offset", "best source, scale and offset", "linear combination")


def fit(columns: np.ndarray, target: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """The combination of columns that is nearest to the target inside the brain, clamped to [0, 1] and 0 outside.

    Args:
      columns: `[D, H, W, K]`; a column of ones is an offset.
      target: `[D, H, W]`.
      brain: `[D, H, W]` bool.
    """
    inside = columns[brain].astype(np.float64)
    weights = np.linalg.lstsq(inside.T @ inside, inside.T @ target[brain].astype(np.float64), rcond=None)[0]
    fitted = np.zeros(target.shape, np.float32)
    fitted[brain] = np.clip(inside @ weights, 0, 1)
    return fitted


def psnr(target: np.ndarray, prediction: np.ndarray) -> float:
    """Peak signal-to-noise ratio over the whole grid, dB, of volumes in [0, 1]."""
    return float(-10 * np.log10(np.mean((target.astype(np.float64) - prediction) ** 2)))


def ssim(target: np.ndarray, prediction: np.ndarray, brain: np.ndarray) -> float:
    """Mean SSIM over the whole grid; it is 1 far outside the brain, where both are zero, and only computed near it."""
    reach = 2 * SSIM_BORDER + 1
    padded = [np.pad(volume, reach) for volume in (target, prediction, brain)]
    spans = [np.flatnonzero(padded[2].any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple(slice(span[0] - SSIM_BORDER, span[-1] + SSIM_BORDER + 1) for span in spans)
    similarity = similarity_map(padded[0][box].astype(np.float64), padded[1][box].astype(np.float64), 1.0)
    return float(1 - (1 - similarity).sum() / target.size)


def score(target: np.ndarray, prediction: np.ndarray, sources: np.ndarray) -> dict[str, dict[str, float]]:
    """PSNR, and SSIM of methods that need no truth, by method; `sources [D, H, W, C]`."""
    brain = (sources > 0).any(axis=-1)
    single = [apply_cwdm_background(source, sources[..., 0]) for source in np.moveaxis(sources, -1, 0)]
    best = max(single, key=lambda source: psnr(target, source))
    ones = np.ones((*target.shape, 1), np.float32)
    predicted = {
        "model": apply_cwdm_background(prediction, sources[..., 0]),
        "best source": best,
        "mean of sources": apply_cwdm_background(sources.mean(axis=-1), sources[..., 0]),
        "model, scale": fit(prediction[..., None], target, brain),
        "model, scale and offset": fit(np.concatenate([prediction[..., None], ones], -1), target, brain),
        "linear combination": fit(np.concatenate([sources, ones], -1), target, brain),
    }
    alone = [fit(np.concatenate([s[..., None], ones], -1), target, brain) for s in single]
    predicted["best source, scale and offset"] = max(alone, key=lambda source: psnr(target, source))
    scores = {method: {"psnr": psnr(target, volume)} for method, volume in predicted.items()}
    for method in METHODS:
        scores[method]["ssim"] = ssim(target, predicted[method], brain)
    return scores


def moments_of(target: np.ndarray, prediction: np.ndarray, brain: np.ndarray) -> dict[str, float]:
    """What gives the squared error of any scale and offset of a prediction: means and products inside the brain."""
    true, predicted = target[brain].astype(np.float64), prediction[brain].astype(np.float64)
    covariance = np.cov(true, predicted, bias=True)
    found = {"true": true.mean(), "predicted": predicted.mean(), "share": brain.mean()}
    found |= {"true_deviation": covariance[0, 0] ** 0.5, "made_deviation": covariance[1, 1] ** 0.5}
    return {name: float(value) for name, value in (found | {"covariance": covariance[0, 1]}).items()}


def score_scan(predict, scan: Scan) -> list[dict]:
    """One row for each channel: hidden, predicted by `predict(scan, target)` and scored."""
    rows = []
    for target in scan.images:
        truth, prediction, sources = scan.images[target], predict(scan, target), scan.sources(target)
        row = {"site": scan.site, "subject": scan.name, "channel": target}
        moments = moments_of(truth, prediction, (sources > 0).any(axis=-1))
        rows.append(row | {"scores": score(truth, prediction, sources), "moments": moments})
    return rows


def table(rows: list[dict]) -> str:
    """Means over volumes, by site and channel, as Markdown."""
    columns = (*METHODS, *ORACLES)
    lines = [
        "PSNR (dB) / SSIM\n",
        "| site | channel | n | " + " | ".join(columns) + " |",
        "|---" * (3 + len(columns)) + "|",
    ]
    for site in sorted({row["site"] for row in rows}):
        of_site = [row for row in rows if row["site"] == site]
        for channel in (*dict.fromkeys(row["channel"] for row in of_site), "all"):
            chosen = [row["scores"] for row in of_site if channel in ("all", row["channel"])]
            cells = [_cell([scores[method] for scores in chosen]) for method in columns]
            lines.append(f"| {site} | {channel} | {len(chosen)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(scores: list[dict]) -> str:
    means = [np.mean([each[metric] for each in scores]) for metric in scores[0]]
    return " / ".join(text.format(mean) for text, mean in zip(("{:.2f}", "{:.4f}"), means, strict=False))


def main():
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--root", action="append", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--linear", action="store_true")
    parser.add_argument("--spacing", type=float, help="mm; score in voxels of this size, not in the scan's: quick")
    options = parser.parse_args()
    from experiments.real_scans.prediction import predictor

    output = Path(options.output).with_suffix(".jsonl")
    rows = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
    done = {(row["site"], row["subject"]) for row in rows}
    predict = predictor(options.workdir, guided=not (options.linear or options.spacing))
    for root in options.root:
        for scan in read_scans(root):
            if (scan.site, scan.name) not in done:
                new = score_scan(predict, scan.resampled(options.spacing) if options.spacing else scan)
                with output.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in new)
                rows += new
    text = table(rows)
    output.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
