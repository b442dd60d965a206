"""C-level shape of AMQP's fields, for the kernel that reads frames."""


cdef struct Cursor:
    const unsigned char *at     # what is read next
    const unsigned char *end    # one past the last byte that may be read

cdef object wrong(str what)
cdef unsigned int u8(Cursor *c) except? 0xDEAD
cdef unsigned int u16(Cursor *c) except? 0xDEAD
cdef unsigned int u32(Cursor *c) except? 0xDEAD
cdef unsigned long long u64(Cursor *c) except? 0xDEAD
cdef int skip(Cursor *c, Py_ssize_t size) except -1
cdef str short_text(Cursor *c)
cdef dict table_texts(Cursor *c)
