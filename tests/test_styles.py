"""Styles: a known value for each, the same shape and range for all, and refusals that say what to do."""

import sys

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser

from neural_graphs.errors import ConfigError, ImageError
from neural_graphs.layout.recorded import arguments_of
from neural_graphs.zoo import load_images
from neural_graphs.zoo.styles import Blur, Contrast, Dilate, Erode, Invert, Rotate, Style

STYLES = [Dilate(), Dilate(5), Erode(), Contrast(), Contrast(clip=2.0, tiles=2), Blur(), Invert(), Rotate(30.0)]


def stack(values):
    """Values of one grey image, or of several, as the stack that styles take."""
    values = np.asarray(values, np.float32)
    return values[None, ..., None] if values.ndim == 2 else values


def dot(size=7, at=(3, 3)):
    image = np.zeros((size, size), np.float32)
    image[at] = 0.8
    return stack(image)


def real(count=40):
    return load_images("photos", "test")[:count].pixels / np.float32(255)


@pytest.mark.parametrize("style", STYLES, ids=repr)
@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(1, 3),
    height=st.integers(3, 9),
    width=st.integers(3, 9),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
def test_shape_type_and_range_are_kept(style, count, height, width, channels, seed):
    images = np.random.default_rng(seed).random((count, height, width, channels), dtype=np.float32)
    before = images.copy()
    made = style(images)
    assert made.shape == images.shape and made.dtype == np.float32
    assert 0 <= made.min() <= made.max() <= 1
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(style(images), made)
    np.testing.assert_array_equal(style(images[-1:])[0], made[-1])  # an image does not depend on its company


def test_a_dot_dilated_is_a_square_and_a_hole_eroded_too():
    expected = np.zeros((7, 7), np.float32)
    expected[2:5, 2:5] = 0.8
    np.testing.assert_array_equal(Dilate(3)(dot()), stack(expected))
    np.testing.assert_allclose(Erode(3)(1 - dot()), stack(1 - expected), atol=1e-7)
    expected[1:6, 1:6] = 0.8
    np.testing.assert_array_equal(Dilate(5)(dot()), stack(expected))
    corner = np.zeros((7, 7), np.float32)
    corner[:2, :2] = 0.8
    np.testing.assert_array_equal(Dilate(3)(dot(at=(0, 0))), stack(corner))
    np.testing.assert_array_equal(Erode(3)(Dilate(3)(dot())), dot())


def test_channels_are_dilated_apart():
    images = np.zeros((2, 5, 5, 3), np.float32)
    images[0, 2, 2, 1] = 1
    made = Dilate()(images)
    assert made[..., 1].sum() == 9 and made.sum() == 9 and made[1].sum() == 0


def test_inverting_twice_is_nothing():
    images = real()
    np.testing.assert_array_equal(Invert()(images), 1 - images)
    np.testing.assert_allclose(Invert()(Invert()(images)), images, atol=1e-7)


def test_a_blur_is_gaussian_and_keeps_the_mean():
    made = Blur(1.0)(dot(15, (7, 7)))
    assert made.sum() == pytest.approx(0.8, rel=1e-5)
    weights = np.exp(-0.5 * np.arange(-4, 5) ** 2)  # cut off at four standard deviations
    row = weights / weights.sum()
    np.testing.assert_allclose(made[0, 3:12, 3:12, 0], 0.8 * np.outer(row, row), atol=1e-6)
    flat = np.full((1, 6, 6, 3), 0.3, np.float32)
    np.testing.assert_allclose(Blur(2.0)(flat), flat, atol=1e-6)


def test_rotations_by_known_angles():
    images = real(5)
    np.testing.assert_array_equal(Rotate(0.0)(images), images)
    for turns in (1, 2, 3):
        np.testing.assert_array_equal(Rotate(90.0 * turns)(images), np.rot90(images, turns, axes=(1, 2)))
    np.testing.assert_allclose(Rotate(-30.0)(images[:, ::-1]), Rotate(30.0)(images)[:, ::-1], atol=1e-6)
    assert Rotate(45.0)(np.ones((1, 9, 9, 1), np.float32))[0, 0, 0, 0] == 0  # from outside


