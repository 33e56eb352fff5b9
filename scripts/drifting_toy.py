"""Drives every drifting field on three distributions in the plane, and draws how it gets there.

python -m scripts.drifting_toy --output toy --fields softmax,my_field --generator network

Writes `DIR/<distribution>.png`, a row a field and a column a step, generated over real; and `DIR/energy_distance.md`:
the energy distance at the end, beside that of as many real samples. All fields run at the same settings, which are not
tuned for any one: a field that fails here is shown failing.
"""

import functools
import pathlib
import time

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from absl import app, flags
from scipy.spatial.distance import cdist

from lift_jax.losses.drifting import FIELDS, TEMPERATURES, drifting_loss
from lift_jax.paths import atomic_write

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OUTPUT = flags.DEFINE_string("output", None, "directory of the pictures and the table", required=True)
GENERATOR = flags.DEFINE_enum("generator", "particles", ["particles", "network"], "what moves")
CHOSEN = flags.DEFINE_list("fields", list(FIELDS), "names of fields")
TEMPERATURE = flags.DEFINE_multi_float("temperature", list(TEMPERATURES), "each is used; give several")
PARTICLES = flags.DEFINE_integer("particles", 96, "generated, and real, samples a step", 2)
STEPS = flags.DEFINE_integer("steps", 200, "of descent", 5)
SEED = flags.DEFINE_integer("seed", 0, "of everything")

PARTICLE_STEP = 0.1
"""Length of a first step, in units of the field and of the distance scale; falls to zero along a cosine."""

LEARNING_RATE = 3e-3
"""Of Adam, for the network; falls to zero along a cosine."""

HIDDEN = 64
"""Width of the network's two hidden layers."""

BANK = 2000
"""Real samples of each distribution that a step draws from, and as many others that the end is compared with."""

SCORED = 1000
"""Samples that the energy distance is taken of, for the network; particles are scored as they are."""


def two_moons(key: jax.Array, count: int) -> jax.Array:
    """Two half circles that reach into each other, `[count, 2]`."""
    angle_key, noise_key = jax.random.split(key)
    angle = jnp.pi * jax.random.uniform(angle_key, (count,))
    upper = jnp.arange(count) % 2 == 0
    x = jnp.where(upper, jnp.cos(angle) - 0.5, 0.5 - jnp.cos(angle))
    y = jnp.where(upper, jnp.sin(angle) - 0.25, 0.25 - jnp.sin(angle))
    return jnp.stack([x, y], axis=-1) + 0.05 * jax.random.normal(noise_key, (count, 2))


def eight_gaussians(key: jax.Array, count: int) -> jax.Array:
    """Eight narrow modes on a circle, `[count, 2]`."""
    mode_key, noise_key = jax.random.split(key)
    angle = jax.random.randint(mode_key, (count,), 0, 8) * jnp.pi / 4
    modes = 1.5 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    return modes + 0.08 * jax.random.normal(noise_key, (count, 2))


def checkerboard(key: jax.Array, count: int) -> jax.Array:
    """Every other square of four by four, `[count, 2]`."""
    column_key, row_key, place_key = jax.random.split(key, 3)
    column = jax.random.randint(column_key, (count,), 0, 4)
    row = 2 * jax.random.randint(row_key, (count,), 0, 2) + column % 2
    return jnp.stack([column, row], axis=-1) - 2 + jax.random.uniform(place_key, (count, 2))


DISTRIBUTIONS = {"two_moons": two_moons, "eight_gaussians": eight_gaussians, "checkerboard": checkerboard}


def energy_distance(a: np.ndarray, b: np.ndarray) -> float:
    """`2 E‖a - b‖ - E‖a - a'‖ - E‖b - b'‖` over all pairs; zero only where the two samples are the same."""

    return 2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean()


def descend(key: jax.Array, bank: jax.Array, drift_loss, count: int, steps: int) -> jax.Array:
    """Particles under a loss from a blob off the center, other real samples each step: `[steps + 1, count, 2]`."""

    def step(x, step_and_key):
        number, key = step_and_key
        real = jax.random.choice(key, bank, (count,))

        def loss(x):
            value, stats = drift_loss(x[None], real[None])
            return value.sum(), stats["distance_scale"]

        gradient, scale = jax.grad(loss, has_aux=True)(x)
        # From the gradient of the loss back to the field it is made of, in the plane's own units.
        drift = -gradient * x.size / 2 * (scale**2 / 2)
        rate = PARTICLE_STEP * (1 + jnp.cos(jnp.pi * number / steps)) / 2
        x = x + rate * drift
        return x, x

    start_key, key = jax.random.split(key)
    x = 0.3 * jax.random.normal(start_key, (count, 2)) + jnp.array([0.3, 0.2])
    _, path = jax.lax.scan(step, x, (jnp.arange(steps), jax.random.split(key, steps)))
    return jnp.concatenate([x[None], path])


