"""Train an LSTM to predict the next character; its state carries over from passage to passage.

The text is cut into parallel streams. Each step reads a passage of every stream and starts from
the state in which the passage before it ended (truncated backpropagation through time).
"""

import math
import time

from datasets import Text, arguments

import functorch_like as ft
import nn
import nn.functional as F


class CharLSTM(nn.Module):
    """Characters [n, length] and a state -> logits [n, length, alphabet] and the state after."""

    def __init__(self, alphabet, width):
        super().__init__()
        self.token = nn.Embedding(alphabet, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, alphabet)

    def forward(self, x, state):
        x, state = self.lstm(self.token(x), state)
        return self.head(x), state


def main():
    args = arguments(__doc__)
    text = Text(args.data)
    steps, goal = (1500, 1.85) if args.data else (900, 1.9)
    if args.quick:
        steps, goal = 60, 3.1
    streams, length, width = 32, 32, 128
    model = CharLSTM(len(text.alphabet), width)
    optimizer = nn.optim.Adam(model.parameters(), lr=5e-3)
    schedule = nn.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def loss_of(x, y, state):
        logits, state = model(x, state)
        return F.cross_entropy(logits.flatten(0, 1), y.flatten()), state

    @ft.compile
    def step(x, y, hidden, cell):
        optimizer.zero_grad()
        loss, (hidden, cell) = loss_of(x, y, (hidden, cell))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach(), hidden.detach(), cell.detach()

    rows = len(text.train) // streams
    columns = text.train[: rows * streams].reshape(streams, rows)
    zeros = ft.zeros(1, streams, width)
    start = time.perf_counter()
    losses, at, state = [], rows, (zeros, zeros)
    for i in range(steps):
        if at + length + 1 > rows:
            at, state = 0, (zeros, zeros)
        x, y = columns[:, at : at + length], columns[:, at + 1 : at + length + 1]
        loss, *state = step(x, y, *state)
        losses.append(loss.item())
        schedule.step()
        at += length
        if (i + 1) % 300 == 0:
            print(f"step {i + 1:4d}   loss {sum(losses[-100:]) / 100:.3f}", flush=True)
    seconds = time.perf_counter() - start

    test = text.test[: len(text.test) // 16 * 16].reshape(16, -1)[:, :513]
    with ft.no_grad():
        none = (ft.zeros(1, 16, width),) * 2
        whole, _ = loss_of(test[:, :-1], test[:, 1:], none)
        # reading in two parts, the state in between, is reading at once
        half, state = model(test[:, :256], none)
        rest, _ = model(test[:, 256:512], state)
        at_once, _ = model(test[:, :512], none)
        assert ft.allclose(ft.cat([half, rest], 1), at_once, atol=1e-3)
    final = sum(losses[-20:]) / 20
    print(f"{seconds:.0f} s, {1e3 * seconds / steps:.1f} ms a step; loss {final:.3f}")
    print(f"test loss {whole.item():.3f}: {whole.item() / math.log(2):.2f} bits a character")

    prompt = "And God said"
    numbers = ft.tensor([[text.alphabet.index(c) for c in prompt]])
    written, state = [numbers], (ft.zeros(1, 1, width),) * 2
    with ft.no_grad():
        for _ in range(20 if args.quick else 200):
            logits, state = model(numbers, state)
            numbers = ft.multinomial(F.softmax(logits[:, -1] / 0.8, -1), 1)
            written.append(numbers)
    print(text.decode(ft.cat(written, 1)[0]))
    assert final < goal, f"expected a loss under {goal}, got {final:.3f}"


if __name__ == "__main__":
    main()
