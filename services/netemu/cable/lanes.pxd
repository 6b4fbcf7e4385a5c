from services.netemu.cable.fairness cimport OwnerShare
from services.netemu.cable.model cimport Wire

cdef long long FRAME_BYTES


cdef class OwnerLanes:
    cdef public OwnerShare share
    cdef public object ready, waste
    cdef public list due
    cdef public long long ports
    cdef public bint is_held


cdef class Lane:
    cdef public OwnerLanes account
    cdef public int source, target
    cdef public Wire wire
    cdef public object in_flight
    cdef public Lane overtaking


cpdef long long memory_of(bytes frame) except? -1
