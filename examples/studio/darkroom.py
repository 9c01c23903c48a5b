"""Pictures that strangers sent, and what a darkroom makes of them. Knows nothing of tasks."""

import struct
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

from examples.shared import thumbnails
from examples.studio.app import FORMATS, MAX_PIXELS

__all__ = ["LOOKS", "BrokenPicture", "ContactSheet", "check", "develop"]

LOOKS = ("plain", "warm", "cool", "faded", "sepia", "mono")
FRAME_PX, GAP_PX, COLUMNS = (384, 256), 20, 3
PAPER, FILM = (244, 241, 234), (24, 24, 27)

# What Pillow raises when it is given nonsense.
_NONSENSE = (OSError, SyntaxError, ValueError, EOFError, struct.error)


class BrokenPicture(Exception):
    """The file is no picture that can be used; the text says why."""


def check(data: bytes) -> None:
    """Look at the first bytes only: is it a picture, and how large does it say it is?"""
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            too_large = image.width * image.height > MAX_PIXELS
    except Image.DecompressionBombError:
        too_large = True
    except _NONSENSE as exc:
        raise BrokenPicture(f"This is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} picture.") from exc
    if too_large:
        raise BrokenPicture(f"More than {MAX_PIXELS // 1_000_000} million pixels are too many.")


def develop(picture: Path) -> Image.Image:
    """The whole picture, upright."""
    try:
        check(picture.read_bytes())
        return thumbnails.load(picture)
    except _NONSENSE as exc:
        raise BrokenPicture("The file is damaged: it ends too early, or is garbled.") from exc


class ContactSheet:
    """A sheet of paper onto which one frame after the other is printed, each in its own look."""

    def __init__(self, picture: Path) -> None:
        framed = ImageOps.contain(thumbnails.load(picture), FRAME_PX).convert("RGBA")
        self._frame = Image.new("RGB", FRAME_PX, FILM)
        left, top = ((whole - part) // 2 for whole, part in zip(FRAME_PX, framed.size, strict=True))
        self._frame.paste(framed, (left, top), framed)
        rows = -(-len(LOOKS) // COLUMNS)
        size = [count * (edge + GAP_PX) + GAP_PX for count, edge in zip((COLUMNS, rows), FRAME_PX, strict=True)]
        self.image = Image.new("RGB", (size[0], size[1]), PAPER)

    def add(self, look: str) -> None:
        """Print the frame of this look at its place."""
        row, column = divmod(LOOKS.index(look), COLUMNS)
        place = [GAP_PX + number * (edge + GAP_PX) for number, edge in zip((column, row), FRAME_PX, strict=True)]
        self.image.paste(_toned(self._frame, look), (place[0], place[1]))


def _toned(image: Image.Image, look: str) -> Image.Image:
    grey = ImageOps.grayscale(image)
    match look:
        case "warm":
            return Image.blend(image, ImageOps.colorize(grey, (40, 8, 0), (255, 226, 170), (224, 120, 60)), 0.4)
        case "cool":
            return Image.blend(image, ImageOps.colorize(grey, (0, 12, 44), (214, 240, 255), (60, 120, 190)), 0.4)
        case "faded":
            return Image.blend(
                ImageEnhance.Color(image).enhance(0.5), Image.new("RGB", image.size, (216, 206, 200)), 0.3
            )
        case "sepia":
            return ImageOps.colorize(grey, (28, 16, 8), (250, 236, 210), (150, 110, 74))
        case "mono":
            return ImageEnhance.Contrast(grey).enhance(1.25).convert("RGB")
    return image
