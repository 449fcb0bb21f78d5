// spawnloop COUNT IN_FLIGHT PROGRAM [ARGUMENT...]
//
// The least that starting COUNT processes costs: posix_spawn and waitpid, with
// IN_FLIGHT of them at a time. In the arguments, %i is the number of the process
// (from 0) and %j the one after. Prints the seconds from the first start to the
// last end.
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fill(char *to, size_t size, const char *from, long number) {
  size_t used = 0;
  for (; *from && used + 24 < size; from++) {
    if (from[0] == '%' && (from[1] == 'i' || from[1] == 'j'))
      used += sprintf(to + used, "%ld", number + (*++from == 'j'));
    else
      to[used++] = *from;
  }
  to[used] = 0;
}

enum { WORDS_MAX = 16, WORD_SIZE = 1024 };

int main(int count, char **words) {
  if (count < 4 || count - 3 >= WORDS_MAX)
    return fprintf(stderr, "usage: spawnloop COUNT IN_FLIGHT PROGRAM [ARGUMENT...]\n"), 2;
  long total = atol(words[1]), limit = atol(words[2]), started = 0, ended = 0;
  static char text[WORDS_MAX][WORD_SIZE];
  char *arguments[WORDS_MAX] = {0};
  double begin = now();
  while (ended < total) {
    if (started < total && started - ended < limit) {
      for (int i = 3; i < count; i++) {
        fill(text[i - 3], WORD_SIZE, words[i], started);
        arguments[i - 3] = text[i - 3];
      }
      pid_t child;
      int error = posix_spawn(&child, arguments[0], NULL, NULL, arguments, environ);
      if (error) return fprintf(stderr, "spawnloop: %s: %s\n", words[3], strerror(error)), 1;
      started++;
      continue;
    }
    int status;
    if (waitpid(-1, &status, 0) < 0) return perror("spawnloop: waitpid"), 1;
    if (status) return fprintf(stderr, "spawnloop: a process failed\n"), 1;
    ended++;
  }
  printf("%.6f\n", now() - begin);
  return 0;
}
