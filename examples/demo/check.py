"""Was everything really done? Looks at files and at what the mail server took over, not at what the tasks say."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from examples.demo.tasks import path_of
from examples.shared import thumbnails
from examples.shared.subscribers import Subscriber

__all__ = ["mail_problems", "thumbnail_problems"]


def thumbnail_problems(pictures: Iterable[Path]) -> list[str]:
    """One sentence for every thumbnail that is missing, unreadable or of the wrong size."""
    problems = []
    for picture in pictures:
        for edge_px in thumbnails.EDGES_PX:
            path, wanted = path_of(picture, edge_px), thumbnails.size_of(picture, edge_px)
            try:
                with Image.open(path) as image:
                    image.load()
            except OSError as exc:
                problems.append(f"thumbnail {path.name} is not there or cannot be read: {exc}")
                continue
            # Rounding the shorter side up or down is a matter of taste.
            if any(abs(is_px - should_px) > 1 for is_px, should_px in zip(image.size, wanted, strict=True)):
                problems.append(f"thumbnail {path.name} is {image.size}, should be {wanted}")
    return problems


def mail_problems(subscribers: Iterable[Subscriber], delivered: Counter[str]) -> list[str]:
    """One sentence for everybody who has not exactly one mail, and for every mail to a stranger."""
    wanted = {subscriber.address for subscriber in subscribers}
    problems = [
        f"{address} got {delivered[address]} mails, not 1" for address in sorted(wanted) if delivered[address] != 1
    ]
    return problems + [f"{address} got a mail and is no subscriber" for address in sorted(delivered.keys() - wanted)]
