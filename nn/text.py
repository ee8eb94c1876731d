"""Text as numbers: tokenizers of characters and bytes, and those of Hugging Face's `tokenizers`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import functorch_like as ft
from functorch_like import Tensor

__all__ = ["ByteTokenizer", "CharTokenizer", "load_tokenizer"]


def _numbers(tokens: Any) -> list[int]:
    return tokens.tolist() if isinstance(tokens, Tensor) else [int(t) for t in tokens]


class ByteTokenizer:
    """A token for each byte of the text in UTF-8: 256 of them, and no text without tokens.

    Example:
      >>> tokenizer = ByteTokenizer()
      >>> tokenizer.encode("hé")
      tensor([104, 195, 169])
      >>> tokenizer.decode(tokenizer.encode("hé"))
      'hé'
    """

    def __len__(self) -> int:
        return 256

    def encode(self, text: str) -> Tensor:
        """The tokens of a text, int64 [n]."""
        return ft.tensor(list(text.encode()), dtype=ft.int64)

    def decode(self, tokens: Tensor | Iterable[int]) -> str:
        """The text of tokens; bytes that are not UTF-8 become U+FFFD.

        Raises:
          ValueError: a token out of 0..255.
        """
        numbers = _numbers(tokens)
        wrong = next((t for t in numbers if not 0 <= t < 256), None)
        if wrong is not None:
            raise ValueError(f"ByteTokenizer: expected tokens in 0..255, got {wrong}.")
        return bytes(numbers).decode(errors="replace")


class CharTokenizer:
    """A token for each character of an alphabet.

    Args:
      characters: the alphabet, in the order of the tokens; repeats count once.
      unknown: a character of the alphabet that stands for all others; None makes them an error.
    Example:
      >>> tokenizer = CharTokenizer.train("hello world")
      >>> tokenizer.encode("lower")
      tensor([4, 5, 7, 2, 6])
      >>> tokenizer.decode([3, 2, 4, 4, 5])
      'hello'
    """

    def __init__(self, characters: Iterable[str], unknown: str | None = None) -> None:
        self.characters: Sequence[str] = list(dict.fromkeys(characters))
        self._codes = {character: k for k, character in enumerate(self.characters)}
        if unknown is not None and unknown not in self._codes:
            raise ValueError(
                f"CharTokenizer: expected unknown={unknown!r} in the alphabet. Add it there."
            )
        self.unknown = unknown

    @classmethod
    def train(cls, text: str, unknown: str | None = None) -> CharTokenizer:
        """The tokenizer of all characters of a text, in their sorted order."""
        return cls(sorted(set(text) | ({unknown} if unknown else set())), unknown)

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Tensor:
        """The tokens of a text, int64 [n].

        Raises:
          ValueError: a character is not in the alphabet, and there is no `unknown`.
        """
        codes, default = self._codes, self._codes.get(self.unknown or "")
        numbers = [codes.get(character, default) for character in text]
        if None in numbers:
            at = numbers.index(None)
            raise ValueError(
                f"CharTokenizer: expected characters of the alphabet, got {text[at]!r} at {at}. "
                "Train on all of the text, or pass unknown=."
            )
        return ft.tensor(numbers, dtype=ft.int64)

    def decode(self, tokens: Tensor | Iterable[int]) -> str:
        """The text of tokens.

        Raises:
          ValueError: a token out of 0 .. len - 1.
        """
        numbers, count = _numbers(tokens), len(self.characters)
        wrong = next((t for t in numbers if not 0 <= t < count), None)
        if wrong is not None:
            raise ValueError(f"CharTokenizer: expected tokens in 0..{count - 1}, got {wrong}.")
        return "".join(self.characters[t] for t in numbers)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the alphabet as JSON."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"characters": self.characters, "unknown": self.unknown}, file)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CharTokenizer:
        """The tokenizer that save() has written.

        Raises:
          ValueError: the file is not one of them.
        """
        try:
            with open(path, encoding="utf-8") as file:
                made = json.load(file)
            return cls([str(c) for c in made["characters"]], made["unknown"])
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"CharTokenizer: expected an alphabet written by save(), got {os.fspath(path)}."
            ) from error


class _HuggingFaceTokenizer:
    """A tokenizer of the package `tokenizers` with this module's encode and decode."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def encode(self, text: str) -> Tensor:
        """The tokens of a text, special ones included, int64 [n]."""
        return ft.tensor(self.tokenizer.encode(text).ids, dtype=ft.int64)

    def decode(self, tokens: Tensor | Iterable[int]) -> str:
        """The text of tokens, without the special ones."""
        return self.tokenizer.decode(_numbers(tokens))


def load_tokenizer(path: str | os.PathLike[str]) -> _HuggingFaceTokenizer:
    """The tokenizer in a `tokenizer.json` of Hugging Face.

    Args:
      path: the file, or a folder with it.
    Returns:
      An object with encode(text), decode(tokens), a length, and `.tokenizer`, the original.
    Raises:
      FileNotFoundError: no such file. ImportError: the package `tokenizers` is not installed.
    """
    path = os.fspath(path)
    path = os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path
    if not os.path.exists(path):
        raise FileNotFoundError(f"load_tokenizer: expected a tokenizer.json, found no {path}.")
    try:
        from tokenizers import Tokenizer  # type: ignore[import-not-found]
    except ImportError as error:
        raise ImportError(
            "load_tokenizer: expected the package tokenizers. "
            'Install it: pip install "functorch-like[text]"'
        ) from error
    return _HuggingFaceTokenizer(Tokenizer.from_file(path))
