"""Trains decoder or mapper through AlexNet's maps of whole generated volumes, plane by plane.

`python -m experiments.generation.finish AE_RUN MAPPER_RUN RUN [key=value ...]`. Resumable: RUN/state.pkl. MAPPER_RUN
may be `-` (a mapper of zeros), or a run of this script, of which decoder and mapper are taken over.

Features drift along the affine optimal transport T from the moments of generated volumes to real moments, which is the
gradient of the Fréchet distance (arXiv 2604.28190). Moments are those of a reference, the networks as they were some
steps ago, and so are the features that T is applied to: `‖f(x) - T(f(x_reference))‖²`, of the same codes, has a fixed
goal. Were T applied to the newest features, it would push on until the next moments are taken, and oscillate.
Problems are separate for each plane, depth bin, map and cell.
"""

import json
import pickle
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.generation.autoencoder import networks
from experiments.generation.mapper import DEFAULTS as MAPPER_DEFAULTS
from experiments.generation.mapper import Mapper, map_volumes
from experiments.generation.phantoms import load as load_phantoms
from experiments.generation.trajectories import linear_prior, load_run
from lift_jax.models.encoders.alexnet import AlexNet, alexnet_parameters

DEFAULTS = {
    "train": "decoder", "planes": [0, 1, 2], "bins": 8, "steps": 400, "batch": 8, "rate": 3e-4, "anchor": 10.0,
    "samples": 256, "refresh": 50, "real": 1024, "grid": 3, "seed": 0, "codes": 1024, "independent": False,
    "principal": 64, "judge": 200,
}  # fmt: skip
MAPPER_KEYS = ("hidden", "layers", "knots")


