/* Turns a process's wall clock (LD_PRELOAD): ahead by as many seconds as stand in the file named by CLOCK_SHIM. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile double *ahead(void) {
    static volatile double *shared;
    static double none;
    if (!shared) {
        const char *path = getenv("CLOCK_SHIM");
        int fd = path ? open(path, O_RDONLY) : -1;
        void *page = fd >= 0 ? mmap(0, sizeof(double), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
        shared = page == MAP_FAILED ? &none : page;
    }
    return shared;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(id, now);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) now->tv_sec += (time_t)*ahead();
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int status = real(now, zone);
    now->tv_sec += (time_t)*ahead();
    return status;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