def train(key: jax.Array, bank: jax.Array, drift_loss, count: int, steps: int) -> jax.Array:
    """What a network from noise to samples makes at each step of its training by a loss: `[steps + 1, 1000, 2]`."""
    start_key, show_key, key = jax.random.split(key, 3)
    sizes = (2, HIDDEN, HIDDEN, 2)
    layers = [
        (jax.random.normal(k, (i, o)) / i**0.5, jnp.zeros((1, o)))
        for k, i, o in zip(jax.random.split(start_key, 3), sizes[:-1], sizes[1:], strict=True)
    ]
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))

    def generate(layers, noise):
        for weights, bias in layers[:-1]:
            noise = jax.nn.silu(noise @ weights + bias)
        return noise @ layers[-1][0] + layers[-1][1]

    def step(state, key):
        layers, optimizer_state = state
        real_key, noise_key = jax.random.split(key)
        real, noise = jax.random.choice(real_key, bank, (count,)), jax.random.normal(noise_key, (count, 2))

        def loss(layers):
            x = generate(layers, noise)
            return drift_loss(x[None], real[None])[0].sum()

        updates, optimizer_state = optimizer.update(jax.grad(loss)(layers), optimizer_state)
        layers = optax.apply_updates(layers, updates)
        return (layers, optimizer_state), generate(layers, shown)

    shown = jax.random.normal(show_key, (SCORED, 2))
    _, path = jax.lax.scan(step, (layers, optimizer.init(layers)), jax.random.split(key, steps))
    return jnp.concatenate([generate(layers, shown)[None], path])


def paths_of(field: str, banks: jax.Array) -> np.ndarray:
    """Where a field takes its samples on each distribution: `[distributions, steps + 1, samples, 2]`."""
    move = descend if GENERATOR.value == "particles" else train
    key = jax.random.key(SEED.value)

    loss = functools.partial(drifting_loss, field=field, temperatures=tuple(TEMPERATURE.value))

    def run(bank):
        return move(key, bank, loss, PARTICLES.value, STEPS.value)

    return np.asarray(jax.jit(jax.vmap(run))(banks))


def draw(paths: dict[str, np.ndarray], real: np.ndarray, scores: dict[str, float]) -> plt.Figure:
    """A row a field, a column a step; generated over real."""
    last = STEPS.value
    columns = [0, last // 20, last // 5, last // 2, last]
    figure, panels = plt.subplots(
        len(paths),
        len(columns),
        figsize=(1.5 * len(columns), 1.6 * len(paths)),
        squeeze=False,
        layout="constrained",
    )
    for row, (field, path) in zip(panels, paths.items(), strict=True):
        for panel, step in zip(row, columns, strict=True):
            panel.scatter(*real.T, s=1, color="0.8", linewidths=0)
            panel.scatter(*path[step].T, s=3, color="tab:red", linewidths=0)
            panel.set(xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), xticks=[], yticks=[], aspect="equal")
        row[0].set_ylabel(field, fontsize=8)
        row[-1].set_title(f"energy distance {scores[field]:.4f}", fontsize=6)
    for panel, step in zip(panels[0, :-1], columns[:-1], strict=True):
        panel.set_title(f"step {step}", fontsize=8)
    return figure


def table(scores: dict[str, dict[str, float]], seconds: dict[str, float]) -> str:
    """Markdown: a row a field, a column a distribution."""
    settings = f"{GENERATOR.value}, {PARTICLES.value} a step, {STEPS.value} steps, temperatures {TEMPERATURE.value}"
    lines = [f"Energy distance at the end; {settings}, seed {SEED.value}.", ""]
    lines += [f"| field | {' | '.join(DISTRIBUTIONS)} | seconds |", "|---|" + "---|" * (len(DISTRIBUTIONS) + 1)]
    for name in next(iter(scores.values())):
        numbers = " | ".join(f"{scores[distribution][name]:.4f}" for distribution in DISTRIBUTIONS)
        lines.append(
            f"| `{name}` | {numbers} | {seconds[name]:.1f} |" if name in seconds else f"| {name} | {numbers} | |"
        )
    return "\n".join(lines) + "\n"


def main(_):
    """Runs the fields, prints the table and writes the pictures."""
    output = pathlib.Path(OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    reals, banks = (
        np.stack([sample(jax.random.key(SEED.value + offset), BANK) for sample in DISTRIBUTIONS.values()])
        for offset in (1000, 2000)
    )
    paths, seconds = {}, {}
    for field in CHOSEN.value:
        start = time.perf_counter()
        paths[field] = paths_of(field, banks)
        seconds[field] = time.perf_counter() - start
    scores = {}
    for i, (name, real) in enumerate(zip(DISTRIBUTIONS, reals, strict=True)):
        ends = {field: path[i, -1] for field, path in paths.items()}
        ends["as many real"] = banks[i, : len(ends[CHOSEN.value[0]])]
        scores[name] = {field: energy_distance(end, real) for field, end in ends.items()}
        figure = draw({field: path[i] for field, path in paths.items()}, real, scores[name])
        figure.savefig(output / f"{name}.png", dpi=110)
        plt.close(figure)
    text = table(scores, seconds)
    atomic_write(output / "energy_distance.md", text)
    print(text, end="")


if __name__ == "__main__":
    app.run(main)
