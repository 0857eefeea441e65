"""From bytes to a file type: what the magika model sees, and what its scores mean.

The model takes the first and the last bytes of a file as numbers, white space around them left out
and gaps filled with a padding token, and scores each of its labels. Sizes, labels and thresholds
come from the model's published configuration, descriptions of the labels from the package's
knowledge base. Leaves out: running the model, which is a callable here.

>>> labels.tokens(b"hello, world")[:5]                               # doctest: +SKIP
[104, 101, 108, 108, 111]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

EMPTY, TEXT, UNKNOWN = "empty", "txt", "unknown"

Answer = dict[str, object]


@dataclass(frozen=True)
class Labels:
    """The configuration of the model and what is known about each label."""

    begin: int
    end: int
    block: int
    padding: int
    least: int
    names: Sequence[str]
    threshold: float
    thresholds: Mapping[str, float]
    renamed: Mapping[str, str]
    known: Mapping[str, Mapping[str, object]]

    @classmethod
    def load(cls, config_path: str, knowledge_path: str) -> Labels:
        """Read both files. Raises ValueError for a configuration made for another input format."""
        with open(config_path, encoding="utf-8") as file:
            config = json.load(file)
        with open(knowledge_path, encoding="utf-8") as file:
            knowledge = json.load(file)
        if config["mid_size"] or config["use_inputs_at_offsets"]:
            raise ValueError(f"{config_path}: the model wants more than the beginning and the end")
        return cls(
            begin=config["beg_size"],
            end=config["end_size"],
            block=config["block_size"],
            padding=config["padding_token"],
            least=config["min_file_size_for_dl"],
            names=config["target_labels_space"],
            threshold=config["medium_confidence_threshold"],
            thresholds=config["thresholds"],
            renamed=config["overwrite_map"],
            known=knowledge,
        )

    def tokens(self, content: bytes) -> list[int] | None:
        """The input of the model, or None when there is too little to look at."""
        begin = content[: self.block].lstrip()[: self.begin]
        end = content[-self.block :].rstrip()[-self.end :]
        if len(content) < self.least or len(begin) < self.least:
            return None
        before = [self.padding] * (self.end - len(end))
        after = [self.padding] * (self.begin - len(begin))
        return [*begin, *after, *before, *end]

    def choose(self, label: str, score: float) -> str:
        """The label to answer: the model's own where its score is high enough for it."""
        chosen = self.renamed.get(label, label)
        if score >= self.thresholds.get(label, self.threshold):
            return chosen
        return TEXT if self.known[chosen]["is_text"] else UNKNOWN

    def answer(self, label: str, score: float) -> Answer:
        """What the caller is told."""
        known = self.known[label]
        fallback = "text/plain" if known["is_text"] else "application/octet-stream"
        return {
            "label": label,
            "description": known["description"] or label,
            "mime_type": known["mime_type"] or fallback,
            "group": known["group"] or UNKNOWN,
            "score": round(score, 6),
        }


@dataclass(frozen=True)
class Identifier:
    """Answers for some bytes; ``scores`` is the model: tokens in, one score for each label out."""

    labels: Labels
    scores: Callable[[list[int]], Sequence[float]]

    def identify(self, content: bytes) -> Answer:
        """The type of ``content``. What is too short for the model is empty, text or unknown."""
        labels = self.labels
        tokens = labels.tokens(content)
        if tokens is None:
            return labels.answer(_short(content[: labels.block]), 1.0)
        scores = self.scores(tokens)
        best = max(range(len(scores)), key=scores.__getitem__)
        return labels.answer(labels.choose(labels.names[best], scores[best]), scores[best])


def _short(content: bytes) -> str:
    if not content:
        return EMPTY
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return UNKNOWN
    return TEXT
