"""Five hundred people who read the newsletter. The same ones every time, none of them real."""

from itertools import product
from typing import NamedTuple

__all__ = ["SUBSCRIBERS", "Subscriber"]


class Subscriber(NamedTuple):
    name: str
    address: str


FIRST_NAMES = (
    "Ada Björn Chloé Dmitri Elif Fatima Grace Håkon Inês Jürgen "
    "Kenji Łucja Mei Noor Olena Priya Quentin Rosa Søren Tomás"
)
LAST_NAMES = (
    "Lovelace Þórsson Nowak Okafor Ramírez Sato Tremblay Yılmaz Zhang Ólafsdóttir Abara Bélanger Costa Dvořák Eriksen "
    "Ferrari García Haddad Ivanova Jansen Kovács Larsen Müller Nguyễn O’Brien"
)

# Names may have any letters; addresses are numbered and stay ASCII, as most mail servers still want them.
SUBSCRIBERS = tuple(
    Subscriber(f"{first} {last}", f"reader{number:03}@example.net")
    for number, (last, first) in enumerate(product(LAST_NAMES.split(), FIRST_NAMES.split()), start=1)
)
