"""The preprocessing of published models against torchvision's, on odd images."""

import io

import numpy as np
import pytest
import theirs
from PIL import Image

from clip_np.data import MEAN, STD, preprocess

SIZES = [(224, 224), (223, 225), (1, 1), (1, 9), (2000, 3), (500, 333), (333, 500), (97, 640)]
MODES = ["RGB", "L", "LA", "P", "PA", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB", "1"]
MODES += ["I", "I;16", "F"]


def official(size: int):
    """The steps of openai/CLIP, in their order, by torchvision."""
    transforms = theirs.torchvision().transforms
    return transforms.Compose(
        [
            transforms.Resize(size, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(size),
            lambda image: image.convert("RGB"),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


def picture(mode: str, width: int, height: int) -> Image.Image:
    rng = np.random.default_rng([width, height])
    pixels = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    match mode:
        case "I" | "F":
            return Image.fromarray(pixels[:, :, 0].astype("i4") * 90).convert(mode)
        case "I;16":
            return Image.fromarray(rng.integers(0, 65536, (height, width), dtype=np.uint16))
        case "CMYK" | "RGBA":
            return Image.fromarray(pixels, mode)
        case "PA":
            return Image.fromarray(pixels).convert("LA").convert("PA")
        case "LAB":
            return Image.fromarray(pixels[:, :, :3], "LAB")
        case "RGBa":
            return Image.fromarray(pixels).convert("RGBa")
    return Image.fromarray(pixels[:, :, :3]).convert(mode)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("size", [32, 224])
@pytest.mark.parametrize("mode", MODES)
def test_odd_images(mode, size):
    pipeline, compared = official(size), 0
    for width, height in SIZES:
        image = picture(mode, width, height)
        try:
            wanted = pipeline(image).numpy()
        except (ValueError, OSError) as error:  # Pillow does not resize or convert every mode
            with pytest.raises(type(error)):
                preprocess(size)(image)
            continue
        found = preprocess(size)(image)
        assert (found.dtype, found.shape) == (np.float32, (3, size, size))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
        compared += 1
    print(f"{mode}: {compared} of {len(SIZES)} sizes")


@pytest.mark.parametrize("form", ["PNG", "GIF", "JPEG", "TIFF"])
def test_files(form):
    """As read from a file: palettes with transparency, orientation, several frames."""
    picture_file = io.BytesIO()
    image = picture("RGB", 61, 47)
    exif = image.getexif()
    exif[0x0112] = 6
    how = {"exif": exif} if form == "JPEG" else {}
    if form == "GIF":
        how = {"save_all": True, "append_images": [picture("RGB", 61, 47)], "transparency": 3}
    image = image.quantize(32) if form in ("PNG", "GIF") else image
    image.save(picture_file, form, **how)
    found, wanted = preprocess(32)(Image.open(picture_file)), official(32)(Image.open(picture_file))
    np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=1e-6)
