"""Memory limit and statistics, threads, processes, signals, instruction sets, import."""

import gc
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

import dlcore as dl
from dlcore import _C

MEBI = 1 << 20


def run_python(code, **environment):
    """A fresh interpreter; its output as text."""
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, text=True, capture_output=True, timeout=120
    )


def some_work():
    """Large enough for several blocks on the pool."""
    return float(_C.cast(_C.full(dl.tensor(3.0), (300_000,)), "float64").numpy().sum())


def test_memory_limit_gives_a_memory_error_and_everything_goes_on():
    gc.collect()
    live = dl.memory_stats()["live"]
    dl.set_memory_limit(live + 4 * MEBI)
    kept = dl.ones((1000,))
    with pytest.raises(MemoryError) as caught:
        dl.zeros((8 * MEBI,))
    text = str(caught.value)
    assert text.startswith("[memory] cannot allocate 33554432 bytes (32 MiB): the limit would be passed; live "), text
    assert f"limit {live + 4 * MEBI} bytes" in text
    assert kept.numpy().sum() == 1000
    assert dl.zeros((MEBI // 2,)).numel() == MEBI // 2
    dl.set_memory_limit(None)
    assert dl.memory_stats()["limit"] == 0
    assert dl.zeros((8 * MEBI,)).numel() == 8 * MEBI


@pytest.mark.parametrize("limit", [0, -5])
def test_senseless_memory_limits(limit):
    with pytest.raises(ValueError, match=r"\[set_memory_limit\] expected a positive number of bytes or None"):
        dl.set_memory_limit(limit)


def test_more_memory_than_any_machine_has():
    with pytest.raises(MemoryError, match=r"cannot allocate .* the system has no more memory"):
        dl.empty((1 << 46,))
    with pytest.raises(MemoryError, match="is beyond the address space"):
        dl.empty((1 << 40, 1 << 40))


def test_more_than_two_to_the_31_elements():
    x = dl.empty((2**31 + 8,), dtype="uint8")  # pages that are not touched take no memory
    _C.copy_into(dl.tensor(7, dtype="uint8"), x[2**31 - 1 :])
    assert x.numpy()[-9:].tolist() == [7] * 9
    assert x.reshape(-1, 8)[-1].tolist() == [7] * 8
    x.fill_(1)
    x[-1] = 9
    y = x + 1
    assert y[-2:].tolist() == [2, 10] and y[2**31].item() == 2
    assert y.sum().item() == 2 * (2**31 + 8) + 8
    del x, y
    dl.empty_cache()


def test_statistics():
    gc.collect()
    dl.empty_cache()
    dl.reset_peak_memory()
    before = dl.memory_stats()
    assert before["cached"] == 0
    x = dl.empty((MEBI,))
    during = dl.memory_stats()
    assert during["live"] == before["live"] + 4 * MEBI
    assert during["allocations"] == before["allocations"] + 1
    del x
    after = dl.memory_stats()
    assert after["live"] == before["live"]
    assert after["peak"] == before["live"] + 4 * MEBI
    assert after["cached"] == 4 * MEBI
    dl.empty((MEBI,))
    assert dl.memory_stats()["cache_hits"] == after["cache_hits"] + 1
    dl.empty_cache()
    assert dl.memory_stats()["cached"] == 0


@pytest.mark.parametrize("n", [0, -1, 1025])
def test_senseless_thread_counts(n):
    with pytest.raises(ValueError, match=rf"\[set_num_threads\] expected between 1 and 1024 threads, got {n}"):
        dl.set_num_threads(n)


@pytest.mark.parametrize("n", [1.5, "2", None])
def test_thread_counts_that_are_no_integers(n):
    with pytest.raises(TypeError):
        dl.set_num_threads(n)


def test_thread_counts():
    for n in (1, 2, 7):
        dl.set_num_threads(n)
        assert dl.get_num_threads() == n
        assert some_work() == 900_000


def in_child(function):
    """The exit status of a forked child that runs `function`."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_computes():
    dl.set_num_threads(4)
    assert some_work() == 900_000  # the parent's pool exists

    def child():
        assert some_work() == 900_000
        dl.set_num_threads(2)
        assert some_work() == 900_000

    assert in_child(child) == 0
    assert some_work() == 900_000


def _work_in_process(_):
    return some_work()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method):
    dl.set_num_threads(2)
    some_work()
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(_work_in_process, range(4)) == [900_000.0] * 4


def test_several_python_threads():
    dl.set_num_threads(3)
    results = []
    threads = [threading.Thread(target=lambda: results.extend(some_work() for _ in range(20))) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [900_000.0] * 120


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_the_affinity_mask_counts():
    core = min(os.sched_getaffinity(0))
    done = run_python(f"import os; os.sched_setaffinity(0, {{{core}}}); import dlcore; print(dlcore.get_num_threads())")
    assert done.stdout.strip() == "1", done.stderr


@pytest.mark.parametrize("target", _C.supported_targets())
def test_target_from_the_environment(target):
    done = run_python("import dlcore; print(dlcore._C.target())", DLCORE_TARGET=target)
    assert done.stdout.strip() == target, done.stderr


def test_an_unknown_target_is_an_error_that_names_the_choices():
    done = run_python("import dlcore", DLCORE_TARGET="sse2")
    assert done.returncode == 1
    assert "expected reference, baseline, avx2, avx512, avx512_bf16 or amx, got 'sse2'" in done.stderr
    with pytest.raises(ValueError, match=r"expected reference, baseline, avx2, avx512, avx512_bf16 or amx, got 'sse2'"):
        _C.set_target("sse2")


INTERRUPTED = """
import signal, sys, time
import dlcore as dl
from dlcore import _C
x = dl.zeros((1 << 27,), dtype="uint8")
print("ready", flush=True)
try:
    while True:
        _C.cast(x, "float32")
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
    dl.ones((1000,))
    print("alive", flush=True)
"""


def test_ctrl_c_in_a_long_call():
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    caught, alive = output.split()
    assert alive == "alive"
    assert float(caught) - sent < 1.0


def test_import_is_light():
    """Nothing but NumPy and the standard library; no optional extra, no test tool."""
    code = (
        "import sys, numpy; before = set(sys.modules); import dlcore; "
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    done = run_python(code)
    assert done.stdout.strip() == "['dlcore']", done.stdout + done.stderr


def test_show_config(capsys):
    text = dl.show_config()
    assert capsys.readouterr().out == text + "\n"
    assert f"dlcore {dl.__version__}" in text
    assert f"instruction set: {_C.target()}" in text
    assert f"threads: {dl.get_num_threads()}" in text
    assert "compiler: " in text and "CUDA: " in text


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", dl.__version__)


def test_the_gil_is_released_in_long_kernels():
    x = dl.zeros((1 << 26,), dtype="uint8")
    ticks = 0
    stop = threading.Event()

    def count():
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            time.sleep(0.0002)

    thread = threading.Thread(target=count)
    thread.start()
    before = ticks
    _C.cast(x, "float32")  # tens of milliseconds in one call
    during = ticks - before
    stop.set()
    thread.join()
    assert during >= 5, f"another thread ran {during} times during a long kernel"


def test_submodules_are_imported_when_asked_for():
    done = run_python(
        "import sys, dlcore; assert not {'dlcore.nn', 'dlcore.distributions'} & set(sys.modules); "
        "print(dlcore.nn.Linear.__name__, dlcore.distributions.Normal.__name__, hasattr(dlcore, 'no_such_thing'))"
    )
    assert done.stdout.split() == ["Linear", "Normal", "False"], done.stderr
