"""Vectors of LLVM in intrinsics: loading them from arrays, and one value in every lane."""

from __future__ import annotations

from typing import Any

from llvmlite import ir


def place(context: Any, builder: Any, kind: Any, array: Any, at: Any, vector: Any) -> Any:
    """Where the element ``at`` of a contiguous array stands, as the address of a vector that begins there."""
    data = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
    return builder.bitcast(data, vector.as_pointer())


def loaded(context: Any, builder: Any, kind: Any, array: Any, at: Any, vector: Any, align: int) -> Any:
    """The vector that begins at the element ``at``; as many elements are read as it has lanes, whatever the array's
    length.

    Args:
        align: bytes of an element: the vector may begin at any.
    """
    return builder.load(place(context, builder, kind, array, at, vector), align=align)


def spread(builder: Any, value: Any, vector: Any) -> Any:
    """A vector with the value in every lane."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, first, places)
