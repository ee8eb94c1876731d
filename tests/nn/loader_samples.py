"""Data sets for the tests of worker processes, which import them from here."""

import os
import random
import signal
import time

import numpy as np

import functorch_like as ft
from nn import data


class Rows(data.Dataset):
    """Big rows: they travel through shared memory."""

    def __init__(self, n, size=3000):
        self.n, self.size = n, size

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return {
            "x": ft.full((self.size,), float(i)),
            "half": ft.full((4,), i, dtype=ft.bfloat16),
            "array": np.full(5, i, np.int16),
            "name": f"row {i}",
        }


class Noise(data.Dataset):
    def __len__(self):
        return 24

    def __getitem__(self, i):
        return i, ft.rand(2).tolist(), random.random(), float(np.random.rand())


class Trouble(data.Dataset):
    """Raises, dies, sleeps or stops at one index."""

    def __init__(self, kind, at=5):
        self.kind, self.at = kind, at

    def __len__(self):
        return 12

    def __getitem__(self, i):
        if i == self.at:
            if self.kind == "raise":
                raise KeyError("no such row")
            if self.kind == "odd":
                raise Odd(1, 2)
            if self.kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.kind == "exit":
                os._exit(3)
            if self.kind == "sleep":
                time.sleep(60)
        return i


class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)


class Stream(data.IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = data.get_worker_info()
        step = (info.id, info.num_workers) if info else (0, 1)
        return iter(range(step[0], self.n, step[1]))


class Who(data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        info = data.get_worker_info()
        return info.id, info.num_workers, os.getpid(), getattr(info.dataset, "mark", -1)


def mark(worker):
    data.get_worker_info().dataset.mark = worker + 100


def broken_init(worker):
    raise ValueError("bad init")
