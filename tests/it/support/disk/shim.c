/* A disk that fails. Loaded into a process by LD_PRELOAD; it stands between SQLite and libc's file functions.
 *
 * DISK_MATCH    files whose path contains this text belong to the disk
 * DISK_CONTROL  a file of `struct control`, shared with the test, which writes what is to fail and reads the counts
 *
 * Every write, sync and truncation of the disk's files is one operation; operations are numbered from 1. An operation
 * that fails has done half of its work, as a torn write has.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, TRUNCATE = 4 };
enum { KILL = 0x10000 };

struct control {
  uint64_t kinds;  /* which operations fail */
  uint64_t first;  /* from this number on; 0: none */
  uint64_t count;  /* so many numbers */
  uint64_t action; /* an errno, or KILL */
  uint64_t seen;   /* operations so far */
  uint64_t failed; /* of them, those that failed */
};

static volatile struct control *control;
static const char *match;

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("DISK_CONTROL");
  match = getenv("DISK_MATCH");
  if (!path || !match) return;
  int fd = open(path, O_RDWR);
  if (fd < 0) return;
  void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (map != MAP_FAILED) control = map;
}

/* Whether an operation of this kind on this file fails. */
static int fails(int fd, uint64_t kind) {
  char link[64], path[1024];
  if (!control) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  if (!strstr(path, match)) return 0;
  uint64_t number = __atomic_add_fetch(&control->seen, 1, __ATOMIC_SEQ_CST);
  uint64_t first = __atomic_load_n(&control->first, __ATOMIC_SEQ_CST);
  if (!first || number < first || number - first >= control->count || !(control->kinds & kind)) return 0;
  __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
  return 1;
}

static int failure(void) {
  if (control->action == KILL) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
  errno = (int)control->action;
  return -1;
}

#define NEXT(type, name, ...)                                  \
  static type (*next)(__VA_ARGS__);                            \
  if (!next) next = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
  NEXT(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
  if (!fails(fd, WRITE)) return next(fd, bytes, length, at);
  if (length > 1) next(fd, bytes, length / 2, at);
  return failure();
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return pwrite64(fd, bytes, length, at); }

ssize_t write(int fd, const void *bytes, size_t length) {
  NEXT(ssize_t, "write", int, const void *, size_t);
  if (!fails(fd, WRITE)) return next(fd, bytes, length);
  if (length > 1) next(fd, bytes, length / 2);
  return failure();
}

int fsync(int fd) {
  NEXT(int, "fsync", int);
  return fails(fd, SYNC) ? failure() : next(fd);
}

int fdatasync(int fd) {
  NEXT(int, "fdatasync", int);
  return fails(fd, SYNC) ? failure() : next(fd);
}

int ftruncate64(int fd, off64_t length) {
  NEXT(int, "ftruncate64", int, off64_t);
  return fails(fd, TRUNCATE) ? failure() : next(fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }
