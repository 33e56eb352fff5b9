import jax
import numpy as np
import pytest

from lift_jax.models.encoders.features import VARIANCE_FLOOR, FeatureSet, pixel_differences

RNG = np.random.default_rng(0)
MAPS = [RNG.normal(size=shape).astype(np.float32) for shape in ((3, 8, 12, 5), (3, 4, 6, 7))]
IMAGES = RNG.uniform(-1, 1, (3, 8, 12, 1)).astype(np.float32)


def cells(features, grid):
    """The voxels of each cell, `[N, cells, voxels, C]`, by plain slicing."""
    n, height, width, channels = features.shape
    h, w = height // grid, width // grid
    parts = [features[:, r * h : (r + 1) * h, c * w : (c + 1) * w] for r in range(grid) for c in range(grid)]
    return np.stack([part.reshape(n, h * w, channels) for part in parts], axis=1).astype(np.float64)


@pytest.mark.parametrize("grid", [1, 2, 4])
def test_cells_have_the_mean_and_deviation_of_their_voxels(grid):
    tensors = FeatureSet(grids=(grid,), local=0, pixels=0)(MAPS, IMAGES)
    parts = cells(MAPS[0], grid)
    np.testing.assert_allclose(tensors[f"map0_mean{grid}"], parts.mean(2), atol=1e-6)
    np.testing.assert_allclose(tensors[f"map0_deviation{grid}"], np.sqrt(parts.var(2) + VARIANCE_FLOOR), rtol=1e-5)


def test_a_grid_that_does_not_fit_a_map_is_left_out():
    assert set(FeatureSet(grids=(1, 4), local=0, pixels=0)(MAPS, IMAGES)) == {
        "squares",
        *(f"map{i}_{kind}1" for i in (0, 1) for kind in ("mean", "deviation")),
        *(f"map0_{kind}4" for kind in ("mean", "deviation")),
    }


def test_small_maps_give_a_vector_at_each_place():
    tensors = FeatureSet(grids=(), local=6, pixels=0)(MAPS, IMAGES)
    assert set(tensors) == {"squares", "map1_local"}
    np.testing.assert_array_equal(tensors["map1_local"][:, 6 * 2 + 3], MAPS[1][:, 2, 3])


def test_patches_hold_the_pixels_and_squares_their_mean_square():
    tensors = FeatureSet(grids=(), local=0, pixels=4)(MAPS, IMAGES)
    assert tensors["pixels"].shape == (3, 2 * 3, 16)
    np.testing.assert_array_equal(np.sort(tensors["pixels"][1, 4]), np.sort(IMAGES[1, 4:8, 4:8, 0].ravel()))
    np.testing.assert_allclose(tensors["squares"][:, 0, 0], (IMAGES.astype(np.float64) ** 2).mean((1, 2, 3)), rtol=1e-6)


def test_differences_are_those_of_neighboring_pixels():
    image = IMAGES[0, :, :, 0].astype(np.float64)
    height, width = image.shape
    differences = np.asarray(pixel_differences(IMAGES))[0]
    for i, (down, right) in enumerate(((0, 1), (1, 0))):
        for row in range(height):
            for column in range(width):
                neighbor = image[min(row + down, height - 1), min(column + right, width - 1)]
                assert differences[row, column, i] == pytest.approx(abs(neighbor - image[row, column]), abs=1e-6)
    tensors = FeatureSet(grids=(), local=0, pixels=0, gradients=(1, 4, 8))(MAPS, IMAGES)
    assert set(tensors) == {"squares", "gradient1", "gradient4"}  # 8 does not divide 12
    np.testing.assert_allclose(tensors["gradient4"][0], cells(differences[None], 4)[0].mean(1), rtol=1e-5)


def test_a_constant_map_has_a_finite_gradient():

    gradient = jax.grad(lambda x: FeatureSet()([x], IMAGES)["map0_deviation1"].sum())(
        np.ones((3, 8, 12, 5), np.float32)
    )
    assert np.isfinite(gradient).all()
