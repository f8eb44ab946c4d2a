"""The parameters of the 1:N search of faces, with where each value comes from."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class FaceIndexParameters:
    """Parameters of the index. They change its speed and what it takes in memory, never an answer.

    Attributes:
        clip: the step of the 8-bit codes is such that numbers up to this many times their deviation fit, which is
            1/sqrt(d) in a unit vector; 1 in 16,000 then does not fit if they are normal. The uniform rounding error of
            d of them has the length ``clip / 127 / sqrt(12)`` = 0.009 (Gersho and Gray, "Vector Quantization and Signal
            Compression", 1992, section 5.2), and half of it is the deviation of cosines that different people have in
            the compact pack, 0.07, divided by 15.
        fitting: share of the numbers of the first rows that must fit at least; where ``clip`` is too little for that
            (networks with a few large components), steps are wider.
        fitted_on: rows that are looked at for it, and for a head; at least ``least_rotated``.
        rounding: relative error of one float32 operation, 2**-24. The float32 inner product of two unit vectors of d
            numbers is off by at most d times that (Higham, "Accuracy and Stability of Numerical Algorithms", section
            3.1), so that the order of two FAISS scores is certain when they are twice as much apart: 6e-5 for d = 512.
        float64_rounding: the same for the float64 scores of the comparator, with d = 4,096: 2**-53 * 4096 < 1e-12.
        spare: rows fetched from FAISS beyond those asked for, so that ties at the cut seldom need a second scan.
        usual_dimension: length of an embedding for which room is reserved before the first one tells.
        least_rotated: rows from which a head is looked for. Fewer are searched in a few milliseconds without, and say
            too little of the directions of others.
        most_rotated: numbers of an embedding up to which a head is looked for: the eigenvectors take a second then.
        head_unit: heads are a multiple of this long, a vector of the processor.
        tail_share: mean squared length that a tail may have at most. A batch of 256 among 300,000 synthetic faces took
            274 ms with heads of 128 numbers (0.11), 184 with 192 (0.04), where 3 pairs in 1,000 have their tails looked
            at, and 189 with 256 (0.014).
        tail_rounding: rounding error that is as good as none beside that of a head, 0.009: tails are coded no finer.
        usual_head: length of a head of embeddings of 512 numbers, with which searches are measured.
        flat_rows: up to so many rows FAISS compares the float32 vectors themselves: codes would not pay.
    """

    clip: float = 4.0
    fitting: float = 0.9999
    fitted_on: int = 8192
    rounding: float = 2.0**-24
    float64_rounding: float = 1e-12
    spare: int = 8
    usual_dimension: int = 512
    least_rotated: int = 8192
    most_rotated: int = 1024
    head_unit: int = 64
    tail_share: float = 0.05
    tail_rounding: float = 0.001
    usual_head: int = 192
    flat_rows: int = 1024
