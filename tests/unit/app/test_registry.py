import pytest

from celeriac.exceptions import NotRegistered


def test_a_task_is_found_by_its_name(app):
    task = app.task(name="mail.send")(print)
    assert app.find_task("mail.send") is task


def test_a_near_name_is_told(app):
    app.task(name="mail.send")(print)
    with pytest.raises(NotRegistered, match=r"no task 'mail.sent' in this application; did you mean 'mail.send'\?"):
        app.find_task("mail.sent")


def test_without_a_near_name_all_are_told(app):
    app.task(name="mail.send")(print)
    with pytest.raises(NotRegistered, match=r"it has mail\.send"):
        app.find_task("x")


def test_a_task_of_the_same_function_elsewhere_is_the_likely_one(app):
    app.task(name="shop.mail.send")(print)
    with pytest.raises(NotRegistered, match=r"did you mean 'shop\.mail\.send'"):
        _ = app.tasks["mail.send"]


def test_a_missing_task_is_a_key_error_too(app):
    with pytest.raises(KeyError):
        _ = app.tasks["mail.send"]
    assert app.tasks.get("mail.send") is None
    assert "mail.send" not in app.tasks


@pytest.mark.parametrize("by", ["name", "task"])
def test_a_task_is_unregistered_by_its_name_or_by_itself(app, by):
    task = app.task(name="mail.send")(print)
    app.tasks.unregister(task.name if by == "name" else task)
    assert app.tasks == {}


def test_an_unknown_task_is_not_unregistered(app):
    with pytest.raises(NotRegistered, match=r"mail\.send"):
        app.tasks.unregister("mail.send")


def test_regular_tasks_are_without_celerys_own(app):
    app.task(name="celery.ping")(print)
    task = app.task(name="mail.send")(print)
    assert app.tasks.regular() == {"mail.send": task}
