/* Sets a process's wall clock apart from the machine's: the file that CLOCK_FILE names holds how far, in nanoseconds, and
   may change at any moment. The monotonic clocks are left alone. Preloaded; asks the kernel itself, so that it may be
   called at any time in a program's life. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead;

__attribute__((constructor)) static void open_clock(void) {
  const char *name = getenv("CLOCK_FILE");
  int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
  if (page != MAP_FAILED) ahead = page;
  if (file >= 0) close(file);
}

static int64_t wall(void) {
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec + (ahead ? *ahead : 0);
}

int clock_gettime(clockid_t which, struct timespec *now) {
  if (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE) return (int)syscall(SYS_clock_gettime, which, now);
  int64_t ns = wall();
  now->tv_sec = ns / 1000000000;
  now->tv_nsec = ns % 1000000000;
  return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  int64_t ns = wall();
  now->tv_sec = ns / 1000000000;
  now->tv_usec = ns % 1000000000 / 1000;
  return 0;
}

time_t time(time_t *now) {
  time_t seconds = wall() / 1000000000;
  if (now) *now = seconds;
  return seconds;
}
