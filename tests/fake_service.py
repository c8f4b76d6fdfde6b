"""A coordination service as jax's, for processes that are threads of a test."""

import threading
import time


class FakeService:
    """Keys, and barriers of `count` threads. It refuses as jax's does, with its words."""

    def __init__(self, count: int):
        self.keys: dict[str, str] = {}
        self.lost = False  # whether nobody answers any more
        self._changed = threading.Condition()
        self._barrier = threading.Barrier(count)

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        self._reach()
        with self._changed:
            if key in self.keys and not allow_overwrite:
                raise RuntimeError(f"ALREADY_EXISTS: key {key} already exists.")
            self.keys[key] = value
            self._changed.notify_all()

    def key_value_try_get(self, key: str) -> str:
        self._reach()
        if key not in self.keys:
            raise RuntimeError(f"NOT_FOUND: Config key {key} not found.")
        return self.keys[key]

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]:
        self._reach()
        return [(name, value) for name, value in self.keys.items() if name.startswith(key)]

    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str:
        with self._changed:
            if not self._changed.wait_for(lambda: key in self.keys, timeout_in_ms / 1000):
                raise RuntimeError(f"DEADLINE_EXCEEDED: GetKeyValue() timed out with key: {key} and duration: {timeout_in_ms}ms")
            return self.keys[key]

    def wait_at_barrier(self, barrier_id: str, timeout_in_ms: int) -> None:
        self._barrier.wait(timeout_in_ms / 1000)

    def _reach(self) -> None:
        while self.lost:
            time.sleep(0.1)
