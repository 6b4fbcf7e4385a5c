cimport cython


cdef class CpuBudget:
    cdef public double rate, _left_ns
    cdef public long long _since_ns
    cpdef long long charge(self, long long now_ns, long long cost_ns) except? -1


cdef class OwnerShare:
    cdef public object owner
    cdef public long long used_ns, queued_bytes, dropped, held_ns, limited_at_ns
    cdef public CpuBudget budget


cdef class OwnerShares:
    cdef public long long _memory, _queued_bytes, _least_ns, _lent_at_ns
    cdef public CpuBudget _all
    cdef public double _owner_cpus

    cpdef bint has_room(self, OwnerShare share, long long size)
    cpdef void keep(self, OwnerShare share, long long size)
    cpdef void drop(self, OwnerShare share, long long now_ns)
    @cython.locals(held_ns=cython.longlong)
    cpdef tuple charge(self, OwnerShare share, long long now_ns, long long cost_ns)
