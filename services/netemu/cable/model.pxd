cimport cython

from services.netemu.cable.impairments cimport Impairment, ImpairmentSequence

cdef extern from *:
    ctypedef long long int128 "__int128"  # nanoseconds times bits per second

cdef long long S, LATE_NS, MAX_DELAYED_BYTES, MAX_DELAYED_FRAMES


cdef class RunningMean:
    cdef public double mean_ns
    cdef public long long seen, _most_ns
    cpdef void observe(self, long long duration_ns)


cdef class Wire:
    cdef public object direction, playback, pace
    cdef public bint is_plain, is_delayed
    cdef public long long latency_ns, rate_bps, queue_bytes, limit_frames, free_ns, last_ns
    cdef public long long frames, bytes, dropped, late, in_flight_bytes, in_flight_frames
    cdef public ImpairmentSequence impairments
    cdef public RunningMean delay

    @cython.locals(free_ns=int128, start_ns=int128, waiting_bytes=int128)
    cpdef object admit(self, long long now_ns, long long size, long long jitter_ns=*, bint overtakes=*)
    @cython.locals(latency_ns=cython.longlong)
    cpdef object _departure(self, long long free_ns, long long size, long long jitter_ns, bint overtakes)
    cpdef Impairment impair(self, long long now_ns)
    cpdef void drop(self)
    cpdef void depart(self, long long now_ns, long long due_ns, long long size, bint taken)


@cython.locals(size=cython.longlong, segment=cython.longlong, headers=cython.longlong, segments=cython.longlong)
cpdef long long wire_size(bytes frame, long long header) except? -1
