"""Checkpoints of programs on several ranks: written by all, in the background, readable by any.

A checkpoint is a folder, step-00000120, with a safetensors file of each rank. It is written under
another name and gets its own once every file is complete and on the disk, so a folder of that name
is always whole: a crash in the middle of a write leaves the one before. What all ranks have alike
is dealt out among them; what each has its own part of keeps its place in the whole, so that another
number of ranks can read it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, distributed
from functorch_like.distributed import Group

__all__ = ["Checkpointer", "Part", "Parts"]

_NAME = re.compile(r"step-(\d{8,})$")
_INDEX = "index.json"


class Part:
    """A rank's part of a flat tensor: elements [start, start + n) of `total`.

    Args:
      tensor [n].
    """

    def __init__(self, tensor: Tensor, start: int, total: int):
        if tensor.ndim != 1 or not 0 <= start <= start + tensor.numel() <= total:
            raise ValueError(
                f"Part: expected a flat tensor within 0..{total}, got shape "
                f"{list(tensor.shape)} at {start}."
            )
        self.tensor, self.start, self.total = tensor, start, total


class Parts(Mapping[str, Any]):
    """What the ranks saved each for itself, put together: key -> tensor or value.

    Tensors are read when they are asked for; of those saved as Parts, `slice` reads some elements.
    """

    def __init__(self, folder: str, index: dict[str, Any]):
        self._folder, self._index = folder, index
        self._files: dict[str, Any] = {}

    def _open(self, file: str) -> Any:
        from functorch_like.serialization.lazy import LazyTensors

        if file not in self._files:
            self._files[file] = LazyTensors(os.path.join(self._folder, file))
        return self._files[file]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, key: str) -> Any:
        entry = self._index[key]
        if "value" in entry:
            return entry["value"]
        if "total" in entry:
            return self.slice(key, 0, entry["total"])
        return self._open(entry["file"])[key].clone()

    def is_flat(self, key: str) -> bool:
        """Was it saved as Parts of a flat tensor?"""
        return "total" in self._index[key]

    def slice(self, key: str, start: int, stop: int) -> Tensor:
        """Elements [start, stop) of a flat tensor that was saved in parts.

        Raises:
          KeyError: there is no such tensor. ValueError: the parts do not cover the elements.
        """
        entry = self._index[key]
        pieces = []
        at = start
        for file, first, last in sorted(entry["parts"], key=lambda part: part[1]):
            if first <= at < min(last, stop):
                end = min(last, stop)
                pieces.append(self._open(file)[key].narrow(0, at - first, end - at))
                at = end
        if at < stop:
            raise ValueError(
                f"Checkpointer.load: expected elements {start}..{stop} of {key}, got them up to "
                f"{at}. The checkpoint was saved without some ranks."
            )
        return ft.cat(pieces) if len(pieces) > 1 else pieces[0].clone() if pieces else ft.zeros(0)


class Checkpointer:
    """Saves and loads the state of a program on several ranks.

    Args:
      folder: where checkpoints go; one that all ranks see.
      keep: how many of the latest to keep.
      group: by default all ranks.
    Example:
      >>> import functorch_like as ft, tempfile
      >>> from nn.distributed import Checkpointer
      >>> saver = Checkpointer(tempfile.mkdtemp())
      >>> saver.save(10, {"w": ft.ones(2), "epoch": 1})
      >>> saver.wait()
      >>> step, state, own = saver.load()
      >>> step, state
      (10, {'w': tensor([1., 1.]), 'epoch': 1})
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2, group: Group | None = None):
        self.folder = os.fspath(folder)
        self.keep = max(1, keep)
        self.group = distributed.world(group)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        if self.group.rank == 0:
            os.makedirs(self.folder, exist_ok=True)
            self._tidy()
        distributed.barrier(self.group)

    def _tidy(self) -> None:
        """Takes away what a crash left."""
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            final, _, kind = path.rpartition(".")
            if kind == "replaced" and not os.path.isdir(final):
                os.rename(path, final)
            elif kind in ("partial", "replaced"):
                shutil.rmtree(path, ignore_errors=True)

    # ---- writing ----

    def save(
        self,
        step: int,
        state: Mapping[str, Any],
        own: Mapping[str, Any] | None = None,
        *,
        background: bool = True,
    ) -> None:
        """Writes a checkpoint; all ranks call it.

        The tensors are copied before it returns, and may be changed at once.

        Args:
          state: alike on all ranks: nested dicts, lists and tuples of tensors, numbers and strings.
          own: of this rank alone, key -> tensor, Part or plain value; a key on one rank only,
            unless its value is a Part.
          background: write in a thread; the next save, load or wait() waits for it, and raises what
            went wrong.
        Raises:
          OSError: from wait(), it could not be written; earlier checkpoints are still there.
        """
        from functorch_like.serialization.tree import encode

        self.wait()
        text, tensors = encode(dict(state))
        here, size = self.group.rank, self.group.size
        names = sorted(tensors, key=lambda name: (-tensors[name].nbytes, name))
        loads, writer = [0] * size, {}
        for name in names:  # the largest first, each to the rank with the least to write
            least = loads.index(min(loads))
            writer[name] = least
            loads[least] += tensors[name].nbytes
        mine = {f"state/{n}": _copy(tensors[n]) for n in names if writer[n] == here}
        entries: dict[str, Any] = {}
        file = _file_of(here)
        for key, value in (own or {}).items():
            if isinstance(value, Part):
                end = value.start + value.tensor.numel()
                entries[key] = {"parts": [[file, value.start, end]], "total": value.total}
                mine[key] = _copy(value.tensor)
            elif isinstance(value, Tensor):
                entries[key] = {"file": file}
                mine[key] = _copy(value)
            else:
                entries[key] = {"value": value}
        index = {
            "tree": text,
            "writer": {name: _file_of(r) for name, r in writer.items()},
            "size": size,
        }
        if background:
            self._thread = threading.Thread(
                target=self._guarded, args=(step, mine, entries, index), name="checkpoint"
            )
            self._thread.start()
        else:
            self._write(step, mine, entries, index)

    def wait(self) -> None:
        """Returns when the last checkpoint is complete.

        Raises:
          OSError: it could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _guarded(self, *args: Any) -> None:
        try:
            self._write(*args)
        except BaseException as error:
            self._error = error

    def _write(
        self, step: int, mine: dict[str, Tensor], entries: dict[str, Any], index: dict[str, Any]
    ) -> None:
        from functorch_like.serialization import save

        final = os.path.join(self.folder, f"step-{step:08d}")
        draft = f"{final}.partial"
        os.makedirs(draft, exist_ok=True)
        here = self.group.rank
        if mine:
            save(mine, os.path.join(draft, _file_of(here)))
        # written last, and whole or not at all: it says that this rank is done
        _write_json(os.path.join(draft, f"rank-{here:05d}.json"), entries)
        if here:
            self._until(lambda: os.path.isdir(final) or not os.path.isdir(draft), step)
            return
        notes = [os.path.join(draft, f"rank-{r:05d}.json") for r in range(self.group.size)]
        self._until(lambda: all(os.path.exists(n) for n in notes), step)
        together: dict[str, Any] = {}
        for note in notes:
            with open(note, encoding="utf-8") as file:
                for key, entry in json.load(file).items():
                    if key in together and "parts" in entry:
                        together[key]["parts"] += entry["parts"]
                    else:
                        together[key] = entry
        _write_json(os.path.join(draft, _INDEX), {**index, "own": together, "step": step})
        old = f"{final}.replaced"
        if os.path.isdir(final):
            os.rename(final, old)
        os.rename(draft, final)
        shutil.rmtree(old, ignore_errors=True)
        _sync_folder(self.folder)
        for earlier in self.steps()[: -self.keep]:
            shutil.rmtree(os.path.join(self.folder, f"step-{earlier:08d}"), ignore_errors=True)

    def _until(self, condition: Any, step: int) -> None:
        end = time.monotonic() + self.group.timeout
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(
                    f"Checkpointer.save: expected all ranks to write step {step} within "
                    f"{self.group.timeout:g} s, got files of some. Do all ranks call save()?"
                )
            time.sleep(0.002)

    # ---- reading ----

    def steps(self) -> list[int]:
        """The steps of which there is a whole checkpoint, rising."""
        if not os.path.isdir(self.folder):
            return []
        found = [(name, _NAME.match(name)) for name in os.listdir(self.folder)]
        return sorted(
            int(match[1])
            for name, match in found
            if match and os.path.exists(os.path.join(self.folder, name, _INDEX))
        )

    def load(self, step: int | None = None) -> tuple[int, Any, Parts] | None:
        """(step, state, own) of a checkpoint, by default the latest; None if there is none.

        All ranks call it, however many they are. `own` has what all ranks saved for themselves.

        Raises:
          ValueError: there is no checkpoint of that step. FileFormatError: a file is damaged.
        """
        from functorch_like.serialization.tree import decode

        self.wait()
        steps = distributed.broadcast_object(self.steps(), self.group.ranks[0], self.group)
        if not steps and step is None:
            return None
        step = int(steps[-1] if step is None else step)
        if step not in steps:
            raise ValueError(f"Checkpointer.load: expected one of steps {steps}, got {step}.")
        folder = os.path.join(self.folder, f"step-{step:08d}")
        with open(os.path.join(folder, _INDEX), encoding="utf-8") as file:
            index = json.load(file)
        parts = Parts(folder, index["own"])
        tensors = {
            name: parts._open(where)[f"state/{name}"].clone()
            for name, where in index["writer"].items()
        }
        return step, decode(index["tree"], tensors), parts


def _file_of(rank: int) -> str:
    return f"rank-{rank:05d}.safetensors"


def _copy(t: Tensor) -> Tensor:
    return t.detach().clone()


def _write_json(path: str, content: Any) -> None:
    from functorch_like.serialization.atomic import replacing

    with replacing(path, "Checkpointer.save") as draft, open(draft, "w", encoding="utf-8") as file:
        json.dump(content, file)


def _sync_folder(path: str) -> None:
    """Has the system write down which names a folder has."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
