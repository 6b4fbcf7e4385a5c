cimport cython

from services.netemu.cable.fairness cimport OwnerShare, OwnerShares
from services.netemu.cable.frames cimport read_frame, write_frame
from services.netemu.cable.impairments cimport Impairment
from services.netemu.cable.lanes cimport Lane, OwnerLanes, memory_of
from services.netemu.cable.model cimport RunningMean, Wire, wire_size


cdef class Switch:
    cdef public dict ports, accounts, _handlers, _by_epoll
    cdef public RunningMean lateness, passing, writing
    cdef public OwnerShares _shares
    cdef public object _traces, _idle, _epoll, _timer
    cdef public set _busy
    cdef public list _held, _heads
    cdef public long long _alone_since_ns, _armed_ns

    @cython.locals(now_ns=cython.longlong, is_waiting=cython.bint)
    cpdef run_once(self, object timeout_s=*)
    @cython.locals(started_ns=cython.longlong, now_ns=cython.longlong)
    cpdef _give_turn(self, OwnerLanes account, bint is_ready)
    @cython.locals(
        wire=Wire,
        share=OwnerShare,
        turn_ns=cython.longlong,
        arrival_ns=cython.longlong,
        number=cython.int,
        frame=bytes,
        impairment=Impairment,
        size=cython.longlong,
    )
    cpdef _receive(self, Lane lane)
    @cython.locals(size=cython.longlong)
    cpdef _impair(self, Lane lane, Impairment impairment, long long arrival_ns, bytes frame)
    cpdef _enqueue(self, Lane lane, object due_ns, long long arrival_ns, long long size, bytes frame)
    @cython.locals(account=OwnerLanes)
    cpdef set _find_due(self, object now_ns)
    @cython.locals(
        number=cython.int,
        lane=Lane,
        now_ns=cython.longlong,
        due_ns=cython.longlong,
        arrival_ns=cython.longlong,
        size=cython.longlong,
        frame=bytes,
        taken=cython.bint,
    )
    cpdef _send_due(self, OwnerLanes account)
    cpdef _free(self, OwnerLanes account)
    @cython.locals(written_ns=cython.longlong)
    cpdef _observe_costs(self, Lane lane, long long now_ns)
    cpdef _arm(self)
