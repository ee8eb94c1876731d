"""Serve an exported program over HTTP, several requests to a run.

    python examples/serve.py --export digits.safetensors     writes a small model of digits
    python examples/serve.py digits.safetensors --port 8000
    curl -H 'content-type: application/json' -d '{"input": [[0, 0, ...], ...]}' \\
        localhost:8000/predict

A program is for a fixed batch size, say 16. Requests that arrive within a few milliseconds are put
into one batch, the rest of it is zeros, and the C core runs it in a thread without the GIL. Needs
pip install 'functorch-like[serve]'.
"""

import argparse
import asyncio
import time
from contextlib import asynccontextmanager
from typing import Annotated

import functorch_like as ft


class Batcher:
    """Collects inputs [*shape] into batches [n, *shape] and gives each its row of the result."""

    def __init__(self, program, wait):
        (shape, self.dtype), *others = program.inputs
        if others or not shape or any(not s or s[0] != shape[0] for s, _ in program.outputs):
            raise ValueError(f"serve: expected one input and outputs [n, ...], got {program!r}.")
        self.program, self.wait = program, wait
        self.size, self.shape = shape[0], tuple(shape[1:])
        self.queue = asyncio.Queue(maxsize=16 * self.size)
        self.runs = self.served = 0

    async def predict(self, x):
        done = asyncio.get_running_loop().create_future()
        await self.queue.put((x, done))
        return await done

    async def collect(self):
        """The next batch: the first request, and those that follow it in time."""
        items = [await self.queue.get()]
        end = time.monotonic() + self.wait
        while len(items) < self.size:
            try:
                left = max(end - time.monotonic(), 0)
                items.append(await asyncio.wait_for(self.queue.get(), left))
            except (TimeoutError, asyncio.TimeoutError):
                break
        return items

    def run(self, inputs):
        batch = ft.stack(inputs)
        missing = self.size - len(inputs)
        if missing:
            batch = ft.cat([batch, ft.zeros(missing, *self.shape, dtype=self.dtype)])
        outputs = ft.tree.leaves(self.program(batch))
        return [[y[i].tolist() for y in outputs] for i in range(len(inputs))]

    async def work(self):
        while True:
            items = await self.collect()
            try:
                rows = await asyncio.to_thread(self.run, [x for x, _ in items])
            except Exception as error:
                rows = [error] * len(items)
            self.runs, self.served = self.runs + 1, self.served + len(items)
            for (_, done), row in zip(items, rows, strict=True):
                if done.cancelled():  # its client has gone
                    continue
                if isinstance(row, Exception):
                    done.set_exception(row)
                else:
                    done.set_result(row)


def application(path, wait=0.002):
    """The web application for the program in a file."""
    from fastapi import Body, FastAPI, HTTPException

    batcher = Batcher(ft.load_program(path), wait)

    @asynccontextmanager
    async def lifespan(_):
        worker = asyncio.create_task(batcher.work())
        yield
        worker.cancel()

    app = FastAPI(title="exported program", lifespan=lifespan)

    @app.get("/health")
    async def health():
        return {"program": repr(batcher.program), "runs": batcher.runs, "served": batcher.served}

    @app.post("/predict")
    async def predict(input: Annotated[list, Body(embed=True)]):
        try:
            x = ft.tensor(input, dtype=batcher.dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise HTTPException(422, f"input: {error}") from None
        if tuple(x.shape) != batcher.shape:
            raise HTTPException(
                422, f"input: expected shape {list(batcher.shape)}, got {list(x.shape)}."
            )
        return {"output": await batcher.predict(x)}

    return app


def export_digits(path, batch_size=16):
    """Trains a small model of the digits for a few seconds and writes it."""
    import nn
    import nn.functional as F
    from nn.data import load_digits

    ft.manual_seed(0)
    images, labels = load_digits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = nn.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
    model.eval()
    right = (model(images).argmax(1) == labels).float().mean().item()
    ft.export(lambda x: model(x).softmax(1), (images[:batch_size],), path)
    print(f"{path}: {right:.1%} of the training images right")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", help="a file that ft.export wrote")
    parser.add_argument("--export", action="store_true", help="write a model of digits there")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--wait", type=float, default=0.002, help="seconds to wait for more requests"
    )
    args = parser.parse_args()
    if args.export:
        export_digits(args.path)
        return
    import uvicorn

    uvicorn.run(
        application(args.path, args.wait), host=args.host, port=args.port, log_level="warning"
    )


if __name__ == "__main__":
    main()
