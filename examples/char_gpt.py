"""Train a character-level GPT, four layers of width 128, and let it write.

One compiled function is the whole training step: forward, backward, clipping and AdamW.
"""

import math
import time

from datasets import Text, arguments, windows

import functorch_like as ft
import nn
import nn.functional as F


class Block(nn.Module):
    """Causal self-attention, then a two-layer perceptron, each added to what came in."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))  # [n, heads, length, width / heads]
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(-2))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Characters [n, length] -> logits of each one's successor [n, length, alphabet]."""

    def __init__(self, alphabet, length, width, layers, heads):
        super().__init__()
        self.length = length
        self.token = nn.Embedding(alphabet, width)
        self.place = nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, alphabet, bias=False)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                last = name.endswith(("out.weight", "mlp.2.weight"))  # sums over layers stay small
                nn.init.normal_(p, std=0.02 / (math.sqrt(2 * layers) if last else 1))

    def forward(self, x):
        x = self.token(x) + self.place(ft.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(x)))


def write(model, text, start, count, temperature=0.8):
    """start and count characters more, each drawn from what the model expects."""
    context = ft.tensor([[text.alphabet.index(c) for c in start]])
    with ft.no_grad():
        for _ in range(count):
            logits = model(context[:, -model.length :])[:, -1]
            drawn = ft.multinomial(F.softmax(logits / temperature, -1), 1)
            context = ft.cat([context, drawn], 1)
    return text.decode(context[0])


def main():
    args = arguments(__doc__)
    text = Text(args.data)
    size, length = (8, 32) if args.quick else (16, 64)
    steps, goal = (1500, 1.75) if args.data else (600, 1.9)
    if args.quick:
        steps, goal = 40, 3.0
    model = GPT(len(text.alphabet), length, 128, 4, 4)
    optimizer = nn.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)
    warm_up = min(100, steps // 10)

    def rate(i):  # linear warm-up, then half a cosine
        part = max(0, i - warm_up) / (steps - warm_up)
        return min(1, (i + 1) / warm_up) * (0.525 + 0.475 * math.cos(math.pi * part))

    schedule = nn.optim.lr_scheduler.LambdaLR(optimizer, rate)

    def loss_of(x, y):
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    @ft.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    count = sum(p.numel() for p in model.parameters())
    print(f"{len(text.train)} characters of {len(text.alphabet)} kinds; {count} weights")
    start = time.perf_counter()
    losses = []
    for i in range(steps):
        losses.append(step(*windows(text.train, size, length)).item())
        schedule.step()
        if (i + 1) % 250 == 0:
            print(f"step {i + 1:4d}   loss {sum(losses[-100:]) / 100:.3f}", flush=True)
    seconds = time.perf_counter() - start
    model.eval()
    with ft.no_grad():
        test = loss_of(*windows(text.test, 64, length)).item()
    final = sum(losses[-20:]) / 20
    print(
        f"{seconds:.0f} s, {1e3 * seconds / steps:.0f} ms a step; loss {final:.3f}, test {test:.3f}"
    )

    sample = write(model, text, "And God said", 20 if args.quick else 200)
    print(sample)
    assert sample.startswith("And God said")
    assert final < goal, f"expected a loss under {goal}, got {final:.3f}"


if __name__ == "__main__":
    main()
