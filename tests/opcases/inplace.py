"""In-place methods change their argument, which no table can hold: tests/ops/test_inplace.py takes them one by one."""

from __future__ import annotations

from tests.opcases import OpCase

CASES: list[OpCase] = []
