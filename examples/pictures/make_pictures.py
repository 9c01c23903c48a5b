"""Paint the sample pictures anew: `python -m examples.pictures.make_pictures` (about a minute).

They are committed, so the demo needs no painting. All are painted by the programs beside this file and may be used for
anything. Two are awkward on purpose, because pictures that people upload are:

- `forest.jpg` is an upright picture that a camera held sideways has stored lying down, with an EXIF note to turn it;
- `sunflower.png` has a transparent ground and is smaller than the largest thumbnail.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random

from PIL import ExifTags, Image

from examples.pictures import landscapes, patterns

FOLDER = Path(__file__).parent
LANDSCAPE, PORTRAIT, SQUARE = (1600, 1067), (1067, 1600), (720, 720)
# The EXIF value for "turn me a quarter clockwise to see me upright".
TURN_CLOCKWISE = 6

Painter = Callable[[tuple[int, int], Random], Image.Image]

PAINTERS: dict[str, tuple[Painter, tuple[int, int]]] = {
    "mountains.jpg": (landscapes.mountains, LANDSCAPE),
    "aurora.jpg": (landscapes.aurora, LANDSCAPE),
    "sea.jpg": (landscapes.sea, LANDSCAPE),
    "dunes.jpg": (landscapes.dunes, LANDSCAPE),
    "forest.jpg": (landscapes.forest, PORTRAIT),
    "city.png": (landscapes.city, LANDSCAPE),
    "planet.jpg": (patterns.planet, LANDSCAPE),
    "lights.jpg": (patterns.lights, LANDSCAPE),
    "plasma.jpg": (patterns.plasma, LANDSCAPE),
    "fractal.jpg": (patterns.fractal, LANDSCAPE),
    "currents.jpg": (patterns.currents, LANDSCAPE),
    "sunflower.png": (patterns.sunflower, SQUARE),
}


def save(picture: Image.Image, path: Path) -> None:
    if path.suffix == ".png":
        # A palette is a third of the size, and flat colours lose nothing by it.
        method = Image.Quantize.FASTOCTREE if picture.mode == "RGBA" else Image.Quantize.MEDIANCUT
        picture.quantize(96, method=method, dither=Image.Dither.NONE).save(path, optimize=True)
        return
    exif = Image.Exif()
    if picture.height > picture.width:
        picture = picture.transpose(Image.Transpose.ROTATE_90)
        exif[ExifTags.Base.Orientation] = TURN_CLOCKWISE
    picture.save(path, quality=80, optimize=True, progressive=True, exif=exif)


def main() -> None:
    for name, (paint, size) in PAINTERS.items():
        # Seeded by name, so that a new picture does not change the others.
        save(paint(size, Random(name)), FOLDER / name)
        print(f"{name:16} {(FOLDER / name).stat().st_size / 1000:6.0f} kB")


if __name__ == "__main__":
    main()
