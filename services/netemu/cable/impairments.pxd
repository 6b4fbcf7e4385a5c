cimport cython


cdef class Impairment:
    cdef public long long copies, jitter_ns
    cdef public bint overtakes
    cdef public object corrupt_at


cdef class ImpairmentSequence:
    cdef public object _random, _deviation
    cdef public long long _jitter_ns, _burst_frames, _loss_ppm
    cdef public double _loss, _stays_lost, _duplicate, _corrupt, _reorder
    cdef public bint _in_burst

    cpdef lose(self, long long loss_ppm)
    @cython.locals(
        loss=cython.double,
        duplicate=cython.double,
        corrupt=cython.double,
        position=cython.double,
        reorder=cython.double,
        delay=cython.double,
    )
    cpdef Impairment next(self)
