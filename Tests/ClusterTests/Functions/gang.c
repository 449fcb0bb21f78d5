// Ranks whose function threads run parallel functions, while their main threads use MPI, too.
// usage: mpirun -n 4 gang LIBRARY; each prints its results.
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cmpi.h"
#include "cvinehost.h"

static char frames[1 << 16];
static size_t frame_count;

static void put(const void *bytes, size_t count) {
  memcpy(frames + frame_count, bytes, count);
  frame_count += count;
}
static void put32(uint32_t value) { put(&value, 4); }
static void put64(uint64_t value) { put(&value, 8); }
static void put_field(const char *text) {
  put32((uint32_t)strlen(text));
  put(text, strlen(text));
}
static void begin(char kind, size_t count) {
  put32((uint32_t)(1 + count));
  put(&kind, 1);
}

static int run_gang(void *function, vine_call *call, const int *ranks, int count, int tag, char *error) {
  return cmpi_run_gang(function, call, ranks, count, tag, error);
}

static void order(const char *library) {
  const char *fields[] = {"1", "gang", library, "rank", "1", "", "", "[]", "sum", "odd"};
  size_t count = 0;
  for (int i = 0; i < 10; i++) count += 4 + strlen(fields[i]);
  begin(1, count);
  for (int i = 0; i < 10; i++) put_field(fields[i]);
}

static void gang(uint64_t number, uint32_t function, const int *ranks, uint32_t count, uint32_t tag, const char *arguments) {
  begin(6, 20 + 4 * count + strlen(arguments));
  put64(number);
  put32(function);
  put32(tag);
  put32(count);
  for (uint32_t i = 0; i < count; i++) put32((uint32_t)ranks[i]);
  put(arguments, strlen(arguments));
}

int main(int argc, char **argv) {
  int are_threads_many = 1;
  if (cmpi_init(&are_threads_many) != MPI_SUCCESS) return 1;
  if (!are_threads_many) return 77;
  int rank = cmpi_rank(cmpi_world());
  if (argc != 2 || cmpi_size(cmpi_world()) != 4) return 2;
  int event = eventfd(0, EFD_NONBLOCK);
  struct vine_thread *thread = vine_thread_start(event, 0, run_gang);
  if (!thread) return 2;
  order(argv[1]);
  // Two gangs at once that share no rank, then one of all, in another order; then one that fails.
  const int even[] = {0, 2}, odd[] = {3, 1}, all[] = {2, 0, 3, 1};
  const char *arguments = "{\"args\":[10],\"kwargs\":{}}";
  gang(1, 0, rank % 2 ? odd : even, 2, rank % 2 ? 8 : 7, arguments);
  gang(2, 0, all, 4, 9, arguments);
  gang(3, 1, all, 4, 10, arguments);
  begin(5, 0);
  vine_thread_send(thread, frames, frame_count);
  static char room[1 << 16];
  size_t have = 0;
  int beats = 0;
  for (;;) {
    // The loop of a rank does not stop for its function thread.
    int mine = rank, other = -1;
    MPI_Sendrecv(&mine, 1, MPI_INT, (rank + 1) % 4, 1, &other, 1, MPI_INT, (rank + 3) % 4, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (other != (rank + 3) % 4) return 5;
    struct pollfd entry = {event, POLLIN, 0};
    poll(&entry, 1, 1);
    long count = vine_thread_take(thread, room + have, sizeof room - have);
    if (count > 0) have += (size_t)count;
    int goes_on = count >= 0, any = 0;
    MPI_Allreduce(&goes_on, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    beats++;
    if (!any) break;
  }
  char line[4096];
  int at = snprintf(line, sizeof line, "rank %d:", rank);
  uint32_t length;
  for (size_t start = 0; have - start >= 4; start += 4 + length) {
    memcpy(&length, room + start, 4);
    const char *frame = room + start + 4;
    int skipped = frame[0] == 68 ? 17 : frame[0] == 69 ? 21 : frame[0] == 67 ? 5 : 0;
    if (skipped) at += snprintf(line + at, sizeof line - (size_t)at, " %.*s;", (int)length - skipped, frame + skipped);
  }
  puts(line);
  int status = vine_thread_join(thread, 5000) == 0 && beats > 0 ? 0 : 6;
  MPI_Finalize();
  return status;
}
