"""dlcore.functional: one module under two names, every function documented and the one of dlcore.ops."""

import dlcore
from dlcore import functional, nn, ops


def test_it_is_one_module():
    assert nn.functional is functional and dlcore.functional is functional


def test_every_name_is_the_operation():
    assert functional.__all__ == sorted(set(functional.__all__))
    for name in functional.__all__:
        function = getattr(functional, name)
        assert function is getattr(ops, name) and function.__doc__
