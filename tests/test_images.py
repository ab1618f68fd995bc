"""Batches cover an epoch; views follow a seed."""

import sys

import pytest
import torch

from mlcpc import images
from mlcpc.images import Batches, ViewConfig


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pixels(count=6, channels=1, size=4, seed=0):
    shape = (count, channels, size, size)
    return torch.randint(0, 256, shape, generator=generator(seed), dtype=torch.uint8)


# ---------------------------------------------------------------------------------------------
# Batches
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop_last, sizes", [(True, [4, 4]), (False, [4, 4, 2])])
def test_an_epoch_gives_every_index_at_most_once(drop_last, sizes):
    batches = Batches(10, 4, generator(), drop_last)
    assert len(batches) == len(sizes)
    epochs = [list(batches) for _ in range(2)]
    for epoch in epochs:
        assert [len(index) for index in epoch] == sizes
        given = torch.cat(epoch)
        assert given.dtype == torch.int64 and len(given.unique()) == sum(sizes)
        assert 0 <= given.min() and given.max() < 10
    assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))


def test_bad_batches_are_refused():
    for size in (0, 11, 2.0, True):
        with pytest.raises(ValueError, match="size is .*; valid: an integer from 1 to count = 10"):
            Batches(10, size, generator())


# ---------------------------------------------------------------------------------------------
# Views
# ---------------------------------------------------------------------------------------------

HALF = torch.full((1,), 0.5)


def views(shown, seed=0, **settings):
    pytest.importorskip("kornia", reason="kornia is not installed")
    half = torch.full((shown.shape[1],), 0.5)
    return images.two_views(shown, half, half / 2, generator(seed), ViewConfig(**settings))


PLAIN = {"crop_low": 1.0, "flip": 0.0, "jitter_chance": 0.0, "grayscale": 0.0}


def test_normalised_images():
    shown = pixels(3, channels=3)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.25, 1.0])
    found = images.normalise(shown, mean, std)
    assert found.dtype == torch.float32
    assert torch.allclose(found[1, 2], (shown[1, 2] / 255 - 0.3) / 1.0)
    assert torch.allclose(found[2, 1], (shown[2, 1] / 255 - 0.2) / 0.25)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_views_of_nothing_random_are_the_images(channels):
    shown = pixels(5, channels, size=8)
    half = torch.full((channels,), 0.5)
    for view in views(shown, **PLAIN):
        assert view.shape == shown.shape and view.dtype == torch.float32
        assert torch.allclose(view, images.normalise(shown, half, half / 2), atol=1e-5)


def test_full_flip_mirrors_columns():
    shown = pixels(5, size=8)
    for view in views(shown, **{**PLAIN, "flip": 1.0}):
        assert torch.allclose(view, images.normalise(shown.flip(3), HALF, HALF / 2), atol=1e-5)


def test_views_follow_the_generator_and_leave_torch_alone():
    shown = pixels(8, 3, size=8)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    one, again, other = views(shown), views(shown), views(shown, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(map(torch.equal, one, again))
    assert not any(map(torch.equal, one, other))
    torch.manual_seed(8)
    assert all(map(torch.equal, one, views(shown)))
    source, half = generator(), torch.full((3,), 0.5)
    calls = [images.two_views(shown, half, half, source)[0] for _ in range(2)]
    assert not torch.equal(*calls)


def test_each_image_of_each_view_has_its_own_crop_and_flip():
    shown = pixels(1, size=16).expand(16, -1, -1, -1)
    first, second = views(shown)
    assert len(torch.cat([first, second]).unique(dim=0)) == 32
    flips = views(shown, **{**PLAIN, "flip": 0.5})
    assert [len(view.unique(dim=0)) for view in flips] == [2, 2]
    assert not torch.equal(*flips)


def test_a_crop_keeps_the_share_of_the_area_that_was_asked_for():
    """On a ramp of columns the contrast of a view is the width of its crop."""
    ramp = torch.arange(32, dtype=torch.uint8).mul(8).expand(64, 1, 32, 32)
    widths = {}
    for area in (0.25, 0.81):
        (view, _) = views(ramp, **{**PLAIN, "crop_low": area, "crop_high": area})
        rows = view.mean(2)[:, 0]
        widths[area] = ((rows[:, -1] - rows[:, 0]) / 4 * 255 / 8 + 1) / 32
        assert (rows.diff(dim=1) > 0).all()
    assert (widths[0.25] - 0.5).abs().max() < 0.12  # the ratio moves it between √(3/4) and √(4/3)
    assert (widths[0.25] - 0.5).abs().mean() < 0.06
    assert (widths[0.81] - 0.9).abs().mean() < 0.1


def test_brightness_and_contrast_of_each_view_are_its_own():
    jitter = {**PLAIN, "jitter_chance": 1.0, "grayscale": 0.0}
    for channels in (1, 2, 3):
        shown = pixels(4, channels, size=8)
        half = torch.full((channels,), 0.5)
        still = images.normalise(shown, half, half / 2)
        first, second = views(shown, **jitter)
        for one, other in ((first, still), (second, still), (first, second)):
            assert ((one - other).abs().amax(dim=(1, 2, 3)) > 0.01).all()
    # A grey image keeps its order of dark and light, but not how bright it is.
    ramp = torch.arange(64, 192, dtype=torch.uint8).view(1, 1, 8, 16).expand(32, -1, -1, -1)
    (view, _) = views(ramp, **jitter)
    assert (view.flatten(1).diff(dim=1) >= 0).all()
    assert view.flatten(1).mean(dim=1).std() > 0.1
    assert torch.equal(*views(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), **jitter))


