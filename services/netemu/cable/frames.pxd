cimport cython

cdef Py_ssize_t READ_BYTES
cdef bytearray _buffer

@cython.locals(start=cython.p_char, got=cython.Py_ssize_t)
cpdef bytes read_frame(int source)
@cython.locals(start=cython.p_char)
cpdef bint write_frame(int target, bytes frame) except? -1
