"""A table of embeddings whose rows lie on all ranks: larger than any of them could hold.

A look-up asks the rows' owners, who send them; backward sends the gradients the same way back. Only
rows that were asked for are changed, and only they have gradients: no step touches the whole table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, distributed
from functorch_like.distributed import Group
from nn.distributed.checkpoint import Part
from nn.module import Module
from nn.parameter import Buffer

__all__ = ["ShardedEmbedding"]


class ShardedEmbedding(Module):
    """Rows of a table that is dealt out over the ranks, and its own sparse optimizer.

    Rank r has rows r * n .. (r + 1) * n. The start is the same for any number of ranks.

    Args:
      num_embeddings, embedding_dim: rows and their width, of the whole table.
      process_group: by default all ranks.
      lr: learning rate of step().
      optimizer: "sgd" or "adagrad", with one running sum a row.
      std: of the normal numbers the table starts with.
      seed: of those numbers.
    Notes: step() takes the mean of the ranks' gradients, as DistributedDataParallel does. All ranks
      must call forward, backward and step alike. Not under compile: what is sent depends on values.
    Reference: Duchi et al. 2011, by row as in Naumov et al. 2019, Deep Learning Recommendation
      Model.
    Example:
      >>> import functorch_like as ft
      >>> from nn.distributed import ShardedEmbedding
      >>> table = ShardedEmbedding(10, 2, lr=0.5, optimizer="sgd")
      >>> before = table(ft.tensor([3])).detach()
      >>> table(ft.tensor([3, 3])).sum().backward()
      >>> table.step()
      >>> ft.allclose(table(ft.tensor([3])), before - 1)
      True
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        process_group: Group | None = None,
        *,
        lr: float = 0.05,
        optimizer: str = "adagrad",
        std: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if optimizer not in ("sgd", "adagrad"):
            raise ValueError(
                f"ShardedEmbedding: expected optimizer 'sgd' or 'adagrad', got {optimizer!r}."
            )
        self.group = distributed.world(process_group)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.lr, self.optimizer = lr, optimizer
        self.each = -(-num_embeddings // self.group.size)
        self.start = min(self.group.rank * self.each, num_embeddings)
        count = min(self.start + self.each, num_embeddings) - self.start
        with ft.no_grad():
            keys = ft.random.fold_in(ft.random.key(seed), ft.arange(self.start, self.start + count))
            rows = ft.vmap(lambda key: ft.random.normal(key, (embedding_dim,)))(keys)
            self.rows = Buffer(rows * std)
            self.sums = Buffer(ft.zeros(count))
        self._pending: list[tuple[Tensor, Tensor]] = []

    def forward(self, input: Tensor) -> Tensor:
        """[...] integers -> [..., embedding_dim].

        Raises:
          IndexError: a number outside the table.
        """
        wanted, places = ft.unique(input.detach().reshape(-1).long(), return_inverse=True)
        if len(wanted) and not 0 <= wanted[0].item() <= wanted[-1].item() < self.num_embeddings:
            raise IndexError(
                f"ShardedEmbedding: expected numbers within 0..{self.num_embeddings - 1}, got "
                f"{wanted[0].item()}..{wanted[-1].item()}."
            )
        size = self.group.size
        ends = ft.searchsorted(wanted, ft.arange(1, size + 1) * self.each).tolist()
        counts = [b - a for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        asked = distributed.all_to_all(wanted, counts, group=self.group) - self.start
        coming = distributed.all_gather(ft.tensor(counts), group=self.group)
        given = coming.reshape(size, size)[:, self.group.rank].tolist()
        rows = self.rows.index_select(0, asked)
        if self.training and ft.is_grad_enabled():
            rows = rows.detach().requires_grad_()
            self._pending.append((asked, rows))
        vectors = distributed.all_to_all(rows, given, counts, self.group)
        found = vectors.index_select(0, places.reshape(-1))
        return found.reshape(*input.shape, self.embedding_dim)

    def step(self) -> None:
        """Changes the rows that look-ups since the last step asked for; forgets their gradients."""
        pending, self._pending = self._pending, []
        pending = [(ids, rows) for ids, rows in pending if rows.grad is not None and len(ids)]
        if not pending:
            return
        with ft.no_grad():
            ids = ft.cat([ids for ids, _ in pending])
            grads = ft.cat([rows.grad for _, rows in pending if rows.grad is not None])
            changed, places = ft.unique(ids, return_inverse=True)
            grad = ft.segment_sum(grads, places, len(changed)) / self.group.size
            if self.optimizer == "adagrad":
                total = self.sums[changed] + (grad * grad).mean(1)
                self.sums[changed] = total
                grad = grad / (total.sqrt().unsqueeze(1) + 1e-8)
            self.rows[changed] = self.rows[changed] - self.lr * grad

    def own_state(self, prefix: str = "embedding") -> dict[str, Any]:
        """This rank's rows and sums, for Checkpointer.save(own=...)."""
        width, total = self.embedding_dim, self.num_embeddings
        return {
            f"{prefix}/rows": Part(self.rows.reshape(-1), self.start * width, total * width),
            f"{prefix}/sums": Part(self.sums, self.start, total),
        }

    def load_own_state(self, parts: Mapping[str, Any], prefix: str = "embedding") -> None:
        """Takes over the rows of this rank, from Checkpointer.load on any number of ranks."""
        width, count = self.embedding_dim, len(self.sums)
        read: Any = parts
        start = self.start
        if count:
            rows = read.slice(f"{prefix}/rows", start * width, (start + count) * width)
            self.rows.copy_(rows.reshape(count, width))
            self.sums.copy_(read.slice(f"{prefix}/sums", start, start + count))
