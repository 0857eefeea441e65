"""From samples to speech: what the silero-vad model sees, and what its probabilities mean.

The model takes frames of 32 ms, each with the last 4 ms of the one before it, and carries its
memory (the two states of an LSTM) from call to call. It gives one probability of speech for each
frame; ``segments`` turns those into times. Leaves out: running the model, which is a callable here.

>>> segments([0.0] * 4 + [0.9] * 20 + [0.0] * 10, 34 * FRAME)
[(1568, 12768)]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

RATE = 16000  # samples a second
FRAME = 512  # samples: the model was trained on no other size at this rate
CONTEXT = 64  # samples of the frame before
STATE = (1, 1, 128)
FRAMES_PER_CALL = 256  # bounds the memory of one call; 8 s of sound

# The package's own defaults. Speech starts at one probability and ends below a lower one, so that
# it does not flicker; times are in samples.
STARTS_AT = 0.5
ENDS_BELOW = 0.35
SPEECH_MIN = RATE * 250 // 1000
SILENCE_MIN = RATE * 100 // 1000
PADDING = RATE * 30 // 1000

Array = NDArray[np.float32]
# (frames with context, hidden state, cell state) → (probabilities, hidden state, cell state)
Model = Callable[[Array, Array, Array], tuple[Array, Array, Array]]


def samples(pcm: bytes) -> Array:
    """Samples from -1 to 1, of 16-bit little-endian PCM. Raises ValueError for half a sample."""
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)


def probabilities(model: Model, sound: Array) -> list[float]:
    """The probability of speech in each frame of ``sound``; zeros fill up the last one."""
    count = -(-sound.size // FRAME)
    frames = np.zeros((count, FRAME), np.float32)
    frames.reshape(-1)[: sound.size] = sound
    context = np.zeros((count, CONTEXT), np.float32)
    context[1:] = frames[:-1, -CONTEXT:]
    seen = np.concatenate((context, frames), axis=1)
    hidden = cell = np.zeros(STATE, np.float32)
    found: list[float] = []
    for first in range(0, count, FRAMES_PER_CALL):
        part, hidden, cell = model(seen[first : first + FRAMES_PER_CALL], hidden, cell)
        found += part.reshape(-1).tolist()
    return found


def segments(found: Sequence[float], length: int) -> list[tuple[int, int]]:
    """Where somebody speaks, as (start, end) in samples; ``length`` is that of the sound."""
    return _padded(_spoken(found, length), length)


def _spoken(found: Sequence[float], length: int) -> list[tuple[int, int]]:
    """Stretches of speech, without short pauses inside and without short noises."""
    spoken: list[tuple[int, int]] = []
    start: int | None = None
    pause: int | None = None
    for index, probability in enumerate(found):
        at = index * FRAME
        if start is None:
            start = at if probability >= STARTS_AT else None
        elif probability >= STARTS_AT:
            pause = None
        elif probability < ENDS_BELOW:
            pause = at if pause is None else pause
            if at - pause >= SILENCE_MIN:
                spoken.append((start, pause))
                start = pause = None
    if start is not None:
        spoken.append((start, length))
    return [(first, last) for first, last in spoken if last - first > SPEECH_MIN]


def _padded(spoken: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """The same with a little on either side; neighbours that are close share what is between."""
    bounds = [0, *(bound for pair in spoken for bound in pair), length]
    for index in range(2, len(bounds) - 2, 2):
        end, start = bounds[index : index + 2]
        reach = min(PADDING, (start - end) // 2)
        bounds[index : index + 2] = end + reach, start - reach
    if spoken:
        bounds[1] = max(0, bounds[1] - PADDING)
        bounds[-2] = min(length, bounds[-2] + PADDING)
    return list(zip(bounds[1:-1:2], bounds[2:-1:2], strict=True))
