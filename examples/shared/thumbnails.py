"""Thumbnails: upright, in proportion, never larger than the picture, and either there or not.

Knows nothing of tasks. Work that is a plain function can be tested, timed and called without a worker.
"""

import os
from pathlib import Path
from uuid import uuid4

from PIL import Image, ImageOps

__all__ = ["EDGES_PX", "load", "make", "save", "shrunk", "size_of"]

EDGES_PX = (96, 240, 480, 960)


def load(picture: Path) -> Image.Image:
    """The picture, upright and in colours that can be blended."""
    with Image.open(picture) as stored:
        # Cameras store a picture as the sensor saw it and note how to turn it; a copy without the note must be turned.
        image = ImageOps.exif_transpose(stored)
    if image.mode not in {"L", "RGB", "RGBA"}:
        # Colours between two entries of a palette do not exist, so a palette cannot be resized smoothly; and those of
        # printers are not those of screens.
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def make(picture: Path, target: Path, edge_px: int) -> Path:
    """Write the thumbnail of `picture` whose longer side is at most `edge_px`, and return where it is."""
    return save(shrunk(load(picture), edge_px), target)


def shrunk(image: Image.Image, edge_px: int) -> Image.Image:
    """A copy that fits into a square of `edge_px`."""
    copy = image.copy()
    copy.thumbnail((edge_px, edge_px), Image.Resampling.LANCZOS)
    return copy


def save(image: Image.Image, target: Path) -> Path:
    """Write the whole file or none, in the format that its name says. The same call writes the same file again."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # A task that is killed halfway must not leave half a picture under the final name: write aside, then rename.
    aside = target.with_name(f".{uuid4().hex}{target.suffix}")
    try:
        image.save(aside, quality=85, optimize=True)
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
    return target


def size_of(picture: Path, edge_px: int) -> tuple[int, int]:
    """The width and height that the thumbnail must have, reckoned from the picture's own."""
    with Image.open(picture) as stored:
        width, height = ImageOps.exif_transpose(stored).size
    share = min(1.0, edge_px / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))
