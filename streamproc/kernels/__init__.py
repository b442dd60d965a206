"""The compiled modules. Sources: ``ext/streamproc/kernels``; slow twins: ``tests/reference``.

There is no fall-back: an install without its kernels fails at import, loudly, rather than
run at a tenth of its speed unnoticed.
"""
