"""The words that a user gives after `--`, for the program that creates a cluster."""

from __future__ import annotations

from collections.abc import Iterator


def values_of(words: list[str], *names: str) -> Iterator[str]:
    """The values of a flag, in each way to write it: https://github.com/spf13/pflag#command-line-flag-syntax"""
    for number, word in enumerate(words):
        for name in names:
            if word == name and number + 1 < len(words):
                yield words[number + 1]
            elif word.startswith(f"{name}="):
                yield word.removeprefix(f"{name}=")
            elif len(name) == 2 and word.startswith(name) and len(word) > 2:
                yield word.removeprefix(name)


def without(words: list[str], name: str) -> list[str]:
    """The words without a long flag and its value."""
    kept = [word for number, word in enumerate(words) if number == 0 or words[number - 1] != name]
    return [word for word in kept if word != name and not word.startswith(f"{name}=")]
