/* A wall clock that a test moves, for processes that are started with this in LD_PRELOAD.
 *
 * The file that STREAMPROC_TEST_CLOCK names holds the nanoseconds that the wall clock is ahead of
 * the machine's, as one 64-bit number; it may change at any time. Monotonic clocks stay as they
 * are. As with a clock that is set for the whole machine:
 *
 * - what reads the wall clock reads the moved one;
 * - what waits until a moment of the wall clock waits for that moment of the moved one, also when
 *   it began to wait before: a jump forward ends the wait, a jump back makes it longer. Jumps are
 *   noticed within SLICE_NS.
 *
 * Not moved: dates that the kernel notes in files, sleeps and timers until a moment of the wall
 * clock (clock_nanosleep, timer_settime, timerfd_settime), and what libc does inside itself.
 * For glibc 2.30 and later.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

enum { SECOND_NS = 1000000000, SLICE_NS = 100000000 };

static _Atomic int64_t nothing_ns;
static _Atomic int64_t *ahead_ns = &nothing_ns;

/* libc_NAME(): what libc calls NAME. Others may ask for the time before we are begun. */
#define LIBC(name)                                                                                 \
    static __typeof__(&name) libc_##name(void) {                                                   \
        static _Atomic(__typeof__(&name)) found;                                                   \
        if (found == NULL && (found = (__typeof__(&name))dlsym(RTLD_NEXT, #name)) == NULL)         \
            abort();                                                                               \
        return found;                                                                              \
    }

LIBC(clock_gettime)
LIBC(cnd_broadcast)
LIBC(cnd_signal)
LIBC(pthread_cond_clockwait)
LIBC(pthread_mutex_clocklock)
LIBC(sem_clockwait)

/* What reads the wall clock. */

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = libc_clock_gettime()(clock, now);
    if (failed || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return failed;
    int64_t ahead = atomic_load(ahead_ns);
    now->tv_sec += ahead / SECOND_NS;
    now->tv_nsec += ahead % SECOND_NS; /* of either sign */
    if (now->tv_nsec < 0) now->tv_sec--, now->tv_nsec += SECOND_NS;
    if (now->tv_nsec >= SECOND_NS) now->tv_sec++, now->tv_nsec -= SECOND_NS;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    *now = (struct timeval){exact.tv_sec, exact.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *kept) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    if (kept != NULL) *kept = exact.tv_sec;
    return exact.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

/* What waits until a moment of it. */

static int64_t left_ns(const struct timespec *moment) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t seconds = (int64_t)moment->tv_sec - now.tv_sec;
    if (seconds > 1) return 2 * (int64_t)SLICE_NS; /* or much more */
    if (seconds < -1) return 0;
    return seconds * SECOND_NS + moment->tv_nsec - now.tv_nsec;
}

/* The next look at the clock, by the monotonic one. */
static struct timespec next_look(const struct timespec *moment) {
    struct timespec next;
    int64_t wait_ns = left_ns(moment);
    if (wait_ns < 0) wait_ns = 0;
    if (wait_ns > SLICE_NS) wait_ns = SLICE_NS;
    libc_clock_gettime()(CLOCK_MONOTONIC, &next);
    next.tv_nsec += wait_ns;
    if (next.tv_nsec >= SECOND_NS) next.tv_sec++, next.tv_nsec -= SECOND_NS;
    return next;
}

/* How often a condition variable was signalled; many share a number. */
static _Atomic unsigned *signals_of(const void *condition) {
    static _Atomic unsigned numbers[256];
    return &numbers[((uintptr_t)condition >> 4) % 256];
}

int cnd_signal(cnd_t *condition) {
    atomic_fetch_add(signals_of(condition), 1);
    return libc_cnd_signal()(condition);
}

int cnd_broadcast(cnd_t *condition) {
    atomic_fetch_add(signals_of(condition), 1);
    return libc_cnd_broadcast()(condition);
}

/* Those of C11 are the same in glibc, and have no older versions that could be found instead. */
int pthread_cond_signal(pthread_cond_t *condition) { return cnd_signal((cnd_t *)condition); }

int pthread_cond_broadcast(pthread_cond_t *condition) { return cnd_broadcast((cnd_t *)condition); }

int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock,
                           const struct timespec *moment) {
    if (clock != CLOCK_REALTIME)
        return libc_pthread_cond_clockwait()(condition, mutex, clock, moment);
    unsigned before = atomic_load(signals_of(condition));
    do {
        struct timespec look = next_look(moment);
        int said = libc_pthread_cond_clockwait()(condition, mutex, CLOCK_MONOTONIC, &look);
        if (said != ETIMEDOUT || left_ns(moment) <= 0) return said;
    } while (atomic_load(signals_of(condition)) == before);
    return 0; /* a signal that came between two looks would be lost */
}

/* glibc keeps there which clock a condition variable was made for; ``begin`` makes sure. */
static clockid_t clock_of(const pthread_cond_t *condition) {
    return condition->__data.__wrefs & 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                           const struct timespec *moment) {
    return pthread_cond_clockwait(condition, mutex, clock_of(condition), moment);
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *moment) {
    int said = pthread_cond_clockwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex,
                                      CLOCK_REALTIME, moment);
    return said == 0 ? thrd_success : said == ETIMEDOUT ? thrd_timedout : thrd_error;
}

int pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock,
                            const struct timespec *moment) {
    if (clock != CLOCK_REALTIME) return libc_pthread_mutex_clocklock()(mutex, clock, moment);
    int said;
    do {
        struct timespec look = next_look(moment);
        said = libc_pthread_mutex_clocklock()(mutex, CLOCK_MONOTONIC, &look);
    } while (said == ETIMEDOUT && left_ns(moment) > 0);
    return said;
}

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *moment) {
    return pthread_mutex_clocklock(mutex, CLOCK_REALTIME, moment);
}

int mtx_timedlock(mtx_t *mutex, const struct timespec *moment) {
    int said = pthread_mutex_timedlock((pthread_mutex_t *)mutex, moment);
    return said == 0 ? thrd_success : said == ETIMEDOUT ? thrd_timedout : thrd_error;
}

int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *moment) {
    if (clock != CLOCK_REALTIME) return libc_sem_clockwait()(semaphore, clock, moment);
    int failed;
    do {
        struct timespec look = next_look(moment);
        failed = libc_sem_clockwait()(semaphore, CLOCK_MONOTONIC, &look);
    } while (failed && errno == ETIMEDOUT && left_ns(moment) > 0);
    return failed;
}

int sem_timedwait(sem_t *semaphore, const struct timespec *moment) {
    return sem_clockwait(semaphore, CLOCK_REALTIME, moment);
}

/* Whatever cannot be as promised ends the process: a test that fakes nothing would prove nothing. */

static void need(bool so, const char *what) {
    if (so) return;
    fprintf(stderr, "clock.c: %s\n", what);
    abort();
}

__attribute__((constructor)) static void begin(void) {
    pthread_condattr_t kind;
    pthread_cond_t plain = PTHREAD_COND_INITIALIZER, monotonic;
    need(pthread_condattr_init(&kind) == 0 &&
             pthread_condattr_setclock(&kind, CLOCK_MONOTONIC) == 0 &&
             pthread_cond_init(&monotonic, &kind) == 0 &&
             clock_of(&plain) == CLOCK_REALTIME && clock_of(&monotonic) == CLOCK_MONOTONIC,
         "this libc keeps the clock of a condition variable elsewhere");
    const char *path = getenv("STREAMPROC_TEST_CLOCK");
    need(path != NULL, "STREAMPROC_TEST_CLOCK names no file");
    int file = open(path, O_RDONLY | O_CLOEXEC);
    void *page = mmap(NULL, sizeof *ahead_ns, PROT_READ, MAP_SHARED, file, 0);
    need(page != MAP_FAILED, "the file of STREAMPROC_TEST_CLOCK cannot be mapped");
    close(file);
    ahead_ns = page;
}