def test_one_tile_without_a_limit_is_plain_equalisation():
    levels = np.random.default_rng(0).integers(90, 140, (16, 16))
    table = np.cumsum(np.bincount(levels.ravel(), minlength=256)) * 255 / levels.size
    made = Contrast(clip=1e4, tiles=1)(stack(levels / np.float32(255)))
    np.testing.assert_allclose(255 * made[0, ..., 0], np.rint(table)[levels], atol=1e-4)


def test_contrast_is_that_of_opencv_on_each_image():
    import cv2

    images = load_images("photos", "test")[:20].pixels
    made = Contrast()(images / np.float32(255))
    for image, result in zip(images, made, strict=True):
        lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
        clahe = cv2.createCLAHE(clipLimit=1.0, tileGridSize=(3, 3))
        raised = np.dstack([clahe.apply(np.ascontiguousarray(lab[..., 0])), lab[..., 1], lab[..., 2]])
        np.testing.assert_allclose(255 * result, cv2.cvtColor(raised, cv2.COLOR_LAB2RGB), atol=1e-4)


def test_contrast_spreads_lightness_and_keeps_colour():
    import cv2

    def lab(images):
        pixels = np.rint(255 * images).astype(np.uint8)
        return cv2.cvtColor(pixels.reshape(-1, 32, 3), cv2.COLOR_RGB2LAB).reshape(pixels.shape).astype(float)

    faint = 0.3 + 0.3 * real()  # within the gamut whatever lightness becomes
    before, after = lab(faint), lab(Contrast(clip=4.0)(faint))
    spread = after[..., 0].std(axis=(1, 2)) / before[..., 0].std(axis=(1, 2))
    assert np.median(spread) > 1.3 and spread.min() > 1
    assert np.abs(after[..., 1:] - before[..., 1:]).mean() < 1
    assert np.abs(after[..., 0] - before[..., 0]).mean() > 5


def test_a_value_that_8_bits_hold_is_read_as_it_is():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    tiny = Contrast(clip=1e-9, tiles=1)(levels / np.float32(255))  # one count per level at most: a straight line
    np.testing.assert_allclose(255 * tiny, (levels.astype(int) + 1) * 255 // 256, atol=1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Dilate(4), "size is 4, expected an odd number from 3"),
        (lambda: Erode(1), "size is 1, expected an odd number from 3"),
        (lambda: Contrast(clip=0.0), r"clip is 0\.0, expected a number above 0"),
        (lambda: Contrast(tiles=0), "tiles is 0, expected a whole number from 1"),
        (lambda: Blur(sigma=-1.0), r"sigma is -1\.0, expected a number above 0"),
        (lambda: Blur(sigma=float("nan")), "sigma is nan"),
        (lambda: Rotate(float("inf")), "degrees is inf, expected a finite number"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_at_once(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 4, 4, 1), np.float64), "got float64 of shape"),
        (np.zeros((2, 4, 4, 2), np.float32), r"\(2, 4, 4, 2\); expected float32 of shape"),
        (np.zeros((2, 4, 4), np.float32), r"\(2, 4, 4\); expected"),
        (np.zeros((0, 4, 4, 1), np.float32), r"\(0, 4, 4, 1\)"),
        (np.full((2, 4, 4, 1), 1.2, np.float32), r"Invert\(\) got values from 1\.2 to 1\.2; expected 0 to 1"),
        (np.full((2, 4, 4, 1), -0.1, np.float32), r"values from -0\.1"),
        (np.full((2, 4, 4, 1), np.nan, np.float32), "values from nan"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # what a user sees, to whom nothing is checked
    with pytest.raises(ImageError, match=message):
        Invert()(images)


def test_images_smaller_than_the_tiles_are_refused():
    with pytest.raises(ImageError, match=r"Contrast\(clip=1\.0, tiles=3\) got images of \(2, 9\) pixels"):
        Contrast()(np.zeros((1, 2, 9, 1), np.float32))


def test_contrast_without_opencv_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)  # an import of it fails
    with pytest.raises(ConfigError, match=r"pip install 'neural-graphs\[colour\]'"):
        Contrast()


@pytest.mark.parametrize("style", STYLES, ids=repr)
def test_a_configuration_builds_every_style(style):
    parser = ArgumentParser()
    parser.add_subclass_arguments(Style, "style")
    words = {"class_path": f"{type(style).__module__}.{type(style).__name__}", "init_args": arguments_of(style)}
    built = parser.instantiate(parser.parse_object({"style": words})).style
    assert repr(built) == repr(style) and type(built) is type(style)
