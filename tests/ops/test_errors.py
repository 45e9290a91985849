"""Calls that must fail: the exception's type and the text a user reads."""

import pytest

from tests.ops.walk import CASES, as_tensor

FAILS = [pytest.param(c, f, id=f"{c.name}-{i}") for c in CASES for i, f in enumerate(c.errors)]


@pytest.mark.parametrize(("case", "fails"), FAILS)
def test_errors(case, fails):
    arrays, _, rebuild = fails.bind()
    args, kwargs = rebuild([as_tensor(a, a.dtype.name) for a in arrays])
    with pytest.raises(fails.error) as caught:
        case.op(*args, **kwargs)
    assert type(caught.value) is fails.error, f"{fails!r}: raised {type(caught.value).__name__}, a subclass"
    assert fails.text in str(caught.value), f"{fails!r}: the text is {str(caught.value)!r}"
