"""Every drifting field but the published one in plain float64, from its formula; self-exclusion by leaving out."""

import numpy as np

ROOT5 = np.sqrt(5)


def field_reference(name, x, positives, negatives, weights, temperature):
    """Force `[N, C]` at one location in scaled coordinates, and the distance scale."""
    x, positives, negatives = (np.asarray(a, np.float64) for a in (x, positives, negatives))
    y = np.concatenate([x, negatives])
    w = np.concatenate([np.ones(len(x)), np.asarray(weights, np.float64)])
    everything, all_weights = np.concatenate([y, positives]), np.concatenate([w, np.ones(len(positives))])
    distances = np.array([[max(np.linalg.norm(a - b), 1e-4) for b in everything] for a in x])
    scale = np.mean(distances * all_weights) / np.mean(all_weights)
    unit = scale / np.sqrt(x.shape[1])
    x, y, positives = x / unit, y / unit, positives / unit
    if name == "sinkhorn":
        return sinkhorn_field(x, y, w, positives, temperature), scale
    values = []
    for i in range(len(x)):
        others = np.arange(len(y)) != i
        value = POINTWISE[name](x[i], positives, y[others], w[others], temperature)
        values.append(value)
    return np.array(values), scale


def rms(differences):
    """Distances: root mean squares over features."""
    return np.sqrt(np.mean(differences**2, axis=-1))


def kernel_mean(x, y, w, kernel):
    k = w * kernel(rms(y - x))
    return sum(k[j] * y[j] for j in range(len(y))) / k.sum()


def kernel_and_gradient(x, y, w, kernel, slope):
    """Mean of the kernel, and its gradient: each target's slope along y - x."""
    d = rms(y - x)
    gradient = sum(w[j] * slope(d[j]) * (y[j] - x) for j in range(len(y)))
    return (w * kernel(d)).sum() / w.sum(), gradient / w.sum()


def both(x, real, y, w, kernel, slope):
    p, grad_p = kernel_and_gradient(x, real, np.ones(len(real)), kernel, slope)
    q, grad_q = kernel_and_gradient(x, y, w, kernel, slope)
    return p, grad_p, q, grad_q


def row_softmax(x, real, y, w, t):
    a, b = np.exp(-rms(real - x) / t), np.exp(-rms(y - x) / t)
    total = a.sum() + b.sum()
    a, b = np.maximum(a / total, 1e-3), np.maximum(b / total, 1e-3) * w
    # The particle itself is masked to the floor: it adds no displacement, but mass.
    mass = b.sum() + 1e-3
    return mass * (a @ (real - x)) - a.sum() * (b @ (y - x))


def unnormalized(x, real, y, w, t):
    a, b = np.exp(-rms(real - x) / t) / len(real), w * np.exp(-rms(y - x) / t) / w.sum()
    return sum(a[i] * b[j] * (real[i] - y[j]) for i in range(len(a)) for j in range(len(b)))


def mean_shift(x, real, y, w, t):
    def laplace(d):
        return np.exp(-d / t)

    return kernel_mean(x, real, np.ones(len(real)), laplace) - kernel_mean(x, y, w, laplace)


def gaussian_score(x, real, y, w, t):
    def gaussian(d):
        return np.exp(-(d**2) / (2 * t**2))

    p, grad_p, q, grad_q = both(x, real, y, w, gaussian, lambda d: gaussian(d) / t**2)
    return t**2 * (grad_p / p - grad_q / q)


def laplace_pair(t):
    return lambda d: np.exp(-d / t), lambda d: np.exp(-d / t) / (t * d)


def kernel_gradient(x, real, y, w, t):
    p, grad_p, q, grad_q = both(x, real, y, w, *laplace_pair(t))
    return grad_p / p - grad_q / q


def sharp_laplace(x, real, y, w, t):
    p, grad_p, q, grad_q = both(x, real, y, w, lambda d: (1 + d / t) * np.exp(-d / t), lambda d: np.exp(-d / t) / t**2)
    return grad_p / p - grad_q / q


def matern(x, real, y, w, t):
    def kernel(d):
        r = ROOT5 * d / t
        return (1 + r + r**2 / 3) * np.exp(-r)

    p, grad_p, q, grad_q = both(
        x, real, y, w, kernel, lambda d: 5 / (3 * t**2) * (1 + ROOT5 * d / t) * np.exp(-ROOT5 * d / t)
    )
    return grad_p / p - grad_q / q


def mmd(x, real, y, w, t):
    _, grad_p, _, grad_q = both(x, real, y, w, *laplace_pair(t))
    return grad_p - grad_q


def reverse_kl_chi2(x, real, y, w, t):
    def gaussian(d):
        return np.exp(-(d**2) / (2 * t**2))

    p, grad_p, q, grad_q = both(x, real, y, w, gaussian, lambda d: gaussian(d) / t**2)
    reverse_kl = grad_p / p - grad_q / q
    chi2 = -2 * (grad_q / p - q * grad_p / p**2)
    return 0.5 * reverse_kl + 0.5 * chi2


def sinkhorn_field(x, y, w, real, t, iterations=20):
    """By scaling matrices in the open; nothing is masked."""

    def carried(targets, masses):
        gibbs = np.exp(-np.array([rms(targets - a) ** 2 for a in x]) / (2 * t))
        columns = masses.copy()
        for _ in range(iterations):
            rows = 1 / (gibbs @ columns)
            columns = masses / (gibbs.T @ rows)
        plan = gibbs * columns
        return (plan @ targets) / plan.sum(1, keepdims=True)

    return carried(real, np.ones(len(real))) - carried(y, w)


POINTWISE = {
    "row_softmax": row_softmax,
    "unnormalized": unnormalized,
    "mean_shift": mean_shift,
    "gaussian_score": gaussian_score,
    "kernel_gradient": kernel_gradient,
    "sharp_laplace": sharp_laplace,
    "matern": matern,
    "mmd": mmd,
    "reverse_kl_chi2": reverse_kl_chi2,
}
