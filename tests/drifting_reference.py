"""The drifting loss in plain float64 loops, as the text of arXiv 2602.04770's code reads."""

import numpy as np


def drifting_reference(x, positives, negatives=None, weights=None, temperatures=(0.02, 0.05, 0.2), floor=1e-6):
    """Loss `[L]`, gradient of its sum by x, distance scale, and raw field and effective neighbors per temperature."""
    x, positives = np.asarray(x, np.float64), np.asarray(positives, np.float64)
    locations, queries, features = x.shape
    negatives = np.zeros((locations, 0, features)) if negatives is None else np.asarray(negatives, np.float64)
    weights = np.ones(negatives.shape[:2]) if weights is None else np.broadcast_to(weights, negatives.shape[:2])
    t = np.concatenate([x, negatives, positives], axis=1)
    w = np.concatenate([np.ones(x.shape[:2]), weights, np.ones(positives.shape[:2])], axis=1)
    repelling, targets = queries + negatives.shape[1], t.shape[1]

    d = np.zeros((locations, queries, targets))
    for place, i, j in np.ndindex(d.shape):
        d[place, i, j] = np.sqrt(max(np.sum((x[place, i] - t[place, j]) ** 2), 1e-8))
    scale = np.mean(d * w[:, None, :]) / np.mean(w)
    unit = max(scale / np.sqrt(features), 1e-3)
    d = d / max(scale, 1e-3)
    for i in range(queries):
        d[:, i, i] += 100

    drift, values, neighbors = np.zeros_like(x), [], []
    for temperature in temperatures:
        kernel = -d / temperature
        over_targets = np.exp(kernel - log_sum(kernel, axis=2))
        over_queries = np.exp(kernel - log_sum(kernel, axis=1))
        affinity = np.sqrt(np.maximum(over_targets * over_queries, floor)) * w[:, None, :]
        field_value = np.zeros_like(x)
        effective = []
        for place, i in np.ndindex(x.shape[:2]):
            repulsion, attraction = affinity[place, i, :repelling], affinity[place, i, repelling:]
            for j in range(targets):
                if j < repelling:
                    coefficient = -affinity[place, i, j] * attraction.sum()
                else:
                    coefficient = affinity[place, i, j] * repulsion.sum()
                field_value[place, i] += coefficient * (t[place, j] - x[place, i]) / unit
            effective.append(attraction.sum() ** 2 / (attraction**2).sum())
        drift += field_value / np.sqrt(max(np.mean(field_value**2), 1e-8))
        values.append(np.mean(field_value**2))
        neighbors.append(np.mean(effective))
    loss = (drift**2).mean(axis=(1, 2))
    return loss, -2 * drift / (queries * features * unit), scale, values, neighbors


def log_sum(values, axis):
    """log Σ exp, the axis kept."""
    largest = values.max(axis=axis, keepdims=True)
    return largest + np.log(np.exp(values - largest).sum(axis=axis, keepdims=True))
