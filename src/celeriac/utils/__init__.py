"""What projects import from `celery.utils`: the loggers of tasks (`utils.log`)."""
