// initonly FILE: MPI_Init and MPI_Finalize; rank 0 writes the instant on the
// monotonic clock at which MPI_Init returned.
#define _GNU_SOURCE
#include <mpi.h>
#include <stdio.h>
#include <time.h>

int main(int count, char **words) {
  MPI_Init(&count, &words);
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  int rank, failed = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0) {
    FILE *file = count == 2 ? fopen(words[1], "w") : NULL;
    failed = !file || fprintf(file, "%ld.%09ld\n", (long)t.tv_sec, t.tv_nsec) < 0 || fclose(file);
  }
  MPI_Finalize();
  return failed;
}
