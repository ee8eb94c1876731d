"""Learn to balance a pole by REINFORCE: no model of the cart, only rewards.

The environment is plain tensor code, so 64 carts run at once. Two compiled programs: one moves them
all by one step, one improves the policy by what a whole episode has shown.
"""

import math

from datasets import arguments

import functorch_like as ft
import nn
import nn.functional as F

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02


def push(state, right):
    """The states [n, 4] (place, speed, angle, turning) after a push to the right (1) or left (0).

    Reference: Barto, Sutton & Anderson 1983, without friction.
    """
    _, speed, angle, turning = state.unbind(-1)
    force = FORCE * (2 * right - 1)
    sine, cosine, mass = angle.sin(), angle.cos(), CART + POLE
    common = (force + POLE * HALF_LENGTH * turning**2 * sine) / mass
    bend = (GRAVITY * sine - cosine * common) / (HALF_LENGTH * (4 / 3 - POLE * cosine**2 / mass))
    drive = common - POLE * HALF_LENGTH * bend * cosine / mass
    changes = ft.stack([speed, drive, turning, bend], -1)
    return state + SECONDS * changes


def standing(state):
    """1 where the cart is on its track and the pole within 12 degrees, else 0."""
    return ((state[:, 0].abs() < 2.4) & (state[:, 2].abs() < math.radians(12))).float()


def main():
    args = arguments(__doc__, data=False)
    carts, steps = (32, 50) if args.quick else (64, 200)
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = nn.optim.Adam(policy.parameters(), lr=2e-2)
    scale = ft.tensor([1.0, 1.0, 5.0, 1.0])

    def logits(state):
        return policy(state * scale)[..., 0]

    @ft.compile
    def play(state, alive):
        """One step of all carts: what was done, the next states, which poles still stand."""
        with ft.no_grad():
            right = (ft.rand(carts) < logits(state).sigmoid()).float()
            state = push(state, right)
        return right, state, alive * standing(state)

    @ft.compile
    def improve(states, pushes, stood, rewards):
        """One step of the optimizer; states [steps, carts, 4], the rest [steps, carts]."""
        optimizer.zero_grad()
        logs = -F.binary_cross_entropy_with_logits(logits(states), pushes, reduction="none")
        # what is still to come, against the mean of the carts at that time
        future = rewards.flip(0).cumsum(0).flip(0)
        advantage = (future - future.mean(1, keepdim=True)) / (future.std() + 1e-6)
        loss = -(advantage * stood * logs).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        return rewards.sum(0).mean()

    def episode():
        """Plays, then learns; how many steps the poles stood on average."""
        state, alive = 0.1 * ft.rand(carts, 4) - 0.05, ft.ones(carts)
        seen = []
        for _ in range(steps):
            before, stood = state, alive
            right, state, alive = play(state, alive)
            seen.append((before, right, stood, alive))
        return improve(*(ft.stack(values) for values in zip(*seen, strict=True))).item()

    rounds = 25 if args.quick else 60
    lengths = [episode() for _ in range(rounds)]
    for i in range(0, rounds, rounds // 6):
        print(f"round {i + 1:3d}   the pole stands {lengths[i]:.0f} of {steps} steps")
    with ft.no_grad():  # surely the likelier push, far longer than ever trained
        state, alive, count = 0.1 * ft.rand(200, 4) - 0.05, ft.ones(200), 0.0
        for _ in range(5 * steps):
            state = push(state, (logits(state) > 0).float())
            alive = alive * standing(state)
            count += alive.mean().item()
    print(f"without chance: {count:.0f} of {5 * steps} steps")
    last = sum(lengths[-5:]) / 5
    assert last > (1.3 * lengths[0] if args.quick else 0.9 * steps), (
        "it must have learned to balance"
    )
    assert args.quick or count > 2 * steps, "what was learned must carry further"


if __name__ == "__main__":
    main()
