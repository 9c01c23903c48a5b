"""The sample pictures that show form and colour: planet, lights, plasma, fractal, currents, sunflower."""

import math
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from examples.pictures.drawing import Colour, clouds, glow, gradient, palette, stars

__all__ = ["currents", "fractal", "lights", "planet", "plasma", "sunflower"]

# The side of one pixel of the fractal.
ZOOM = 2.6e-6


def planet(size: tuple[int, int], random: Random) -> Image.Image:
    """A gas giant with a ring, lit from the upper left."""
    width, height = size
    picture = gradient(size, (6, 6, 18), (16, 12, 34), (8, 8, 22))
    stars(picture, 700, height, random)
    glow(picture, (width * 0.2, height * 0.25), height * 0.6, (70, 50, 130), 0.5)
    middle, radius = (width * 0.54, height * 0.5), round(height * 0.31)
    ring = _ring(size, middle, radius, random)
    # The ring's far half lies behind the globe, its near half before it.
    picture.paste(ring, (0, 0), ring)
    globe = _globe(radius, random)
    picture.paste(globe, (round(middle[0] - radius), round(middle[1] - radius)), globe)
    near = ring.copy()
    ImageDraw.Draw(near).polygon(
        [(0, 0), (width, 0), (width, middle[1] - width * 0.11), (0, middle[1] + width * 0.13)], fill=(0, 0, 0, 0)
    )
    picture.paste(near, (0, 0), near)
    return picture


def _globe(radius: int, random: Random) -> Image.Image:
    bands = palette(
        ((120, 70, 60), (232, 190, 150), (180, 110, 84), (246, 224, 190), (150, 90, 80), (226, 170, 120)), 256
    )
    swirls = clouds((radius * 2, radius * 2), (4, 16), 4, random).tobytes()
    globe = Image.new("RGBA", (radius * 2, radius * 2))
    pixels = []
    for row in range(radius * 2):
        for column in range(radius * 2):
            x, y = (column - radius) / radius, (row - radius) / radius
            inside = 1 - x * x - y * y
            if inside <= 0:
                pixels.append((0, 0, 0, 0))
                continue
            z = math.sqrt(inside)
            shine = max(0.04, -0.62 * x - 0.38 * y + 0.68 * z)
            latitude = math.asin(y * 0.94 - x * 0.24) * 210 + swirls[row * radius * 2 + column] * 0.55
            red, green, blue = bands[int(latitude) % 256]
            edge = round(255 * min(1.0, inside * radius / 3))
            pixels.append((round(red * shine), round(green * shine), round(blue * shine), edge))
    globe.putdata(pixels)
    return globe.filter(ImageFilter.GaussianBlur(0.8))


def _ring(size: tuple[int, int], middle: tuple[float, float], radius: int, random: Random) -> Image.Image:
    flat = Image.new("RGBA", size, (214, 186, 150, 0))
    pen = ImageDraw.Draw(flat)
    for step in range(130):
        across = radius * (1.35 + 0.85 * step / 130)
        opacity = round(random.uniform(40, 200) * (0.1 if 78 < step < 88 else 1.0))
        box = (middle[0] - across, middle[1] - across * 0.23, middle[0] + across, middle[1] + across * 0.23)
        pen.ellipse(box, outline=(224, 196, 158, opacity), width=3)
    return flat.rotate(14, Image.Resampling.BICUBIC, center=middle)


