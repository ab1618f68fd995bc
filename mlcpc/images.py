"""Images for training: batches of indices, augmented views, normalised pixels.

A batch is a set of indices, since a memory of one slot per sample needs them, and augmentation runs
on the device of the images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch

from mlcpc.config import refuse
from mlcpc.datasets import check_images, needs
from mlcpc.shapes import Float, Int, Tensor


class Batches:
    """Shuffled batches of indices; one pass through it is one epoch.

    Args:
        count: images of the set.
        size: indices of a batch.
        generator: random generator that shuffles, on the CPU, so that every device sees the same
            order.
        drop_last: leave out the last batch of an epoch if it is smaller than the others. Other
            images are left out in the next epoch, since they are shuffled anew.
        device: where the indices are.

    Raises:
        ValueError: a size below 1 or above count, a generator that is not on the CPU.
    """

    def __init__(
        self,
        count: int,
        size: int,
        generator: torch.Generator,
        drop_last: bool = True,
        device: str | torch.device = "cpu",
    ) -> None:
        if type(size) is not int or not 1 <= size <= count:
            refuse("size", size, f"an integer from 1 to count = {count}")
        if generator.device.type != "cpu":
            refuse("generator", str(generator.device), "one on the cpu")
        self.count, self.size, self.drop_last = count, size, drop_last
        self.generator, self.device = generator, device

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.count // self.size if self.drop_last else -(-self.count // self.size)

    def __iter__(self) -> Iterator[Int[Tensor, " size"]]:
        order = torch.randperm(self.count, generator=self.generator)
        yield from order.to(self.device).split(self.size)[: len(self)]


# ---------------------------------------------------------------------------------------------
# Views
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ViewConfig:
    """How :func:`view` draws; the defaults are those of the authors' code.

    Args:
        crop_low: least share of the area that a crop keeps; 1 crops nothing.
        crop_high: largest share.
        flip: chance of a horizontal flip.
        jitter: strength of brightness and contrast; in colour images also of saturation, and a
            quarter of it of hue.
        jitter_chance: chance that an image is jittered.
        grayscale: chance that an image loses its colour, colour images alone.

    Raises:
        ValueError: a value outside its range.
    """

    crop_low: float = 0.08
    crop_high: float = 1.0
    flip: float = 0.5
    jitter: float = 0.4
    jitter_chance: float = 0.8
    grayscale: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.crop_low <= self.crop_high <= 1:
            raise ValueError(
                f"crop_low is {self.crop_low}, crop_high is {self.crop_high}; "
                "valid: 0 < crop_low <= crop_high <= 1"
            )
        for name in ("flip", "jitter", "jitter_chance", "grayscale"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                refuse(name, value, "0 to 1")


def view(
    images: Tensor,
    mean: Float[Tensor, " channels"],
    std: Float[Tensor, " channels"],
    generator: torch.Generator,
    config: ViewConfig = ViewConfig(),
) -> Float[Tensor, "n channels height width"]:
    """An augmented view of each image, on its device: crop, jitter, grayscale, flip, normalise.

    Each image has its own crop, flip and jitter; the order of the jitter's steps is one for the
    call. The same generator state gives the same view: the draws are made on the CPU, from a seed
    that is drawn from the generator, and torch's own generator is left as it was.

    Args:
        images: uint8 (n, C, H, W); C = 3 is colour, any other number is not.
        mean, std: of each channel, on the scale where 255 is one, such as those of the training
            set.
        generator: moves on by one draw.
        config: what is drawn.

    Returns:
        a float batch of the shape of images.

    Raises:
        ValueError: images that are not uint8 (n, C, H, W), mean or std of another length.
        ImportError: kornia is missing.

    Source: the augmentation of MoCo on CIFAR in Song & Ermon 2020, without blur.
    """
    check_images(images)
    augment = _augmentation(config, images.shape[1] == 3, tuple(images.shape[-2:]))
    return _drawn(images, mean, std, generator, augment)


def two_views(
    images: Tensor,
    mean: Float[Tensor, " channels"],
    std: Float[Tensor, " channels"],
    generator: torch.Generator,
    config: ViewConfig = ViewConfig(),
) -> tuple[Float[Tensor, "n channels height width"], Float[Tensor, "n channels height width"]]:
    """Two views of each image, drawn as one :func:`view` of the batch twice over.

    Arguments and errors as there.
    """
    check_images(images)
    first, second = view(torch.cat([images, images]), mean, std, generator, config).chunk(2)
    return first, second


def shifted(
    images: Tensor,
    mean: Float[Tensor, " channels"],
    std: Float[Tensor, " channels"],
    generator: torch.Generator,
    padding: int = 4,
    flip: float = 0.5,
) -> Float[Tensor, "n channels height width"]:
    """Images for a classifier: each shifted by up to ``padding`` pixels, flipped, normalised.

    Draws and errors as in :func:`view`; what moves in from outside is black.

    Args:
        images, mean, std, generator: as in :func:`view`.
        padding: most pixels of a shift, in height and in width.
        flip: chance of a horizontal flip.

    Source: He et al. 2016, arXiv 1512.03385, section 4.2.
    """
    check_images(images)
    return _drawn(images, mean, std, generator, _shift(padding, flip, tuple(images.shape[-2:])))


def normalise(
    images: Tensor, mean: Float[Tensor, " channels"], std: Float[Tensor, " channels"]
) -> Float[Tensor, "n channels height width"]:
    """Images as they are, for tests and probes: (pixel/255 − mean)/std.

    Shapes and errors as in :func:`two_views`.
    """
    check_images(images)
    return _standardised(_unit(images), mean, std)


def _drawn(
    images: Tensor, mean: Tensor, std: Tensor, generator: torch.Generator, augment: torch.nn.Module
) -> Tensor:
    seed = torch.randint(2**62, (), generator=generator, device=generator.device).item()
    # kornia draws from torch's CPU generator. Not torch.manual_seed: it would seed the GPUs too.
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        seen = augment(_unit(images))
    return _standardised(seen, mean, std)


def _unit(images: Tensor) -> Tensor:
    return images.to(torch.get_default_dtype()) / 255


def _standardised(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    channels = pixels.shape[1]
    for name, each in (("mean", mean), ("std", std)):
        if each.shape != (channels,):
            raise ValueError(
                f"{name} has shape {tuple(each.shape)}; valid: ({channels},), one a channel"
            )
    mean, std = (each.to(pixels)[:, None, None] for each in (mean, std))
    return (pixels - mean) / std


@lru_cache(maxsize=32)
def _augmentation(config: ViewConfig, colour: bool, size: tuple[int, int]) -> torch.nn.Module:
    kornia = needs("kornia.augmentation", "augmentation")
    # "resample" is one warp for all images; the default cuts and scales them one by one, which is
    # as fast on a CPU, but hundreds of small launches on a GPU.
    area = (config.crop_low, config.crop_high)
    steps = [kornia.RandomResizedCrop(size, scale=area, cropping_mode="resample")]
    # Grey images are jittered too. Two crops of one image are about equally bright, and an encoder
    # that sees only how bright they are would tell most images apart.
    strength = [config.jitter] * 2
    strength += [config.jitter, config.jitter / 4] if colour else [0.0, 0.0]
    steps.append(kornia.ColorJitter(*strength, p=config.jitter_chance))
    if colour:
        steps.append(kornia.RandomGrayscale(p=config.grayscale))
    steps.append(kornia.RandomHorizontalFlip(p=config.flip))
    return torch.nn.Sequential(*steps)


@lru_cache(maxsize=32)
def _shift(padding: int, flip: float, size: tuple[int, int]) -> torch.nn.Module:
    if type(padding) is not int or padding < 0:
        refuse("padding", padding, "an integer of at least 0")
    if not 0 <= flip <= 1:
        refuse("flip", flip, "0 to 1")
    kornia = needs("kornia.augmentation", "augmentation")
    # "slice" moves whole pixels; "resample" would weigh neighbours, by a rounding error.
    crop = kornia.RandomCrop(size, padding=padding, cropping_mode="slice")
    return torch.nn.Sequential(crop, kornia.RandomHorizontalFlip(p=flip))
