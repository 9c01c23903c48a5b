"""Brushes for the sample pictures: gradients, glows, noise and ridges, with nothing but Pillow.

Every brush that needs chance is handed its `random.Random`, so the same seed paints the same picture.
"""

import math
from collections.abc import Sequence
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

__all__ = ["Colour", "blend", "clouds", "glow", "gradient", "palette", "ridge", "rows_between", "stars"]

Colour = tuple[int, int, int]


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """`first` at share 0, `second` at share 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def palette(stops: Sequence[Colour], length: int) -> list[Colour]:
    """`length` colours that run evenly through all `stops`."""
    colours = []
    for index in range(length):
        position = index / max(1, length - 1) * (len(stops) - 1)
        left = min(int(position), len(stops) - 2)
        colours.append(blend(stops[left], stops[left + 1], position - left))
    return colours


def gradient(size: tuple[int, int], *stops: Colour) -> Image.Image:
    """A picture that runs from the first stop at the top to the last at the bottom."""
    width, height = size
    column = Image.new("RGB", (1, height))
    column.putdata(palette(stops, height))
    return column.resize((width, height), Image.Resampling.NEAREST)


def glow(picture: Image.Image, centre: tuple[float, float], radius: float, colour: Colour, strength: float) -> None:
    """Add light around `centre`, in place. Light adds up (screen), it does not cover."""
    side = round(radius * 2)
    # Pillow's radial gradient is 0 in the middle and grows outwards; squared and inverted it looks like light in haze.
    falloff = Image.radial_gradient("L").point(lambda v: round(255 * strength * max(0.0, 1 - v / 181) ** 2))
    mask = falloff.resize((side, side), Image.Resampling.BICUBIC)
    corner = (round(centre[0] - radius), round(centre[1] - radius))
    light = Image.new("RGB", picture.size)
    light.paste(Image.new("RGB", mask.size, colour), corner, mask)
    picture.paste(ImageChops.screen(picture, light))


def clouds(size: tuple[int, int], cells: tuple[int, int], octaves: int, random: Random) -> Image.Image:
    """Smooth noise in grey: random dots, enlarged, each octave finer and fainter than the one before."""
    total = Image.new("L", size, 128)
    for octave in range(octaves):
        across, down = cells[0] * 2**octave, cells[1] * 2**octave
        dots = Image.new("L", (across, down))
        dots.putdata([random.randrange(256) for _ in range(across * down)])
        total = Image.blend(total, dots.resize(size, Image.Resampling.BICUBIC), 1.0 if octave == 0 else 0.5**octave)
    return total.filter(ImageFilter.GaussianBlur(2))


def ridge(width: int, roughness: float, waves: int, random: Random) -> list[float]:
    """A skyline: one height between about -1 and 1 per column, from random knots joined by cosines."""
    heights = [0.0] * width
    share, knots = 1.0, waves
    while knots < width:
        points = [random.uniform(-1, 1) for _ in range(knots + 2)]
        for x in range(width):
            position = x / width * knots
            left = int(position)
            ease = (1 - math.cos((position - left) * math.pi)) / 2
            heights[x] += share * (points[left] * (1 - ease) + points[left + 1] * ease)
        share, knots = share * roughness, knots * 2
    return heights


def rows_between(picture: Image.Image, tops: Sequence[float], fill: Image.Image) -> None:
    """Show `fill` below the line of `tops`, in place: the way every hill is put before the next one."""
    mask = Image.new("L", picture.size, 0)
    outline = [
        (0.0, float(picture.height)),
        *((float(x), y) for x, y in enumerate(tops)),
        (picture.width, picture.height),
    ]
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    picture.paste(fill, (0, 0), mask)


def stars(picture: Image.Image, count: int, lowest: float, random: Random) -> None:
    """Scatter stars over the upper `lowest` pixels, in place; most are faint."""
    pen = ImageDraw.Draw(picture)
    for _ in range(count):
        x, y = random.uniform(0, picture.width), random.uniform(0, lowest)
        light = round(70 + 185 * random.random() ** 4)
        size = 1 + 2.2 * random.random() ** 6
        pen.ellipse((x - size, y - size, x + size, y + size), fill=(light, light, min(255, light + 12)))