def cells(side: int, grid: int) -> np.ndarray:
    """Overlapping averages, `[grid, side]`: triangular weights around evenly spread centres; grid 1 is the mean."""
    if grid == 1:
        return np.full((1, side), 1 / side, np.float32)
    centres = np.linspace(side / (2 * grid), side - side / (2 * grid), grid)
    weights = np.maximum(1 - np.abs(np.arange(side) + 0.5 - centres[:, None]) / (side / grid), 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def slice_features(images, grid):
    """Images `[N, H, W]` in [-1, 1] to `[cells, N, C]` for each map: mean, deviation, and means over a grid."""
    features = []
    for x in AlexNet().apply({"params": alexnet_parameters()}, images[..., None]):
        mean = x.mean((1, 2))
        deviation = jnp.sqrt(((x - mean[:, None, None]) ** 2).mean((1, 2)) + 1e-4)
        a, b = cells(x.shape[1], grid), cells(x.shape[2], grid)
        local = jnp.einsum("gh,nhwc,kw->gknc", a, x, b).reshape(grid * grid, len(x), -1)
        features.append(jnp.concatenate([mean[None], deviation[None], local]))
    return features


def cut(volumes, plane, places):
    """Volumes `[B, D, H, W]` to slices `[B P, h, w]` along an axis, `places [B, P]` of its own for every volume."""
    volumes = jnp.moveaxis(volumes, 1 + plane, 1)
    slices = jnp.take_along_axis(volumes, places[:, :, None, None], axis=1)
    return slices.reshape(-1, *slices.shape[2:])


def places_of(key, batch, bins, size):
    """One random place out of each of `bins` equal parts of the axis, `[batch, bins]`."""
    jitter = jax.random.uniform(key, (batch, bins))
    return ((jnp.arange(bins)[None] + jitter) * size / bins).astype(jnp.int32)


def volume_features(volumes, planes, bins, grid, key):
    """Volumes `[B, D, H, W]` in [-1, 1] to `{plane: [map: [bins, cells, B, C]]}`."""
    out = {}
    batch = len(volumes)
    for plane in planes:
        places = places_of(jax.random.fold_in(key, plane), batch, bins, volumes.shape[1 + plane])
        maps = slice_features(cut(volumes, plane, places), grid)
        out[str(plane)] = [x.reshape(x.shape[0], batch, bins, -1).transpose(2, 0, 1, 3) for x in maps]
    return out


def project(x, directions):
    """`[bins, cells, N, C]` on principal directions `[bins, cells, C, K]`."""
    return jnp.einsum("lgnc,lgck->lgnk", x, directions)


def principal_directions(x: np.ndarray, count: int) -> np.ndarray:
    """`[bins, cells, V, C]` to `[bins, cells, C, count]`."""
    return np.linalg.eigh(batched_moments(x)[1])[1][..., ::-1][..., :count].astype(np.float32)


def batched_moments(x: np.ndarray):
    mean = x.mean(-2)
    centred = (x - mean[..., None, :]).astype(np.float32)
    return mean, centred.swapaxes(-1, -2) @ centred / (x.shape[-2] - 1)


def transport(generated, real):
    """Affine optimal transport between Gaussians, `y = x A + b`, `[..., C, C]` and `[..., C]`."""
    (m1, s1), (m2, s2) = generated, real
    ridge = (
        0.1 * np.trace(s2, axis1=-2, axis2=-1)[..., None, None] / s2.shape[-1] * np.eye(s2.shape[-1], dtype=np.float32)
    )
    s1, s2 = s1 + ridge, s2 + ridge
    root2 = _power(s2, 0.5)
    middle = _power(root2 @ s1 @ root2, -0.5)
    values, vectors = np.linalg.eigh(root2 @ middle @ root2)
    # Where generated features hardly vary, the map would blow noise up.
    a = (vectors * values.clip(0.5, 2.0)[..., None, :]) @ vectors.swapaxes(-1, -2)
    b = m2 - np.einsum("...c,...cd->...d", m1, a)
    return a.astype(np.float32), b.astype(np.float32)


def _power(s, p):
    values, vectors = np.linalg.eigh(s)
    values = np.maximum(values, 1e-5 * values[..., -1:])
    return (vectors * values[..., None, :] ** p) @ vectors.swapaxes(-1, -2)


def real_features(config, data, volumes) -> dict:
    """Features of real volumes, cached beside the data: `{plane: [map: [bins, cells, V, C]]}` float16."""
    name = f"features-{config['real']}-{config['bins']}-{config['grid']}.pkl"
    file = Path(data).parent / f"{Path(data).name}-{name}"
    if file.exists():
        return pickle.loads(file.read_bytes())
    function = jax.jit(lambda v, k: volume_features(v, [0, 1, 2], config["bins"], config["grid"], k))
    blocks = []
    for i in range(0, config["real"], 32):
        block = function(
            2 * jnp.asarray(volumes[i : i + 32], jnp.float32) - 1, jax.random.fold_in(jax.random.key(7), i)
        )
        blocks.append(jax.tree.map(lambda x: np.asarray(x, np.float16), block))
    features = jax.tree.map(lambda *x: np.concatenate(x, axis=2), *blocks)
    file.write_bytes(pickle.dumps(features))
    return features


def main():
    from experiments.generation.score import Score, picture

    ae_run, mapper_run, run = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    run.mkdir(parents=True, exist_ok=True)
    config = dict(DEFAULTS)
    for argument in sys.argv[4:]:
        key, value = argument.split("=", 1)
        config[key] = value if isinstance(DEFAULTS[key], str) else type(DEFAULTS[key])(json.loads(value))
    ae_config, ae_state = load_run(ae_run)
    volumes = load_phantoms(ae_config["data"], 0, ae_config["train"]).astype(np.float16)
    latents = np.load(ae_run / "latents.npy")
    prior = jax.tree.map(jnp.asarray, linear_prior(latents, config["codes"]))
    shapes = dict(MAPPER_DEFAULTS)
    decoder_params, mapper_params = ae_state["average"]["decoder"], None
    if str(mapper_run) != "-":
        shapes |= json.loads((mapper_run / "config.json").read_text())
        before = jax.tree.map(jnp.asarray, pickle.loads((mapper_run / "state.pkl").read_bytes()))["average"]
        decoder_params, mapper_params = before.get("decoder", decoder_params), before.get("mapper", before)
    decoder = networks(ae_config, volumes.shape[2:])[1]
    decoder_params = ae_state["average"]["decoder"] | decoder_params
    mapper = Mapper(latents.shape[-1], *(shapes[k] for k in MAPPER_KEYS))
    if mapper_params is None:
        mapper_params = jax.jit(mapper.init)(jax.random.key(0), jnp.zeros((1, config["codes"])))["params"]
    (run / "config.json").write_text(
        json.dumps(
            {k: shapes[k] for k in MAPPER_KEYS} | config | {"autoencoder": str(ae_run), "from": str(mapper_run)},
            indent=1,
        )
    )

    size = volumes.shape[1:]
    real = real_features(config, ae_config["data"], volumes)
    real = {str(p): real[str(p)] for p in config["planes"]}
    directions = jax.tree.map(lambda x: principal_directions(x.astype(np.float32), config["principal"]), real)
    real = jax.tree.map(lambda x, d: x.astype(np.float32) @ d, real, directions)
    real_moments = jax.tree.map(batched_moments, real)
    units = jax.tree.map(
        lambda m: float(np.trace(m[1], axis1=-2, axis2=-1).mean()), real_moments, is_leaf=lambda x: isinstance(x, tuple)
    )
    print("real moments", flush=True)
    flat = volumes.reshape(-1, *size[1:])
    filled = np.flatnonzero(flat.reshape(len(flat), -1).max(1) > 0.02)
    flat_latents = latents.reshape(-1, latents.shape[-1])

    trained = {"decoder": ("decoder",), "mapper": ("mapper",), "both": ("decoder", "mapper")}[config["train"]]
    whole = {"decoder": decoder_params, "mapper": mapper_params}
    schedule = optax.warmup_cosine_decay_schedule(0, config["rate"], 50, config["steps"], 0.05 * config["rate"])
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=0.95))
    file = run / "state.pkl"
    if file.exists():
        state = jax.tree.map(jnp.asarray, pickle.loads(file.read_bytes()))
    else:
        params = {k: whole[k] for k in trained}
        state = {"params": params, "average": whole, "opt": optimiser.init(params), "step": 0}

    def make(params, z):
        t = map_volumes(mapper, params["mapper"], prior, z)
        if config["independent"]:  # slices of independent volumes: shuffled over volumes at each depth
            t = jnp.stack([jnp.roll(t[:, d], d, axis=0) for d in range(t.shape[1])], 1)
        y = decoder.apply({"params": params["decoder"]}, t.reshape(-1, t.shape[-1]))
        return y.reshape(len(z), *size)

    def features_of(params, z, key):
        features = volume_features(make(params, z), config["planes"], config["bins"], config["grid"], key)
        return jax.tree.map(project, features, directions)

    def distance(features, targets):
        errors = jax.tree.map(lambda f, t, unit: ((f - t) ** 2).sum(-1).mean() / unit, features, targets, units)
        return sum(jax.tree.leaves(errors)) / len(features)

    def loss_function(trained_params, targets, z, key, x, codes):
        params = whole | trained_params
        terms = {"moments": distance(features_of(params, z, key), targets)}
        loss = terms["moments"]
        if "decoder" in trained_params and config["anchor"]:
            own = decoder.apply({"params": params["decoder"]}, codes)
            terms["anchor"] = jnp.abs(own - x).mean()
            loss += config["anchor"] * terms["anchor"]
        return loss, terms

    @jax.jit
    def step(state, reference, maps, key, x, codes):
        k1, k2 = jax.random.split(key)
        z = jax.random.normal(k1, (config["batch"], config["codes"]))
        before = features_of(whole | reference, z, k2)
        targets = jax.tree.map(lambda f, a, b: jnp.einsum("lgnc,lgcd->lgnd", f, a) + b[:, :, None], before, *maps)
        gradient, terms = jax.grad(loss_function, has_aux=True)(state["params"], targets, z, k2, x, codes)
        terms["reference"] = distance(before, targets)
        updates, opt = optimiser.update(gradient, state["opt"])
        params = optax.apply_updates(state["params"], updates)
        average = state["average"] | jax.tree.map(
            lambda a, p: 0.98 * a + 0.02 * p, {k: state["average"][k] for k in trained}, params
        )
        return {"params": params, "average": average, "opt": opt, "step": state["step"] + 1}, terms

    held_out = load_phantoms(ae_config["data"], 3136 if size[0] == 32 else ae_config["train"], 256)
    score = Score(held_out[:128], str(Path(ae_config["data"]).parent / f"held{size[0]}"))
    generate = jax.jit(lambda params, z: make(params, z))

    def judge(state, label):
        z = np.random.default_rng(1).standard_normal((128, config["codes"])).astype(np.float32)
        made = np.concatenate(
            [np.asarray(generate(state["average"], jnp.asarray(z[i : i + 16]))) for i in range(0, 128, 16)]
        )
        made = ((made + 1) / 2).clip(0, 1)
        print(label, score(made), flush=True)
        picture(run / f"samples-{label}.png", [held_out[128:], made])

    only = jax.jit(
        lambda params, key: features_of(params, jax.random.normal(key, (config["batch"], config["codes"])), key)
    )

    recent = []  # features of the last three references: moments of one are noisy

    def transport_maps(params, seed):
        keys = jax.random.split(jax.random.key(seed), config["samples"] // config["batch"])
        recent.append([jax.tree.map(np.asarray, only(whole | params, key)) for key in keys])
        del recent[:-3]
        features = [x for each in recent for x in each]
        generated = jax.tree.map(lambda *x: batched_moments(np.concatenate(x, axis=2)), *features)
        pairs = {p: [transport(g, r) for g, r in zip(generated[p], real_moments[p], strict=True)] for p in generated}
        return tuple({p: [jnp.asarray(pair[i]) for pair in pairs[p]] for p in pairs} for i in (0, 1))

    start, sums, reference = time.time(), {}, None
    for i in range(int(state["step"]), config["steps"]):
        if reference is None or i % config["refresh"] == 0:
            reference = state["params"]
            maps = transport_maps(reference, 1000 + i)
        generator = np.random.default_rng([config["seed"], i])
        chosen = np.concatenate([generator.choice(filled, 52), generator.choice(len(flat), 12)])
        state, terms = step(
            state,
            reference,
            maps,
            jax.random.fold_in(jax.random.key(config["seed"] + 1), i),
            jnp.asarray(2 * flat[chosen].astype(np.float32) - 1),
            jnp.asarray(flat_latents[chosen]),
        )
        sums = {k: sums.get(k, 0.0) + float(v) for k, v in terms.items()}
        if (i + 1) % 25 == 0:
            shown = {k: round(v / 25, 4) for k, v in sums.items()}
            print(i + 1, f"{time.time() - start:.0f} s, {time.process_time():.0f} of CPU", shown, flush=True)
            sums = {}
        if (i + 1) % 50 == 0 or i + 1 == config["steps"]:
            temporary = file.with_suffix(".part")
            temporary.write_bytes(pickle.dumps(jax.tree.map(np.asarray, state)))
            temporary.rename(file)
        if (i + 1) % config["judge"] == 0 or i + 1 == config["steps"]:
            judge(state, i + 1)


if __name__ == "__main__":
    main()
