import threading

import pytest

from celeriac.worker.marks import Marks
from support.waiting import until


def test_those_who_come_while_one_is_marked_are_marked_together():
    entered, go_on, batches = threading.Event(), threading.Event(), []

    def exchange(tokens):
        batches.append(list(tokens))
        entered.set()
        assert go_on.wait(30)
        return [token != 5 for token in tokens]

    marks, answers = Marks(exchange), {}
    threads = [
        threading.Thread(target=lambda token=token: answers.update({token: marks.begin(token)})) for token in range(9)
    ]
    threads[0].start()
    assert entered.wait(30)
    for thread in threads[1:]:
        thread.start()
    until(lambda: len(marks._waiting) == 8, "all the others wait")
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert [sorted(batch) for batch in batches] == [[0], list(range(1, 9))]
    assert answers == {token: token != 5 for token in range(9)}


def test_one_who_fails_does_not_take_the_others_along():
    entered, go_on, batches = threading.Event(), threading.Event(), []

    def exchange(tokens):
        batches.append(list(tokens))
        if len(batches) == 1:
            entered.set()
            assert go_on.wait(30)
        if len(batches) == 2:
            raise RuntimeError("why")
        return [True] * len(tokens)

    marks, ends = Marks(exchange), []

    def begin(token):
        try:
            ends.append(marks.begin(token))
        except RuntimeError as error:
            ends.append(str(error))

    threads = [threading.Thread(target=begin, args=(token,)) for token in range(3)]
    threads[0].start()
    assert entered.wait(30)
    for thread in threads[1:]:
        thread.start()
    until(lambda: len(marks._waiting) == 2, "the others wait")
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert sorted(map(str, ends)) == ["True", "True", "why"]


def test_an_error_is_the_callers():
    def exchange(_tokens):
        raise RuntimeError("why")

    with pytest.raises(RuntimeError, match="why"):
        Marks(exchange).begin(1)
