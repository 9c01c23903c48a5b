"""The demo from start to end: clean up, start, publish, watch, stop, check, say what was done."""

import shutil
import signal
import sys
import time
from functools import partial
from types import FrameType

from examples.demo import check, report
from examples.demo.app import HOME, ROOT
from examples.demo.batch import Batch
from examples.demo.progress import Snapshot
from examples.demo.tasks import send_mail, thumbnail
from examples.demo.view import LOG_LINES, View, view_for_this_output
from examples.shared import subscribers
from examples.shared.samples import SAMPLES
from examples.shared.smtp_sink import SmtpSink
from examples.shared.thumbnails import EDGES_PX
from examples.shared.worker import Worker, WorkerDied

__all__ = ["main"]

PICTURES = list(SAMPLES.values())
SUBSCRIBERS = subscribers.SUBSCRIBERS[:200]
DEADLINE_S = 120.0
LOOK_EVERY_S = 0.1


def main() -> int:
    """Run the demo; return the exit status."""
    # The default for both is to die on the spot, without the `finally` that stops the worker.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    started_s = time.monotonic()
    if HOME.exists():
        shutil.rmtree(HOME)
    HOME.mkdir()
    pictures, mails = _batches()
    try:
        # Left in reverse: the view first, then the worker, and the mail server when nobody needs it any more.
        with SmtpSink(seed="mailbox") as sink, _worker(sink) as worker, view_for_this_output() as view:
            _publish_and_follow(pictures, mails, started_s, sink, worker, view)
    except WorkerDied as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the worker too", file=sys.stderr)
        return 130
    problems = [
        *worker.problems(),
        *(sentence for batch in (pictures, mails) for sentence in batch.failures + batch.unfinished()),
        *check.thumbnail_problems(PICTURES),
        *check.mail_problems(SUBSCRIBERS, sink.delivered),
    ]
    if problems:
        print(report.of_problems(problems), file=sys.stderr)
        return 1
    print(report.of_success(len(PICTURES), len(SUBSCRIBERS), sink.refused, time.monotonic() - started_s))
    return 0


def _worker(sink: SmtpSink) -> Worker:
    return Worker("examples.demo.tasks", HOME / "worker.log", DEMO_SMTP_PORT=str(sink.port))


def _batches() -> tuple[Batch, Batch]:
    names = [str(path.relative_to(ROOT)) for path in PICTURES]
    pictures = Batch("pictures", [partial(thumbnail.delay, name, edge_px) for name in names for edge_px in EDGES_PX])
    return pictures, Batch("mails", [partial(send_mail.delay, name, address) for name, address in SUBSCRIBERS])


def _publish_and_follow(
    pictures: Batch, mails: Batch, started_s: float, sink: SmtpSink, worker: Worker, view: View
) -> None:
    look_at_s = 0.0
    while not (pictures.all_done and mails.all_done):
        # Four mails to a picture, as there are about four times as many; the queue is first in, first out.
        pictures.publish(1)
        mails.publish(4)
        now_s = time.monotonic() - started_s
        if now_s >= look_at_s:
            worker.check()
            pictures.follow()
            mails.follow()
            bars = (pictures.bar(now_s), mails.bar(now_s))
            view.show(Snapshot(now_s, bars, sink.refused, worker.pid, tuple(worker.tail(LOG_LINES))))
            look_at_s = now_s + LOOK_EVERY_S
        elif pictures.all_published and mails.all_published:
            time.sleep(look_at_s - now_s)
        if now_s > DEADLINE_S:
            return


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
