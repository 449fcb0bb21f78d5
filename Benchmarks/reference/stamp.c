// stamp FILE: writes the instant on the monotonic clock, as the first thing.
#define _GNU_SOURCE
#include <stdio.h>
#include <time.h>

int main(int count, char **words) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  FILE *file = count == 2 ? fopen(words[1], "w") : NULL;
  if (!file) return perror("stamp"), 1;
  fprintf(file, "%ld.%09ld\n", (long)t.tv_sec, t.tv_nsec);
  return fclose(file) != 0;
}