def lights(size: tuple[int, int], random: Random) -> Image.Image:
    """A street at night, seen out of focus."""
    picture = gradient(size, (18, 8, 36), (44, 16, 56), (16, 10, 30))
    hues: tuple[Colour, ...] = ((255, 170, 60), (255, 90, 80), (90, 170, 255), (255, 226, 140), (210, 90, 255))
    for blur, count, largest in ((14, 40, 120), (5, 45, 80), (1.5, 40, 52)):
        layer = Image.new("RGB", size)
        for _ in range(count):
            x, y = random.uniform(0, size[0]), random.gauss(size[1] * 0.55, size[1] * 0.2)
            r, hue = random.uniform(largest * 0.35, largest), random.choice(hues)
            disc = Image.new("RGB", size)
            dim: Colour = (hue[0] * 2 // 5, hue[1] * 2 // 5, hue[2] * 2 // 5)
            rim: Colour = (hue[0] * 3 // 5, hue[1] * 3 // 5, hue[2] * 3 // 5)
            ImageDraw.Draw(disc).ellipse((x - r, y - r, x + r, y + r), fill=dim, outline=rim, width=3)
            layer = ImageChops.screen(layer, disc)
        picture = ImageChops.screen(picture, layer.filter(ImageFilter.GaussianBlur(blur)))
    return picture


def plasma(size: tuple[int, int], random: Random) -> Image.Image:
    """The screen effect of the eighties: sines of sines, looked up in a ring of colours."""
    width, height = size[0] // 2, size[1] // 2  # so smooth that half the size is enough
    ring = palette(((16, 24, 96), (0, 150, 200), (240, 240, 190), (255, 120, 90), (130, 20, 110), (16, 24, 96)), 1024)
    phase = [random.uniform(0, math.tau) for _ in range(4)]
    pixels = []
    for row in range(height):
        for column in range(width):
            x, y = column / 75, row / 75
            value = math.sin(x * 1.1 + phase[0] + math.sin(y * 1.3))
            value += math.sin(y * 1.6 + phase[1] + math.cos(x * 0.8))
            value += math.sin((x + y) * 0.9 + phase[2])
            value += math.sin(math.hypot(x - 6.5, y - 3.2) * 1.9 + phase[3])
            pixels.append(ring[int((value + 4) / 8 * 1023)])
    small = Image.new("RGB", (width, height))
    small.putdata(pixels)
    return small.resize(size, Image.Resampling.BICUBIC)


def fractal(size: tuple[int, int], random: Random) -> Image.Image:
    """The seahorse valley of the Mandelbrot set; nothing in it is left to chance."""
    width, height = size
    ring = palette(((8, 10, 44), (30, 90, 190), (180, 230, 250), (255, 240, 190), (250, 150, 40), (90, 20, 60)), 512)
    ring += ring[::-1]
    across = [-0.7436 + (column - width / 2) * ZOOM for column in range(width)]
    down = [0.1318 + (row - height / 2) * ZOOM for row in range(height)]
    picture = Image.new("RGB", size)
    picture.putdata([_escape(complex(x, y), ring) for y in down for x in across])
    return picture.filter(ImageFilter.GaussianBlur(0.9))


def _escape(point: complex, ring: list[Colour]) -> Colour:
    value = point
    for step in range(600):
        if value.real * value.real + value.imag * value.imag > 64:
            # How far beyond the border it landed gives the fraction of a step, which smooths the bands away.
            smooth = step + 1 - math.log2(math.log2(abs(value)))
            return ring[int(math.log(smooth + 1) * 300) % len(ring)]
        value = value * value + point
    return (4, 4, 16)


def currents(size: tuple[int, int], random: Random) -> Image.Image:
    """Threads that drift along an invisible field."""
    width, height = size
    field = clouds(size, (4, 3), 2, random).tobytes()
    colours = palette(((250, 240, 210), (244, 162, 97), (231, 111, 81), (42, 157, 143), (38, 70, 83)), 64)
    picture = Image.new("RGB", (width * 2, height * 2), (20, 30, 40))  # twice the size, so that threads end up smooth
    pen = ImageDraw.Draw(picture)
    for _ in range(750):
        x, y = random.uniform(-100, width), random.uniform(0, height)
        path = []
        for _ in range(110):
            column, row = min(width - 1, max(0, int(x))), min(height - 1, max(0, int(y)))
            angle = (field[row * width + column] / 255 - 0.5) * math.tau * 1.1
            x, y = x + math.cos(angle) * 5, y + math.sin(angle) * 5
            path.append((x * 2, y * 2))
        pen.line(path, fill=random.choice(colours), width=random.choice((3, 5, 8, 12)), joint="curve")
    return picture.resize(size, Image.Resampling.LANCZOS)


def sunflower(size: tuple[int, int], random: Random) -> Image.Image:
    """Seeds at the golden angle on a transparent ground; nothing in it is left to chance."""
    width, height = size
    picture = Image.new("RGBA", (width * 2, height * 2), (255, 190, 40, 0))
    pen = ImageDraw.Draw(picture)
    colours = palette(((70, 40, 24), (140, 80, 30), (236, 150, 30), (255, 206, 60), (120, 170, 70)), 640)
    for seed, colour in enumerate(colours):
        angle, distance = seed * math.pi * (3 - math.sqrt(5)), math.sqrt(seed / 640) * width * 0.94
        x, y = width + math.cos(angle) * distance, height + math.sin(angle) * distance
        r = 13 + 15 * seed / 640
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    return picture.resize(size, Image.Resampling.LANCZOS)
