"""Checks on the fields that several requests share."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from matcher.errors import DeadlineExceeded, InvalidInput

DEFAULT_GALLERY = "default"


def check_text(value: str, field: str, *, shortest: int, longest: int) -> str:
    """The value, when it is that long and printable; raises InvalidInput (FIELD_MISSING, FIELD_INVALID)."""
    if not value and shortest:
        raise InvalidInput(
            f"{field} is missing; choose {shortest}-{longest} characters", reason="FIELD_MISSING", field=field
        )
    if not shortest <= len(value) <= longest:
        raise InvalidInput(
            f"{field} has {len(value)} characters; it must have {shortest}-{longest}",
            reason="FIELD_INVALID",
            field=field,
        )
    if not value.isprintable():
        raise InvalidInput(f"{field} holds control characters", reason="FIELD_INVALID", field=field)
    return value


def check_transaction_id(value: str) -> str:
    """The transaction id that every request carries."""
    return check_text(value, "transaction_id", shortest=1, longest=128)


def check_galleries(names: Sequence[str], field: str) -> tuple[str, ...]:
    """Gallery names, sorted, without repeats."""
    if len(names) > 32:
        raise InvalidInput(f"{len(names)} galleries are more than 32", reason="FIELD_INVALID", field=field)
    return tuple(sorted({check_text(name, field, shortest=1, longest=64) for name in names}))


def time_left(context: grpc.ServicerContext, otherwise: float) -> float:
    """Seconds until the caller's deadline, at most ``otherwise``; raises DeadlineExceeded when it has passed."""
    remaining = context.time_remaining()
    if remaining is None or remaining > 1e8:
        return otherwise
    if remaining <= 0:
        raise DeadlineExceeded("the deadline passed before the work began; allow more time")
    return min(float(remaining), otherwise)
