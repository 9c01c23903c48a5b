import sys

import pytest

from celeriac.exceptions import ConfigError, EncodeError
from celeriac.messages import decode_body
from celeriac.task.arguments import Models, Parameters, retried_arguments

pydantic = pytest.importorskip("pydantic")
JSON = frozenset({"application/json"})


class User(pydantic.BaseModel):
    name: str
    age: int = 0


class Admin(User):
    rights: tuple[str, ...] = ()


class Aliased(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(serialize_by_alias=False, validate_by_name=True)
    first_name: str = pydantic.Field(alias="firstName")


class Told(pydantic.BaseModel):
    """Notes the context it is validated in."""

    context: dict[str, object] = pydantic.Field(default_factory=dict)

    @pydantic.model_validator(mode="before")
    @classmethod
    def note(cls, value, info):
        return {"context": dict(info.context or {})}


def models(function, *, name="unit.job", strict=False, context=None, dump_kwargs=None):
    return Models(function, name, strict=strict, context=context, dump_kwargs=dump_kwargs)


def greet(user: User, times: int = 1, *, other: User | None = None):
    return user, times, other


# ── arguments that fit ──


def test_arguments_that_do_not_fit_name_task_and_signature():
    with pytest.raises(TypeError, match=r"^unit\.job\(user: .*\): missing a required argument: 'user'"):
        Parameters("unit.job", greet).check([], {})


@pytest.mark.parametrize(
    ("args", "kwargs", "fits"),
    [
        ([1], {}, True),
        ([1, 2], {"other": 3}, True),
        ([1, 2, 3], {}, False),
        ([1], {"user": 2}, False),
        ([], {"x": 1}, False),
    ],
)
def test_the_second_call_of_a_shape_is_judged_as_the_first(args, kwargs, fits):
    parameters = Parameters("unit.job", greet)
    for _ in range(2):
        if fits:
            parameters.check(args, kwargs)
        else:
            with pytest.raises(TypeError, match=r"^unit\.job"):
                parameters.check(args, kwargs)


# ── the arguments of a retry ──


def sample(a, b, c=3, *, d=4):
    """Has all kinds of parameters."""


@pytest.mark.parametrize(
    ("args", "kwargs", "new"),
    [
        (None, None, ([1, 2], {"c": 9})),
        ([5, 6], {"d": 7}, ([5, 6], {"d": 7})),
        ([5, 6], None, ([5, 6], {"c": 9})),
        ([5, 6, 7], None, ([5, 6, 7], {})),
        (None, {"d": 7}, ([1, 2], {"d": 7})),
        (None, {"b": 7}, ([1, 7], {})),
        (None, {"a": 5, "c": 6}, ([5, 2], {"c": 6})),
        ([], None, ([], {"c": 9})),
    ],
)
def test_a_retry_that_names_some_arguments_gives_none_twice(args, kwargs, new):
    assert retried_arguments(sample, ([1, 2], {"c": 9}), args, kwargs) == new


# ── models for the function ──


def test_plain_data_becomes_the_model_that_the_function_asks_for():
    args, kwargs = models(greet).loaded([{"name": "Ada"}], {"times": 2, "other": {"name": "Bob", "age": "7"}}, None)
    assert (args, kwargs) == ((User(name="Ada"), 2), {"other": User(name="Bob", age=7)})


@pytest.mark.parametrize("other", [{}, {"other": None}])
def test_an_optional_model_may_be_missing(other):
    _, kwargs = models(greet).loaded([{"name": "Ada"}], other, None)
    assert kwargs == other


def test_data_that_is_no_such_model_fails():
    with pytest.raises(pydantic.ValidationError, match="name"):
        models(greet).loaded([{"age": 3}], {}, None)


def test_a_model_that_is_not_optional_may_not_be_none():
    with pytest.raises(pydantic.ValidationError):
        models(greet).loaded([None], {}, None)


def test_strict_takes_no_text_for_a_number():
    with pytest.raises(pydantic.ValidationError, match="age"):
        models(greet, strict=True).loaded([{"name": "Ada", "age": "7"}], {}, None)


def test_validators_see_the_context_with_task_and_app(app):
    def job(told: Told):
        """Nothing."""

    (told,), _ = models(job, context={"tenant": 7}).loaded([{}], {}, app)
    assert told.context == {"tenant": 7, "celery_app": app, "celery_task_name": "unit.job"}


def test_arguments_without_a_model_stay_as_they_are():
    def job(x, *rest, y: int = 0, **more: User):
        """Nothing."""

    given = [1, {"name": "Ada"}], {"y": "2", "z": {"name": "Bob"}}
    assert models(job).loaded(*given, None) == ((1, {"name": "Ada"}), given[1])


def test_names_that_only_type_checkers_know_are_passed_over():
    def job(x: "Unknown", user: User):  # noqa: F821
        """Nothing."""

    assert models(job).loaded([1, {"name": "Ada"}], {}, None)[0] == (1, User(name="Ada"))


# ── models of the caller ──


def test_models_of_the_caller_become_plain_data_where_they_stand():
    args, kwargs = models(greet).dumped([User(name="Ada")], {"other": User(name="Bob"), "times": 2}, None)
    assert args == [{"name": "Ada", "age": 0}]
    assert kwargs == {"other": {"name": "Bob", "age": 0}, "times": 2}


def test_a_keyword_stays_a_keyword():
    assert models(greet).dumped([], {"user": User(name="Ada")}, None) == ([], {"user": {"name": "Ada", "age": 0}})


def test_a_subclass_stays_as_it_is_since_the_worker_would_make_another_of_it():
    admin = Admin(name="Ada", rights=("all",))
    assert models(greet).dumped([admin], {}, None) == ([admin], {})


def test_a_model_that_cannot_be_made_again_stays_as_it_is():
    def job(told: Told):
        """Nothing."""

    told = Told()
    assert models(job, strict=True).dumped([told], {}, None) == ([told], {})


def test_a_model_with_a_validator_that_works_in_a_worker_only_stays_as_it_is():
    class Picky(pydantic.BaseModel):
        @pydantic.model_validator(mode="before")
        @classmethod
        def refuse(cls, value):
            if value:
                raise RuntimeError("not here")
            return value

        x: int = 1

    def job(picky: Picky):
        """Nothing."""

    picky = Picky()
    assert models(job).dumped([picky], {}, None) == ([picky], {})


def test_models_are_dumped_with_the_tasks_dump_kwargs():
    def job(who: Aliased):
        """Nothing."""

    who = Aliased(firstName="Ada")
    assert models(job, dump_kwargs={"by_alias": True}).dumped([who], {}, None)[0] == [{"firstName": "Ada"}]
    assert models(job).dumped([who], {}, None)[0] == [{"first_name": "Ada"}]


def test_arguments_that_do_not_fit_are_left_to_the_worker():
    ada = User(name="Ada")
    assert models(greet).dumped([{"name": "Ada"}, 2, ada], {"more": ada}, None) == (
        [{"name": "Ada"}, 2, ada],
        {"more": ada},
    )


# ── models that are returned ──


def returning(annotation):
    def job():
        """Nothing."""

    job.__annotations__["return"] = annotation
    return models(job, dump_kwargs={"exclude_unset": True})


@pytest.mark.parametrize("annotation", [User, User | None, "User"])
def test_a_returned_model_becomes_plain_data(annotation):
    assert returning(annotation).dumped_result(User(name="Ada")) == {"name": "Ada"}


@pytest.mark.parametrize("value", [5, None, {"name": "Ada"}])
def test_other_values_are_returned_as_they_are(value):
    assert returning(User).dumped_result(value) == value


def test_a_model_that_the_function_does_not_announce_is_returned_as_it_is():
    ada = User(name="Ada")
    assert returning(int).dumped_result(ada) is ada


# ── as an option of a task ──


@pytest.fixture
def job(recording_app):
    return recording_app.task(greet, name="unit.job", pydantic=True)


def test_a_call_with_models_sends_plain_data(job, sent):
    job.delay(User(name="Ada"), other=User(name="Bob", age=7))
    body = decode_body(sent().message, JSON)
    assert (body.args, body.kwargs) == ([{"name": "Ada", "age": 0}], {"other": {"name": "Bob", "age": 7}})


def test_pickle_sends_models_as_they_are(job, sent):
    job.apply_async((User(name="Ada"),), serializer="pickle")
    message = sent().message
    assert decode_body(message, frozenset({message.content_type})).args == [User(name="Ada")]


def test_without_the_option_a_model_cannot_be_sent(recording_app):
    with pytest.raises(EncodeError, match="argument 1 cannot be sent"):
        recording_app.task(greet, name="unit.plain").delay(User(name="Ada"))


def test_a_run_gets_models_and_returns_plain_data(app):
    @app.task(name="unit.older", pydantic=True)
    def older(user: User) -> User:
        assert isinstance(user, User)
        return User(name=user.name, age=user.age + 1)

    assert older.apply((User(name="Ada", age=3),)).get() == {"name": "Ada", "age": 4}
    assert older.apply(({"name": "Ada", "age": 3},)).get() == {"name": "Ada", "age": 4}


def test_a_task_that_is_called_directly_gets_models_too(app):
    @app.task(name="unit.same", pydantic=True)
    def same(user: User) -> User:
        assert isinstance(user, User)
        return user

    assert same({"name": "Ada"}) == same(User(name="Ada")) == {"name": "Ada", "age": 0}


def test_without_pydantic_the_option_says_what_to_install(recording_app, monkeypatch):
    from celeriac.task import arguments

    monkeypatch.setitem(sys.modules, "pydantic", None)
    arguments._base_model.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install celeriac\[pydantic\]"):
        recording_app.task(greet, name="unit.job", pydantic=True).delay({"name": "Ada"})
