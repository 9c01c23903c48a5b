"""The sample pictures that show places: mountains, aurora, sea, dunes, forest, city."""

import math
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from examples.pictures.drawing import Colour, blend, clouds, glow, gradient, palette, ridge, rows_between, stars

__all__ = ["aurora", "city", "dunes", "forest", "mountains", "sea"]


def mountains(size: tuple[int, int], random: Random) -> Image.Image:
    """Seven ridges in the haze of a rising sun."""
    width, height = size
    picture = gradient(size, (38, 52, 104), (122, 100, 150), (240, 150, 130), (255, 214, 160))
    sun = (width * 0.66, height * 0.43)
    glow(picture, sun, height * 0.75, (255, 190, 120), 0.9)
    radius = height * 0.055
    ImageDraw.Draw(picture).ellipse(
        (sun[0] - radius, sun[1] - radius, sun[0] + radius, sun[1] + radius), fill=(255, 244, 214)
    )
    layers = 7
    for layer in range(layers):
        near = layer / (layers - 1)
        line = ridge(width, 0.5, 2 + layer, random)
        base, swing = height * (0.50 + 0.44 * near), height * (0.10 - 0.03 * near)
        crest = blend((208, 138, 138), (14, 20, 40), near**0.8)
        # The foot of a ridge lies in mist, so it is lighter than its crest; the nearest has none.
        foot = blend(crest, (250, 186, 160), 0.55 * (1 - near))
        rows_between(picture, [base + y * swing for y in line], gradient(size, crest, crest, foot))
    glow(picture, sun, height * 0.4, (255, 170, 90), 0.35)
    return picture


def aurora(size: tuple[int, int], random: Random) -> Image.Image:
    """Green and violet curtains over a dark wood."""
    width, height = size
    picture = gradient(size, (4, 7, 24), (8, 22, 48), (16, 48, 66))
    stars(picture, 900, height * 0.85, random)
    for colour, level, strength in (
        ((60, 255, 150), 0.62, 1.0),
        ((90, 220, 255), 0.5, 0.6),
        ((200, 90, 255), 0.38, 0.7),
    ):
        picture = ImageChops.screen(picture, _curtain(size, colour, level, strength, random))
    glow(picture, (width * 0.45, height * 0.95), height * 0.7, (30, 160, 110), 0.5)
    hill = ridge(width, 0.5, 3, random)
    rows_between(picture, [height * 0.88 + y * height * 0.03 for y in hill], Image.new("RGB", size, (3, 8, 14)))
    _trees(picture, [height * 0.9 + y * height * 0.03 for y in hill], 150, (30, 120), (3, 8, 14), random)
    return picture


def _curtain(size: tuple[int, int], colour: Colour, level: float, strength: float, random: Random) -> Image.Image:
    width, height = size
    base, tall, bright = (ridge(width, 0.45, waves, random) for waves in (3, 9, 14))
    # One ray, drawn once: sharp at its lower edge, fading upwards.
    ray = Image.new("L", (1, 256))
    ray.putdata([round(255 * (y / 255) ** 2.2) for y in range(256)])
    mask = Image.new("L", size, 0)
    for x in range(width):
        low = height * (level + 0.12 * base[x])
        length = max(8, round(height * (0.34 + 0.10 * tall[x])))
        shade = max(0.0, min(1.0, 0.45 + 0.45 * bright[x])) * strength
        column = ray.resize((1, length)).point(lambda v, s=shade: round(v * s))
        mask.paste(column, (x, round(low) - length))
    light = Image.new("RGB", size)
    light.paste(Image.new("RGB", size, colour), (0, 0), mask.filter(ImageFilter.GaussianBlur(5)))
    return light


def sea(size: tuple[int, int], random: Random) -> Image.Image:
    """The sun's road on a calm evening sea."""
    width, height = size
    horizon = round(height * 0.52)
    picture = gradient(size, (30, 40, 92), (120, 70, 130), (250, 130, 100), (255, 200, 120))
    picture.paste(gradient((width, horizon), (30, 44, 104), (150, 84, 140), (255, 150, 96), (255, 214, 130)), (0, 0))
    veil = clouds((width, horizon), (3, 9), 4, random).point(lambda v: max(0, min(150, (v - 120) * 2)))
    picture.paste(Image.new("RGB", (width, horizon), (92, 50, 104)), (0, 0), veil)
    sun_x = width * 0.4
    glow(picture, (sun_x, horizon - 30), height * 0.6, (255, 180, 90), 0.85)
    ImageDraw.Draw(picture).ellipse((sun_x - 62, horizon - 92, sun_x + 62, horizon + 32), fill=(255, 240, 196))
    picture.paste(gradient((width, height - horizon), (226, 120, 100), (84, 56, 112), (16, 24, 62)), (0, horizon))
    pen = ImageDraw.Draw(picture)
    for _ in range(4200):
        depth = random.random() ** 1.7  # 0 at the horizon, 1 at the beholder's feet
        y = horizon + 3 + depth * (height - horizon)
        in_road = random.random() < 0.55
        x = random.gauss(sun_x, 30 + 190 * depth) if in_road else random.uniform(0, width)
        long, thick = 8 + 75 * depth * random.random(), 1 + 3.2 * depth
        dark: Colour = blend((178, 92, 108), (10, 16, 48), depth)
        light: Colour = blend((255, 236, 170), (255, 170, 110), depth)
        pen.ellipse((x - long, y - thick, x + long, y + thick), fill=light if in_road else dark)
    return picture.filter(ImageFilter.GaussianBlur(1.2))


