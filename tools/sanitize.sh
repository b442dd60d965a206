#!/usr/bin/env bash
# Kernel tests on kernels built with bounds checks, AddressSanitizer and UBSan, in a copy of the
# tree, so that the usual build is left alone. Arguments go to pytest.
set -euo pipefail
python=$(realpath --no-symlinks "$1")
shift
copy=build/sanitize
rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z | tar --null --files-from=- -cf - | tar -xf - -C "$copy"
cd "$copy"
export CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
export LDFLAGS="-fsanitize=address,undefined"
STREAMPROC_CHECKED=1 "$python" setup.py -q build_ext --inplace -j 2 2>&1 | grep -iE '^error|: error' || true
libraries="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
echo "kernel tests on sanitized kernels: $libraries"
# Leaks are looked for elsewhere (tests/kernels/test_template_memory.py): the interpreter has its own.
LD_PRELOAD=$libraries ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH=. \
    "$python" -m pytest tests/kernels -q -p no:cacheprovider --deselect tests/kernels/test_template_memory.py "$@"