def test_what_can_be_left_out_of_a_view():
    jitter = {**PLAIN, "jitter_chance": 1.0, "grayscale": 0.0}
    grey, _ = views(pixels(4, 3, size=8), **{**PLAIN, "grayscale": 1.0})
    assert torch.allclose(grey[:, 0], grey[:, 1], atol=1e-5)
    calm, _ = views(pixels(4, 3, size=8), **{**jitter, "jitter": 0.0})
    half = torch.full((3,), 0.5)
    assert torch.allclose(calm, images.normalise(pixels(4, 3, size=8), half, half / 2), atol=1e-4)


@pytest.mark.parametrize("settings, message", [
    ({"crop_low": 0.0}, "crop_low is 0.0"),
    ({"crop_low": 0.6, "crop_high": 0.5}, "valid: 0 < crop_low <= crop_high <= 1"),
    ({"crop_high": 1.2}, "crop_high is 1.2"),
    ({"flip": -0.1}, "flip is -0.1; valid: 0 to 1"),
    ({"jitter": 2.0}, "jitter is 2.0"),
    ({"grayscale": float("nan")}, "grayscale is nan"),
])  # fmt: skip
def test_bad_view_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ViewConfig(**settings)


def test_bad_batches_of_images_are_refused():
    with pytest.raises(ValueError, match="images is float32"):
        images.two_views(pixels().float(), HALF, HALF, generator())
    with pytest.raises(ValueError, match="images is uint8"):
        images.normalise(pixels()[0], HALF, HALF)
    with pytest.raises(ValueError, match=r"std has shape \(1,\); valid: \(3,\), one a channel"):
        images.normalise(pixels(channels=3), torch.zeros(3), HALF)


def test_missing_kornia_says_what_to_install(monkeypatch):
    images._augmentation.cache_clear()
    monkeypatch.setitem(sys.modules, "kornia.augmentation", None)
    with pytest.raises(ImportError, match=r"augmentation needs kornia.*mlcpc\[experiments\]"):
        images.two_views(pixels(), HALF, HALF, generator())


def test_shifted_images_are_crops_of_padded_ones():
    """Each is one of the 25 crops of its image with two black pixels around, or that flipped."""
    whole = torch.randint(256, (30, 1, 6, 5), dtype=torch.uint8, generator=generator())
    zero, one = torch.zeros(1), torch.ones(1)
    found = images.shifted(whole, zero, one, generator(1), padding=2, flip=0.5)
    padded = torch.nn.functional.pad(whole, (2, 2, 2, 2)) / 255
    seen = set()
    for each, wide in zip(found, padded, strict=True):
        crops = {
            (top, left, flipped): crop.flip(-1) if flipped else crop
            for top in range(5)
            for left in range(5)
            for flipped in (False, True)
            for crop in [wide[:, top : top + 6, left : left + 5]]
        }
        fitting = [key for key, crop in crops.items() if torch.allclose(each, crop, atol=1e-6)]
        assert fitting
        seen.add(fitting[0])
    assert len({key[:2] for key in seen}) > 10 and {key[2] for key in seen} == {False, True}
    again = images.shifted(whole, zero, one, generator(1), padding=2, flip=0.5)
    assert torch.equal(found, again)
    still = images.shifted(whole, zero, one, generator(), padding=0, flip=0.0)
    assert torch.allclose(still, whole / 255, atol=1e-6)


@pytest.mark.parametrize(
    "change, message", [({"padding": -1}, "padding is -1"), ({"flip": 1.5}, "flip is 1.5")]
)
def test_bad_shifts_are_named(change, message):
    whole = torch.zeros(2, 1, 6, 6, dtype=torch.uint8)
    with pytest.raises(ValueError, match=message):
        images.shifted(whole, torch.zeros(1), torch.ones(1), generator(), **change)
