import os
import threading
import uuid

from celeriac.ids import new_id, new_tag


def test_an_id_is_a_random_uuid():
    for _ in range(1000):
        text = new_id()
        made = uuid.UUID(text)
        assert str(made) == text
        assert (made.version, made.variant) == (4, uuid.RFC_4122)


def test_ids_and_tags_differ_also_between_threads():
    made: list[str] = []

    def make() -> None:
        made.extend(new() for new in (new_id, new_tag) for _ in range(5000))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == len(made) == 40_000


def test_a_forked_child_makes_other_ids(fork, tmp_path):
    new_id(), new_tag()  # some are ready now

    def note() -> None:
        (tmp_path / str(os.getpid())).write_text(" ".join(new() for new in (new_id, new_tag) for _ in range(300)))

    fork(note)
    fork(note)
    note()
    made = [one for file in tmp_path.iterdir() for one in file.read_text().split()]
    assert len(set(made)) == len(made) == 1800
