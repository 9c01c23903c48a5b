from celeriac.worker.sizes import say_sizes


def test_sizes_are_told_to_who_wants_to_know(caplog):
    with caplog.at_level("DEBUG", "celeriac.worker"):
        say_sizes({"leases held": 3, "results waited for": 0})
    assert caplog.messages == ["Kept in memory: 3 leases held, 0 results waited for"]
