"""Random headers, bytes and configurations: read, or refused in one line, in no time and with no memory to speak of."""

import gzip
import importlib
import json
import math
import time
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lift_jax.config import from_json, generation, missing_mr, mr_to_ct, to_json, validate
from lift_jax.config.common import flatten
from lift_jax.data.check import check_subjects
from lift_jax.data.intensity import get_protocol
from lift_jax.data.naming import SubjectFiles
from lift_jax.data.volumes import read_header, read_volume
from lift_jax.errors import UserError

SECONDS = 1.0
BYTES = 2**21
"""Memory that a file of some hundred bytes may take, most of it zlib's and nibabel's."""

pytestmark = pytest.mark.filterwarnings("ignore::lift_jax.errors.DataWarning")  # of odd geometry

quick = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def refusal(call, *arguments):
    """The line of a UserError, or None; anything else that is raised is a failure."""
    began = time.process_time()
    try:
        call(*arguments)
        line = None
    except UserError as error:
        line = str(error)
        assert "\n" not in line and "Traceback" not in line
    assert time.process_time() - began < SECONDS
    return line


def read_suspiciously(path):
    """Reads a file of which nothing is known, within bounds of time and memory; whether it was accepted."""
    tracemalloc.start()
    try:
        message = refusal(read_volume, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < BYTES
    assert message is None or message.startswith(f"{path}: ")
    if message is None:
        volume = read_volume(path)
        assert np.isfinite(volume.array).all() and volume.array.shape == volume.shape == read_header(path).shape
        assert np.isfinite(volume.affine).all() and min(volume.spacing) > 0
    subject = SubjectFiles("subject", {"mr": path})
    (issues,) = check_subjects([subject], {"mr": get_protocol("mr_foreground")}, headers_only=message is not None)
    assert message is not None or issues.grid.shape == volume.shape
    return message is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A subject folder, in a data set of its own, that holds no more than one file."""
    path = tmp_path_factory.mktemp("fuzzing") / "subject"
    path.mkdir()
    return path


def written(folder, content, compressed):
    """The path of an MR of these bytes, the only file in its folder."""
    path, other = folder / "mr.nii", folder / "mr.nii.gz"
    path, other = (other, path) if compressed else (path, other)
    other.unlink(missing_ok=True)
    path.write_bytes(content)
    return path


def nifti(version):
    image_class = {1: nib.Nifti1Image, 2: nib.Nifti2Image}[version]
    image = image_class(np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.diag([-1.0, 1.0, 2.0, 1.0]))
    image.set_qform(image.affine, code=1)
    return image


def numbers(dtype):
    """Values of a header field: any bits, or such as programs write."""
    if dtype.kind == "S":
        return st.binary(max_size=dtype.itemsize)
    if dtype.kind == "f":
        likely = st.sampled_from([0.0, -0.0, 1.0, -1.0, 352.0, 1e-30, 1e30, math.inf, -math.inf, math.nan])
        return st.one_of(likely, st.floats(width=min(8 * dtype.itemsize, 64)))
    limits = np.iinfo(dtype)
    return st.one_of(st.integers(-2, 8), st.integers(int(limits.min), int(limits.max)))


@st.composite
def odd_headers(draw):
    """A NIfTI file of which some header fields hold anything, of either version and byte order."""
    image = nifti(draw(st.sampled_from([1, 2])))
    header = image.header.as_byteswapped(draw(st.sampled_from("<>")))
    fields = header.template_dtype
    raw = np.frombuffer(header.binaryblock, fields).copy().reshape(()).view(fields.newbyteorder(header.endianness))
    for name in draw(st.lists(st.sampled_from(fields.names), min_size=1, max_size=5, unique=True)):
        base, shape = (fields[name].subdtype or (fields[name], ()))[:2]
        values = [draw(numbers(base)) for _ in range(int(np.prod(shape)) or 1)]
        with np.errstate(all="ignore"):
            raw[name] = np.array(values).astype(base).reshape(shape) if shape else np.array(values[0]).astype(base)
    body = image.to_bytes()[header.sizeof_hdr :]
    return raw.tobytes() + body


@settings(quick, max_examples=500)
@given(odd_headers(), st.booleans())
def test_any_header_is_read_or_refused(folder, content, compressed):
    read_suspiciously(written(folder, gzip.compress(content, 1) if compressed else content, compressed))


@st.composite
def damaged_bytes(draw):
    """A file with pieces overwritten, cut out, doubled or put in, before or after it was compressed."""
    content = nifti(draw(st.sampled_from([1, 2]))).to_bytes()
    compressed = draw(st.booleans())
    before = draw(st.booleans())
    content = _damaged(draw, content) if before else content
    content = gzip.compress(content, 1, mtime=0) if compressed else content
    return (content if before else _damaged(draw, content)), compressed


def _damaged(draw, content):
    for _ in range(draw(st.integers(1, 4))):
        begin, length = draw(st.integers(0, len(content))), draw(st.integers(0, 40))
        piece = draw(st.one_of(st.binary(max_size=16), st.just(content[begin : begin + length] * 2)))
        content = content[:begin] + piece + content[begin + length :]
    return content


@settings(quick, max_examples=500)
@given(damaged_bytes())
def test_any_bytes_are_read_or_refused(folder, damaged):
    read_suspiciously(written(folder, *damaged))


@settings(quick, max_examples=100)
@given(st.binary(max_size=800), st.booleans(), st.booleans())
def test_bytes_that_are_no_image_are_refused(folder, content, named, compressed):
    assert not read_suspiciously(written(folder, gzip.compress(content) if compressed else content, named))


@pytest.mark.parametrize("version", [1, 2])
def test_the_fuzzers_begin_with_files_that_are_read(folder, version):
    assert read_suspiciously(written(folder, nifti(version).to_bytes(), compressed=False))


def test_what_expands_without_end_is_not_read_to_its_end(folder):
    """A good volume and 2 GiB of zeros behind it, in 2 MB: as long as gzip can make of so little."""
    zeros = gzip.compress(bytes(2**26))
    bomb = written(folder, gzip.compress(nifti(1).to_bytes()) + zeros * 32, compressed=True)
    assert "holds more than the" in refusal(read_volume, bomb)
    assert not read_suspiciously(bomb)


EXPERIMENTS = {
    "missing_mr": lambda: importlib.import_module("configs.quickstart").get_config(),
    "brats": missing_mr,
    "mr_to_ct": mr_to_ct,
    "generation": generation,
}

odd_numbers = st.one_of(
    st.integers(-3, 9),
    st.sampled_from([10**6, 2**31, 2**63, -(2**63), 10**30, 10**400]),
    st.floats(),
)
odd_scalars = st.one_of(
    odd_numbers, st.booleans(), st.none(), st.text(max_size=5), st.sampled_from(["t1n", "gru", "joint"])
)
odd_values = st.recursive(
    odd_scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=2),
    ),
    max_leaves=6,
)


@st.composite
def overrides(draw):
    """The name of an experiment, and values for some of its keys."""
    name = draw(st.sampled_from(sorted(EXPERIMENTS)))
    keys = sorted(flatten(EXPERIMENTS[name]()))
    return name, draw(st.dictionaries(st.sampled_from(keys), odd_values, min_size=1, max_size=3))


@settings(quick, max_examples=300)
@given(overrides())
def test_any_override_is_valid_or_refused(chosen):
    name, values = chosen
    config = EXPERIMENTS[name]()
    for key, value in values.items():
        try:
            config.update_from_flattened_dict({key: value})
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            continue  # refused by the configuration's own types, which a command reports by the key
    if refusal(validate, config) is None:
        assert all(math.isfinite(value) for value in flatten(config).values() if isinstance(value, float))
        assert refusal(from_json, to_json(config), "config.json") is None


@st.composite
def documents(draw):
    """The JSON of a configuration with values changed, removed, added, or as text damaged."""
    values = EXPERIMENTS[draw(st.sampled_from(sorted(EXPERIMENTS)))]().to_dict()
    for _ in range(draw(st.integers(0, 3))):
        section = values
        while True:
            key = draw(st.sampled_from([*section, "odd"]))
            if not isinstance(section.get(key), dict) or draw(st.integers(0, 4)) == 0:
                break
            section = section[key]
        if draw(st.integers(0, 4)):
            section[key] = draw(odd_values)
        else:
            section.pop(key, None)
        if not section or not values:
            break
    text = json.dumps(values)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=3)) + text[at + draw(st.integers(0, 3)) :]
    return text


@settings(quick, max_examples=300)
@given(documents())
@example("[" * 100_000)
@example('{"task": []}')
@example("9" * 5000)
@example('"' + "\\ud800" + '"')
def test_any_document_is_a_configuration_or_refused_by_its_name(text):
    message = refusal(from_json, text, "runs/a/config.json")
    assert message is None or message.startswith(("runs/a/config.json: ", "config."))
