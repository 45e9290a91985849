"""Nothing public without a case: a new operation fails here until its table knows it."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import dlcore.ops
import tests.opcases
from tests.ops.walk import CASES

ROOT = Path(__file__).resolve().parents[2]


def modules_of(package):
    return {
        m.name: importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)
    }


def test_every_public_name_has_a_case():
    covered = {case.name.split(":")[0] for case in CASES}
    elsewhere = {k: v for m in modules_of(tests.opcases).values() for k, v in getattr(m, "ELSEWHERE", {}).items()}
    missing = [
        f"dlcore.ops.{family}.{name}"
        for family, module in modules_of(dlcore.ops).items()
        for name in module.__all__
        if name not in covered and name not in elsewhere
    ]
    assert not missing, f"public names without an OpCase in tests/opcases: {missing}"
    for name, path in elsewhere.items():
        assert name in (ROOT / path).read_text(), f"{name} is said to be tested in {path}, which does not mention it"


def test_every_case_names_a_public_function():
    public = {name for module in modules_of(dlcore.ops).values() for name in module.__all__}
    unknown = [case.name for case in CASES if case.name.split(":")[0] not in public]
    assert not unknown, f"cases that name no public function: {unknown}"


def test_case_names_are_unique():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)


def test_every_family_stands_on_every_floor():
    families = set(modules_of(dlcore.ops))
    assert families == set(modules_of(tests.opcases)), "dlcore/ops and tests/opcases must hold the same families"


def test_public_names_are_documented():
    for family, module in modules_of(dlcore.ops).items():
        for name in module.__all__:
            value = getattr(module, name)
            assert inspect.getdoc(value), f"dlcore.ops.{family}.{name} has no docstring"
            if inspect.isfunction(value):
                assert value.__module__ == module.__name__, f"dlcore.ops.{family} exports {name} of {value.__module__}"
