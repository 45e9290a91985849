"""Whatever a test changes in the process (threads, instruction set, memory limit, recording) is put back after it."""

import signal

import pytest

import dlcore as dl
from dlcore import _C

# A shell that starts pytest in the background lets it ignore Ctrl-C, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def process_state():
    threads, target = dl.get_num_threads(), _C.target()
    yield
    if dl.get_num_threads() != threads:
        dl.set_num_threads(threads)
    if _C.target() != target:
        _C.set_target(target)
    dl.set_memory_limit(None)
    dl.set_grad_enabled(True).__enter__()
