// measure FILE COMMAND [ARGUMENT...]
//
// Runs the command and writes one line to FILE: the instant of its start on the
// monotonic clock, its wall time, the processor time of it and of all that it
// waited for (seconds), and the largest resident set of any of them (KiB).
// Exits as the command did.
#define _GNU_SOURCE
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static double seconds(struct timeval t) { return t.tv_sec + t.tv_usec * 1e-6; }

int main(int count, char **words) {
  if (count < 3) return fprintf(stderr, "usage: measure FILE COMMAND [ARGUMENT...]\n"), 2;
  pid_t child;
  double begin = now();
  int error = posix_spawnp(&child, words[2], NULL, NULL, words + 2, environ);
  if (error) return fprintf(stderr, "measure: %s: %s\n", words[2], strerror(error)), 127;
  int status;
  struct rusage used;
  while (wait4(child, &status, 0, &used) < 0)
    if (errno != EINTR) return perror("measure: wait4"), 1;
  double end = now();
  FILE *file = fopen(words[1], "w");
  if (!file) return perror(words[1]), 1;
  fprintf(file, "%.6f %.6f %.6f %ld\n", begin, end - begin,
          seconds(used.ru_utime) + seconds(used.ru_stime), used.ru_maxrss);
  if (fclose(file)) return perror(words[1]), 1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
