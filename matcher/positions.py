"""Modalities and the positions of samples, with the codes of ANSI/NIST-ITL.

Finger codes 1-10 are the friction ridge position codes of ANSI/NIST-ITL 1-2011 Update 2015, Table 12. Iris codes are 30
plus the eye label of field 17.003 (1 right, 2 left); the face is 20. Numbers between are left for palms and others.
The numbers are those of ``ambis.v1.Position`` on the wire.
"""

from __future__ import annotations

import enum

from matcher.errors import InvalidInput


class Modality(enum.StrEnum):
    """A biometric modality (ISO/IEC 2382-37, 37.02.05)."""

    FINGER = "finger"
    FACE = "face"
    IRIS = "iris"


class Position(enum.IntEnum):
    """Which part of the body a sample shows. ``*_UNKNOWN``: the modality is known, which finger or eye is not."""

    RIGHT_THUMB = 1
    RIGHT_INDEX = 2
    RIGHT_MIDDLE = 3
    RIGHT_RING = 4
    RIGHT_LITTLE = 5
    LEFT_THUMB = 6
    LEFT_INDEX = 7
    LEFT_MIDDLE = 8
    LEFT_RING = 9
    LEFT_LITTLE = 10
    FINGER_UNKNOWN = 11
    FACE = 20
    IRIS_UNKNOWN = 30
    IRIS_RIGHT = 31
    IRIS_LEFT = 32

    @property
    def modality(self) -> Modality:
        """The modality this position belongs to."""
        if self < Position.FACE:
            return Modality.FINGER
        return Modality.FACE if self < Position.IRIS_UNKNOWN else Modality.IRIS

    @property
    def is_unknown(self) -> bool:
        """True where the modality is known but not which finger or eye."""
        return self in (Position.FINGER_UNKNOWN, Position.IRIS_UNKNOWN)

    @property
    def is_left_finger(self) -> bool:
        """True for the five fingers of the left hand."""
        return Position.LEFT_THUMB <= self <= Position.LEFT_LITTLE

    @property
    def label(self) -> str:
        """The lower-case name that manifests, the command line and tables use, e.g. ``right_index``."""
        return self.name.lower()

    def may_match(self, other: Position) -> bool:
        """Whether samples of the two positions can show the same part of the body."""
        if self.modality is not other.modality:
            return False
        return self is other or self.is_unknown or other.is_unknown

    @classmethod
    def parse(cls, text: str, modality: str = "") -> Position:
        """Reads a position as people and manifests write it.

        Args:
            text: ``right_index``, ``iris_left``, ``face`` ..., in any case, or ``unknown``, ``frontal``, ``left``,
                ``right`` together with a modality.
            modality: ``finger``, ``face`` or ``iris``; needed only where ``text`` alone does not say.

        Raises:
            InvalidInput: the text names no position; the message lists those there are.
        """
        word = text.strip().lower().replace("-", "_").replace(" ", "_")
        kind = modality.strip().lower()
        short = {
            ("face", ""): cls.FACE,
            ("face", "frontal"): cls.FACE,
            ("face", "unknown"): cls.FACE,
            ("finger", ""): cls.FINGER_UNKNOWN,
            ("finger", "unknown"): cls.FINGER_UNKNOWN,
            ("iris", ""): cls.IRIS_UNKNOWN,
            ("iris", "unknown"): cls.IRIS_UNKNOWN,
            ("iris", "left"): cls.IRIS_LEFT,
            ("iris", "right"): cls.IRIS_RIGHT,
        }
        if (kind, word) in short:
            return short[kind, word]
        by_label = {position.label: position for position in cls}
        position = by_label.get(word)
        if position is None or (kind and position.modality != kind):
            known = ", ".join(p.label for p in cls if not kind or p.modality == kind) or ", ".join(by_label)
            raise InvalidInput(
                f"unknown position {text!r}{f' for modality {kind!r}' if kind else ''}; use one of: {known}",
                reason="POSITION_UNKNOWN",
                field="position",
            )
        return position


UNKNOWN_POSITIONS = tuple(int(position) for position in Position if position.is_unknown)
"""Their numbers."""
