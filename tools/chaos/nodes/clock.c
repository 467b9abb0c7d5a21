/* A clock that is apart by CLOCK_APART_S seconds, for a process that is started with this library in LD_PRELOAD.

   Only the time of day is apart, so that all waits stay true. (libfaketime was tried: a sleep of Python failed with
   it, or a lock with a time limit never ended, and Redis did not start.) */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long apart(void) {
  const char *seconds = getenv("CLOCK_APART_S");
  return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int is_known = 0;
  static long shift = 0;
  if (!is_known) {
    shift = apart();
    is_known = 1;
  }
  int failed = (int)syscall(SYS_clock_gettime, clock, now);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift;
  return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec found;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &found);
  now->tv_sec = found.tv_sec;
  now->tv_usec = found.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *now) {
  struct timespec found;
  clock_gettime(CLOCK_REALTIME, &found);
  if (now) *now = found.tv_sec;
  return found.tv_sec;
}
