"""The demo's last words."""

import sys
from collections.abc import Sequence
from pathlib import Path

from examples.demo.app import HOME, ROOT
from examples.shared.thumbnails import EDGES_PX

__all__ = ["of_problems", "of_success"]

MOST_PROBLEMS = 20

SUCCESS = """
Done in {elapsed_s:.1f} s.
  pictures  {thumbnails} thumbnails of {pictures} pictures, in {home}/thumbnails/
  mails     {mails} sent, exactly one to each of as many subscribers
  retries   {refused}: so often the mail server said "451 try again later"
  worker    stopped; its log is {home}/worker.log

Go on with three lines of Python (run {bin}/python here):
  from examples.demo.tasks import thumbnail
  result = thumbnail.delay("examples/pictures/sea.jpg", 320)
  print(result.get(timeout=60))
and a worker in another terminal (stop it before the next demo):
  {bin}/celeriac -A examples.demo.tasks worker -c 2
"""


def of_success(pictures: int, mails: int, refused: int, elapsed_s: float) -> str:
    return SUCCESS.format(
        elapsed_s=elapsed_s,
        pictures=pictures,
        thumbnails=pictures * len(EDGES_PX),
        mails=mails,
        refused=refused,
        home=HOME.relative_to(ROOT),
        bin=_from_root(Path(sys.executable).parent),
    )


def of_problems(problems: Sequence[str]) -> str:
    shown = [f"  {problem}" for problem in problems[:MOST_PROBLEMS]]
    if len(problems) > len(shown):
        shown.append(f"  and {len(problems) - len(shown)} more")
    return "\n".join([f"\nNot everything was done; the worker's log is {HOME / 'worker.log'}:", *shown])


def _from_root(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
