"""Pictures of every mode: the right colours, or a refusal that names the mode."""

import numpy as np
import pytest
from PIL import Image

from quantbench.errors import UserError
from quantbench.tasks import sampling
from quantbench.tasks.sampling import read_photo

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOUR = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


@pytest.fixture(autouse=True)
def anew():
    sampling._say_transparent.cache_clear()


def three(grey):
    return np.repeat(np.asarray(grey, np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bits_of_grey_become_eight(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path)
    assert np.array_equal(read_photo(path), three(GREY))
    values = np.random.default_rng(1).integers(0, 65536, (40, 40), np.uint16)
    Image.fromarray(values).save(path)
    assert np.array_equal(read_photo(path)[:, :, 1], np.floor(values / 65535 * 255 + 0.5))


def test_big_endian_and_white_is_zero(tmp_path):
    path = tmp_path / "a.tif"
    big = Image.frombytes("I;16B", (16, 16), (GREY.astype(">u2") * 257).astype(">u2").tobytes())
    big.save(path)
    assert np.array_equal(read_photo(path), three(GREY))
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path, tiffinfo={262: 0})
    with Image.open(path) as opened:
        assert opened.tag_v2[262] == 0
    assert np.array_equal(read_photo(path), three(255 - GREY))


@pytest.mark.parametrize(
    ("values", "mode"), [(GREY.astype(np.float32) / 255, "F"), (GREY.astype(np.int32) * 1000, "I")]
)
def test_what_has_no_white_is_refused_by_its_mode(tmp_path, values, mode):
    path = tmp_path / "a.tif"
    Image.fromarray(values).save(path)
    with pytest.raises(UserError, match=rf"a\.tif is a picture of mode {mode}, .*save it with 8 or 16 bits"):
        read_photo(path)


def test_modes_of_eight_bits(tmp_path, capsys):
    colour, grey = Image.fromarray(COLOUR), Image.fromarray(GREY)
    flat = colour.quantize(16)
    for name, picture, right in (
        ("rgb.png", colour, COLOUR),
        ("l.png", grey, three(GREY)),
        ("1.png", Image.fromarray(GREY >= 128), three((GREY >= 128) * 255)),
        ("la.png", grey.convert("LA"), three(GREY)),
        ("rgba.png", colour.convert("RGBA"), COLOUR),
        ("p.png", flat, np.asarray(flat.convert("RGB"))),
        ("cmyk.tif", colour.convert("CMYK"), COLOUR),
    ):
        picture.save(tmp_path / name)
        found = read_photo(tmp_path / name)
        assert found.dtype == np.uint8 and np.array_equal(found, right), name
    assert capsys.readouterr().err == ""


@pytest.mark.filterwarnings("error")
def test_transparent_pixels_keep_their_colour_and_are_said(tmp_path, capsys):
    flat = Image.fromarray(COLOUR).quantize(16)
    flat.save(tmp_path / "bytes.png", transparency=bytes(range(0, 160, 10)))
    flat.save(tmp_path / "one.png", transparency=3)
    rgba = np.dstack([COLOUR, GREY])
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    for name in ("bytes", "one"):
        assert np.array_equal(read_photo(tmp_path / f"{name}.png"), np.asarray(flat.convert("RGB")))
    assert np.array_equal(read_photo(tmp_path / "rgba.png"), COLOUR)
    assert capsys.readouterr().err.count("transparent pixels") == 1
