/* Loaded into a process before all else (LD_PRELOAD): what it writes to files whose name has $STALLED_NAME in it hangs in the
   "kernel" as long as the file $STALLED_WHILE is there. It stands for a disk, or a network file system, that stalls. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static void stall(int file) {
  const char *name = getenv("STALLED_NAME"), *flag = getenv("STALLED_WHILE");
  char link[64], path[4096];
  if (!name || !flag || access(flag, F_OK)) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return;
  path[length] = 0;
  while (strstr(path, name) && !access(flag, F_OK)) usleep(10000);
}

#define BEFORE(result, name, parameters, arguments)                        \
  result name parameters {                                                 \
    static result(*next) parameters;                                       \
    if (!next) next = (result(*) parameters)dlsym(RTLD_NEXT, #name);       \
    stall(file);                                                           \
    return next arguments;                                                 \
  }

BEFORE(ssize_t, pwrite, (int file, const void *bytes, size_t count, off_t at), (file, bytes, count, at))
BEFORE(ssize_t, pwrite64, (int file, const void *bytes, size_t count, off64_t at), (file, bytes, count, at))
BEFORE(ssize_t, write, (int file, const void *bytes, size_t count), (file, bytes, count))
BEFORE(int, fsync, (int file), (file))
BEFORE(int, fdatasync, (int file), (file))
