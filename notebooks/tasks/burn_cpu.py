"""Keeps a core busy for about 0.4 seconds: counts primes the slow way."""

import time

SECONDS = 0.4


def task():
    """Return how many primes were found in the time."""
    end = time.monotonic() + SECONDS
    found = 0
    number = 1
    while time.monotonic() < end:
        number += 1
        if all(number % divisor for divisor in range(2, int(number**0.5) + 1)):
            found += 1
    return found
