"""The runner's side of a worker: starts it, asks it, and stops it (SIGSTOP) whenever another one is to compute."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "peers"  # exported models, compiled code, what workers print
SECONDS_TO_START = 120
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUM_CPU_THREADS")
NEUTRAL = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # must not hold a peer back


class Worker:
    """A process for one peer and number of threads. It starts when it is first asked, and again after it died."""

    def __init__(self, peer: str, threads: int) -> None:
        self.peer, self.threads = peer, threads
        self.process: subprocess.Popen[bytes] | None = None
        self.stopped = False
        self.info: dict[str, Any] = {}
        self.families: list[str] = []

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in NEUTRAL}
        kept |= dict.fromkeys(THREADS, str(self.threads))
        return kept | {
            "JAX_PLATFORMS": "cpu",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TORCHINDUCTOR_CACHE_DIR": str(CACHE / "inductor"),
        }

    def start(self) -> bool:
        """Whether it runs, which it may have done before."""
        if self.process is not None:
            return True
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.peers.worker", self.peer, str(self.threads)]
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, env=self.environment()
            )
        self.stopped = False
        answer = self._answer(SECONDS_TO_START)
        if answer is None:
            self.kill()
            return False
        self.info, self.families = answer["info"], answer["families"]
        return True

    @property
    def log(self) -> Path:
        """What it prints: its errors, with their tracebacks."""
        return CACHE / f"{self.peer}.{self.threads}.log"

    def ask(self, seconds: float, do: str, **arguments: Any) -> dict[str, Any] | None:
        """The answer, or None where none came within `seconds`; then the process is gone."""
        if self.process is None:
            return None
        assert self.process.stdin is not None
        if self.stopped:
            os.kill(self.process.pid, signal.SIGCONT)
            self.stopped = False
        try:
            self.process.stdin.write((json.dumps({"do": do, **arguments}) + "\n").encode())
            self.process.stdin.flush()
            answer = self._answer(seconds)
        except BrokenPipeError:
            answer = None
        if answer is None:
            self.kill()
            return None
        self.stop()
        return answer

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        assert self.process is not None and self.process.stdout is not None
        pipe, text, end = self.process.stdout.fileno(), b"", time.monotonic() + seconds
        while not text.endswith(b"\n"):
            if not select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
                return None
            part = os.read(pipe, 1 << 16)
            if not part:
                return None
            text += part
        return json.loads(text)

    def stop(self) -> None:
        """No thread of an idle library may spin on a core."""
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGSTOP)
            self.stopped = True

    def cpu_seconds(self) -> float:
        if self.process is None:
            return 0.0
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
