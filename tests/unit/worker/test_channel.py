import os
import tempfile
import threading

import pytest

from celeriac.worker.channel import Channel, Closed


@pytest.fixture
def ends():
    ours, theirs = Channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize("value", [None, "stop", {"a": [1, (2,)]}, b"", 2**100])
def test_a_value_arrives(ends, value):
    ends[0].send(value)
    assert ends[1].receive() == (value, [])


def test_values_arrive_in_order_in_both_directions(ends):
    for number in range(3):
        ends[0].send(number)
    ends[1].send("back")
    assert [ends[1].receive()[0] for _ in range(3)] == [0, 1, 2]
    assert ends[0].receive()[0] == "back"


def test_a_large_value_arrives_whole(ends):
    value = os.urandom(2_000_000)
    thread = threading.Thread(target=ends[0].send, args=(value,))
    thread.start()
    assert ends[1].receive()[0] == value
    thread.join()


def test_descriptors_travel_with_a_value(ends):
    read, write = os.pipe()
    ends[0].send("pipe", [read])
    os.close(read)
    value, (received,) = ends[1].receive(most_fds=1)
    os.write(write, b"through")
    assert (value, os.read(received, 100)) == ("pipe", b"through")
    os.close(write)
    os.close(received)


def test_a_received_descriptor_is_not_inherited_by_other_programs(ends):
    with tempfile.TemporaryFile() as file:
        ends[0].send("here", [file.fileno()])
    _, (received,) = ends[1].receive(most_fds=1)
    assert not os.get_inheritable(received)
    os.close(received)


def test_each_value_has_its_own_descriptors(ends):
    pipes = [os.pipe() for _ in range(2)]
    for number, (read, _) in enumerate(pipes):
        ends[0].send(number, [read])
        os.close(read)
    for number, (_, write) in enumerate(pipes):
        value, (received,) = ends[1].receive(most_fds=2)
        os.write(write, b"%d" % number)
        assert os.read(received, 100) == b"%d" % value
        os.close(write)
        os.close(received)


def test_receiving_from_an_end_that_has_gone_says_so(ends):
    ends[0].close()
    with pytest.raises(Closed):
        ends[1].receive()


def test_what_was_sent_before_the_end_still_arrives(ends):
    ends[0].send("last")
    ends[0].close()
    assert ends[1].receive()[0] == "last"
    with pytest.raises(Closed):
        ends[1].receive()


def test_sending_to_an_end_that_has_gone_says_so(ends):
    ends[1].close()
    with pytest.raises(Closed):
        ends[0].send("anyone?")


@pytest.mark.parametrize("part", [b"\x05", b"\x05\x00\x00\x00ab"])
def test_an_end_that_goes_in_the_middle_of_a_value_says_so(ends, part):
    os.write(ends[0].fileno(), part)
    ends[0].close()
    with pytest.raises(Closed):
        ends[1].receive()


def test_an_end_can_be_made_of_an_inherited_descriptor(ends):
    heir = Channel.from_fd(os.dup(ends[1].fileno()))
    ends[0].send("hello")
    assert heir.receive()[0] == "hello"
    heir.close()
    heir.close()


def test_what_is_sent_now_never_waits_for_one_that_does_not_read_and_arrives_whole(ends):
    ours, theirs = ends
    sent = 0
    while ours.send_now(("word", sent)):
        sent += 1
    assert [theirs.receive()[0] for _ in range(sent)] == [("word", number) for number in range(sent)]
    assert ours.send_now("again")
    assert theirs.receive()[0] == "again"


def test_what_is_sent_now_to_nobody_is_told(ends):
    ends[1].close()
    with pytest.raises(Closed):
        ends[0].send_now("word")