def dunes(size: tuple[int, int], random: Random) -> Image.Image:
    """Sand, lit from the left; every crest has a bright and a shaded side."""
    width, height = size
    picture = gradient(size, (70, 128, 190), (150, 190, 214), (244, 226, 190), (250, 220, 170))
    glow(picture, (width * 0.12, height * 0.16), height * 0.6, (255, 250, 220), 0.9)
    for layer in range(6):
        near = layer / 5
        crest = [
            height * (0.40 + 0.42 * near) + y * height * (0.05 + 0.05 * near) for y in ridge(width, 0.18, 2, random)
        ]
        light, deep = blend((246, 206, 150), (236, 150, 74), near), blend((216, 160, 120), (120, 52, 30), near)
        rows_between(picture, crest, gradient(size, light, light, blend(light, deep, 0.5)))
        # The shaded side hangs from the crest and ends in a line of its own that wanders away from it.
        away = [abs(y) * height * (0.06 + 0.12 * near) for y in ridge(width, 0.3, 3, random)]
        lower = [top + max(0.0, gap) for top, gap in zip(crest, away, strict=True)]
        shade = Image.new("L", size, 0)
        outline = [(float(x), y) for x, y in enumerate(crest)] + [(float(x), lower[x]) for x in reversed(range(width))]
        ImageDraw.Draw(shade).polygon(outline, fill=210)
        picture.paste(gradient(size, deep, deep), (0, 0), shade.filter(ImageFilter.GaussianBlur(1.5)))
    return picture


def forest(size: tuple[int, int], random: Random) -> Image.Image:
    """Spruces in the morning mist, upright format."""
    width, height = size
    picture = gradient(size, (196, 214, 210), (226, 228, 206), (180, 204, 190))
    glow(picture, (width * 0.6, height * 0.22), height * 0.45, (255, 250, 214), 0.8)
    for layer in range(6):
        near = layer / 5
        colour = blend((168, 192, 184), (12, 36, 34), near**0.9)
        line = [height * (0.36 + 0.56 * near) + y * height * 0.025 for y in ridge(width, 0.5, 3, random)]
        _trees(picture, line, 34 - 4 * layer, (90 + 70 * layer, 170 + 120 * layer), colour, random)
        rows_between(picture, line, gradient(size, colour, blend(colour, (206, 220, 208), 0.75 * (1 - near))))
    return picture


def _trees(
    picture: Image.Image, ground: list[float], count: int, heights: tuple[int, int], colour: Colour, random: Random
) -> None:
    pen = ImageDraw.Draw(picture)
    for _ in range(count):
        x, tall = random.uniform(0, picture.width - 1), random.uniform(*heights)
        foot = ground[int(x)] + tall * 0.08
        tiers = 7 + int(tall / 60)
        left, right = [], []
        for tier in range(tiers):
            down = (tier + 1) / tiers
            reach = tall * 0.21 * down * random.uniform(0.8, 1.15)
            y = foot - tall + tall * down
            # A branch hangs a little lower at its tip than where the next tier starts.
            left += [(x - reach, y), (x - reach * 0.45, y - tall * 0.025)]
            right += [(x + reach, y), (x + reach * 0.45, y - tall * 0.025)]
        pen.polygon([(x, foot - tall), *right, *reversed(left)], fill=colour)


def city(size: tuple[int, int], random: Random) -> Image.Image:
    """A skyline at night in flat colours, the kind of picture that PNG was made for."""
    width, height = size
    picture = Image.new("RGB", size)
    pen = ImageDraw.Draw(picture)
    bands = palette(((14, 14, 44), (44, 26, 84), (120, 44, 108), (228, 92, 104)), 12)
    for index, colour in enumerate(bands):
        pen.rectangle((0, height * index // 12, width, height * (index + 1) // 12), fill=colour)
    for _ in range(70):
        x, y = random.randrange(width), random.randrange(height // 2)
        pen.ellipse((x, y, x + 3, y + 3), fill=(236, 226, 250))
    pen.ellipse((width * 0.68, height * 0.12, width * 0.68 + 190, height * 0.12 + 190), fill=(255, 232, 190))
    for row, (wall, lit) in enumerate((((62, 32, 88), 0.18), ((36, 22, 62), 0.3), ((14, 12, 34), 0.42))):
        x = -20
        while x < width:
            wide = random.randrange(70, 170)
            top = round(height * (0.34 + 0.16 * row) + abs(math.sin(x / 170 + row)) * 150 + random.randrange(90))
            _house(pen, (x, top, x + wide, height), wall, lit, random)
            x += wide + random.randrange(-8, 14)
    return picture


def _house(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], wall: Colour, lit: float, random: Random) -> None:
    left, top, right, bottom = box
    pen.rectangle(box, fill=wall)
    if random.random() < 0.3:
        pen.rectangle(((left + right) // 2 - 3, top - 60, (left + right) // 2 + 3, top), fill=wall)
    for y in range(top + 16, bottom - 8, 26):
        for x in range(left + 12, right - 16, 22):
            if random.random() < lit:
                warm = random.choice(((255, 214, 120), (255, 190, 92), (250, 236, 190)))
                pen.rectangle((x, y, x + 10, y + 14), fill=warm)
