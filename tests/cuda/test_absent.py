"""Without a device: imports cost nothing, and every way to one says why there is none."""

import pytest

import dlcore as dl


def test_why_not():
    assert not dl.cuda.is_available() and dl.cuda.device_count() == 0
    assert dl.cuda.why_not()
    assert dl.cuda.why_not() in dl.show_config()


@pytest.mark.parametrize(
    "call",
    [
        lambda: dl.ones((2,)).to("cuda"),
        lambda: dl.ones((2,)).cuda(),
        lambda: dl.zeros((2,), device="cuda"),
        lambda: dl.randn(2, device="cuda:0"),
        lambda: dl.nn.Linear(2, 2).cuda(),
    ],
)
def test_the_reason_is_given(call):
    with pytest.raises(ValueError, match="is not available") as caught:
        call()
    assert dl.cuda.why_not() in str(caught.value)


def test_questions_to_a_device_that_is_not_there():
    for ask in (dl.cuda.synchronize, dl.cuda.memory_stats, dl.cuda.get_device_name, dl.cuda.empty_cache):
        with pytest.raises(NotImplementedError, match=r"^\[cuda\] ") as caught:
            ask()
        assert dl.cuda.why_not() in str(caught.value)
