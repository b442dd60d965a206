"""C-level door: what one signal says of its thing."""

from streamproc.kernels.signal cimport Signal


cdef dict thing_of_signal(Signal signal)
