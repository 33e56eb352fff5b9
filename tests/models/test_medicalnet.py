"""MedicalNet's ResNet-50 against plain NumPy, and what its loader refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.errors import UserError
from lift_jax.models.encoders.resnet import Bottleneck, MedicalNet, medicalnet_features, medicalnet_parameters
from tests.plain_resnet import bottleneck, write_safetensors
from tests.plain_resnet import medicalnet_features as plain_features
from tests.plain_resnet import medicalnet_weights as random_weights

SLIM = MedicalNet(features=2)


@pytest.fixture(scope="module")
def weights():
    return random_weights(SLIM.features)


@pytest.fixture(scope="module")
def params(weights, tmp_path_factory):
    path = write_safetensors(tmp_path_factory.mktemp("weights") / "w.safetensors", weights)
    return medicalnet_parameters(path, SLIM)


@pytest.mark.parametrize(("name", "stride", "dilation"), [("layer2.0", 2, 1), ("layer4.0", 1, 4), ("layer3.1", 1, 2)])
def test_a_bottleneck_equals_a_plain_one(weights, params, name, stride, dilation):
    inputs = weights[f"{name}.conv1.weight"].shape[1]
    x = np.random.default_rng(0).normal(size=(1, inputs, 5, 6, 4))
    block = Bottleneck(len(weights[f"{name}.conv1.weight"]), stride, dilation)
    made = block.apply({"params": params[name.replace(".", "_")]}, jnp.asarray(np.moveaxis(x, 1, -1), jnp.float32))
    expected = bottleneck(x, weights, name, stride, dilation)
    np.testing.assert_allclose(np.moveaxis(made, -1, 1), expected, rtol=1e-4, atol=1e-4)


def test_features_equal_the_plain_network_on_axes_as_brats_stores_them(weights, params):
    volumes = np.random.default_rng(1).random((2, 24, 17, 20))  # [D, H, W]: superior, anterior and right
    stored = volumes.transpose(0, 3, 2, 1)[:, ::-1, ::-1]
    expected = plain_features(weights, stored)
    features = medicalnet_features(params, volumes, SLIM)
    assert features.shape == (2, 32 * SLIM.features)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_the_published_network_has_2048_features_and_the_tensors_of_its_authors():
    network = MedicalNet()
    features, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), jnp.zeros((1, 16, 16, 16, 1)))
    assert features.shape == (1, 2048)
    kernels = [leaf for leaf in jax.tree.leaves(variables) if len(leaf.shape) == 5]
    assert len(kernels) == 1 + 3 * (3 + 4 + 6 + 3) + 4
    shapes = jax.tree.map(lambda leaf: leaf.shape, variables["params"])
    assert shapes["conv1"]["kernel"] == (7, 7, 7, 1, 64)
    assert shapes["layer4_2"]["conv2"]["kernel"] == (3, 3, 3, 512, 512)
    assert shapes["layer4_0"]["downsample_0"]["kernel"] == (1, 1, 1, 1024, 2048)


def test_missing_weights_say_where_to_get_them(tmp_path):
    with pytest.raises(UserError, match=r"resnet_50_23dataset\.pth.*python -m scripts\.convert_weights"):
        medicalnet_parameters(tmp_path / "none.safetensors")


def test_weights_of_another_network_are_refused(weights, tmp_path):
    path = write_safetensors(tmp_path / "w.safetensors", weights)
    with pytest.raises(UserError, match=r"conv1\.weight has shape \(2, 1, 7, 7, 7\), not \(64, 1, 7, 7, 7\)"):
        medicalnet_parameters(path)
