"""The devices of the stand-in for CuPy, and their memory."""

import threading

DEVICES = 2

current = threading.local()


class OutOfMemoryError(MemoryError):
    __module__ = "cupy.cuda.memory"


class Device:
    """A GPU by its number. As a context, or by `use`, this thread computes on it."""

    def __init__(self, number: int | None = None) -> None:
        self.id = current_device() if number is None else number

    def use(self) -> None:
        current.device = self.id

    def __enter__(self) -> "Device":
        current.stack = [*getattr(current, "stack", []), current_device()]
        self.use()
        return self

    def __exit__(self, *error: object) -> None:
        current.device = current.stack.pop()

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Device) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)


def current_device() -> int:
    return getattr(current, "device", 0)


class Pool:
    """CuPy's memory pool: how many bytes are held, and a limit that may be set."""

    def __init__(self) -> None:
        self.lock, self.used, self.limit = threading.Lock(), 0, 0

    def take(self, size: int) -> None:
        with self.lock:
            if self.limit and self.used + size > self.limit:
                raise OutOfMemoryError(
                    f"Out of memory allocating {size:,} bytes (allocated so far: "
                    f"{self.used:,} bytes, limit set to: {self.limit:,} bytes)."
                )
            self.used += size

    def give_back(self, size: int) -> None:
        with self.lock:
            self.used -= size

    def set_limit(self, size: int = 0) -> None:
        self.limit = size

    def used_bytes(self) -> int:
        return self.used

    def total_bytes(self) -> int:
        return self.used


pool = Pool()
