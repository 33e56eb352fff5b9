"""ResNet-18 from a file against plain NumPy; files that are missing, damaged or of another network."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.errors import UserError
from lift_jax.models.encoders.resnet import ResNet18, resnet18_parameters
from lift_jax.models.encoders.weights import read_safetensors
from tests.plain_resnet import resnet18_maps, resnet18_weights, write_safetensors


@pytest.fixture(scope="module")
def weights():
    return resnet18_weights()


def test_maps_equal_a_plain_float64_resnet18(weights, tmp_path):
    params = resnet18_parameters(write_safetensors(tmp_path / "w.safetensors", weights))
    images = np.random.default_rng(1).uniform(-1, 1, (2, 45, 32)).astype(np.float32)  # an odd side: padding counts
    expected = resnet18_maps(weights, images)
    maps = jax.jit(ResNet18().apply)({"params": params}, images[..., None])
    assert [m.shape for m in maps] == [(2, 12, 8, 64), (2, 6, 4, 128), (2, 3, 2, 256), (2, 2, 1, 512)]
    for got, want in zip(maps, expected, strict=True):
        np.testing.assert_allclose(got.transpose(0, 3, 1, 2), want, rtol=2e-4, atol=2e-4 * np.abs(want).max())


def test_names_with_a_leading_module_and_half_precision_are_taken(weights, tmp_path):
    plain = resnet18_parameters(write_safetensors(tmp_path / "plain.safetensors", weights))
    name = "layer1.0.conv1.weight"
    other = {f"module.{k}": v for k, v in weights.items()} | {f"module.{name}": weights[name].astype(np.float16)}
    path = write_safetensors(tmp_path / "other.safetensors", other, {f"module.{name}": "F16"})
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), resnet18_parameters(path), plain)


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="32 or more"):
        jax.eval_shape(ResNet18().init, jax.random.key(0), jnp.zeros((1, 31, 64, 1)))


def test_a_missing_file_says_what_to_download_and_how_to_convert_it(tmp_path):
    with pytest.raises(UserError) as error:
        resnet18_parameters(tmp_path / "none.safetensors")
    for part in ("none.safetensors", "resnet18-f37072fd.pth", "python -m scripts.convert_weights"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def changed(weights, name, tensor):
    return {k: v for k, v in weights.items() if k != name} | ({name: tensor} if tensor is not None else {})


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("layer2.0.downsample.0.weight", None, r"layer2.0.downsample.0.weight of shape \(128, 64, 1, 1\) is missing"),
        ("bn1.running_var", None, r"bn1.running_var of shape \(64,\) is missing"),
        ("layer1.0.conv1.weight", np.zeros((64, 64, 1, 1)), r"\(64, 64, 1, 1\), not \(64, 64, 3, 3\)"),
        ("layer3.1.bn2.bias", np.full(256, np.nan), "layer3.1.bn2.bias holds values that are not finite"),
        ("layer1.2.conv1.weight", np.zeros((64, 64, 3, 3)), "layer1.2.conv1.weight is none of ResNet-18's"),
    ],
)
def test_weights_of_another_network_are_refused_by_the_tensor_that_differs(weights, tmp_path, name, tensor, message):
    path = write_safetensors(tmp_path / "w.safetensors", changed(weights, name, tensor))
    with pytest.raises(UserError, match=message):
        resnet18_parameters(path)


def test_tensors_are_read_as_they_were_written(tmp_path):
    random = np.random.default_rng(0)
    tensors = {
        "a": random.normal(size=(2, 3)),
        "b": random.normal(size=(4,)).astype(jnp.bfloat16),
        "c": np.int64(7),
        "empty": np.zeros((0, 3), np.float32),
    }
    path = write_safetensors(tmp_path / "t.safetensors", tensors, {"a": "F64", "b": "BF16", "c": "I64"})
    read = read_safetensors(path)
    for name, tensor in tensors.items():
        assert read[name].dtype == np.asarray(tensor).dtype
        np.testing.assert_array_equal(read[name], tensor)


def header(**entry):
    return {"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | entry}


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (header(dtype="F8_E4M3"), 8),
        (header(shape=[3]), 8),
        (header(shape=[-2]), 8),
        (header(shape=[2.0]), 8),
        (header(shape=2), 8),
        (header(data_offsets=[0, 16]), 8),
        (header(data_offsets=[4, 12]), 12),
        (header(), 12),
        (header(), 4),
        (header() | {"u": header()["t"]}, 8),
        ({"t": {"shape": [2]}}, 8),
        ({"t": None}, 8),
        ([], 0),
    ],
)
def test_a_file_that_breaks_the_format_is_refused(tmp_path, head, size):
    text = json.dumps(head).encode()
    path = tmp_path / "t.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    with pytest.raises(UserError, match=r"t\.safetensors: is damaged"):
        read_safetensors(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x01", (2**63).to_bytes(8, "little"), b"\x04" + bytes(7) + b"\xff\xfe\xfd{"]
)
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    path = tmp_path / "t.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        read_safetensors(path)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_safetensors(tmp_path)
