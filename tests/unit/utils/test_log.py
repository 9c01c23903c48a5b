import logging

import pytest

from celeriac.utils.log import get_logger, get_task_logger


def ancestors(logger):
    while logger is not None:
        yield logger.name
        logger = logger.parent


def test_a_task_logger_has_the_name_that_was_asked_for_and_is_below_celery_task():
    logger = get_task_logger("tests.utils.one")
    assert logger is logging.getLogger("tests.utils.one")
    assert list(ancestors(logger))[:2] == ["tests.utils.one", "celery.task"]


def test_a_logger_that_is_below_it_by_name_keeps_its_parent():
    between = logging.getLogger("celery.task.two")
    assert get_task_logger("celery.task.two.three").parent is between


@pytest.mark.parametrize("name", ["celery", "celery.task"])
def test_the_names_of_the_parents_are_taken(name):
    with pytest.raises(RuntimeError, match="parent of task loggers"):
        get_task_logger(name)


def test_other_loggers_are_those_of_logging():
    logger = logging.getLogger("tests.utils.plain")
    assert get_logger("tests.utils.plain") is logger
    assert get_logger(logger) is logger
    assert "celery.task" not in ancestors(logger)
