// vine-host LIBRARY: serves calls of a shared object in a process of its own, so that its crash is
// not the rank's. Started by vine-mpi; the channel to the rank is its standard input.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cvinehost.h"

static int channel;
// Nanoseconds for which it looks for more calls before it sleeps.
static int64_t looking;

static long receive(void *owner, char *bytes, size_t room, int waits) {
  (void)owner;
  int64_t until = waits ? vine_now() + looking : 0;
  for (;;) {
    int is_looking = waits && vine_now() < until;
    ssize_t count = recv(channel, bytes, room, waits && !is_looking ? 0 : MSG_DONTWAIT);
    if (count >= 0) return count;
    if (errno == EAGAIN && !is_looking) return -1;
    if (errno == EAGAIN) {
      sched_yield();
      continue;
    }
    if (errno != EINTR) return 0;
  }
}

static int send_all(void *owner, const char *bytes, size_t count) {
  (void)owner;
  while (count > 0) {
    ssize_t sent = send(channel, bytes, count, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return -1;
    bytes += sent;
    count -= (size_t)sent;
  }
  return 0;
}

int main(void) {
  struct stat info;
  if (fstat(0, &info) != 0 || !S_ISSOCK(info.st_mode)) {
    fputs("vine-host is started by vine-mpi, for the calls of native libraries\n", stderr);
    return 2;
  }
  const char *given = getenv("VINE_LOOKING");
  looking = given ? atol(given) : 0;
  // Standard input is not the library's to read, and the channel's number not one that it may guess.
  channel = fcntl(0, F_DUPFD_CLOEXEC, 100);
  int null = open("/dev/null", O_RDONLY);
  if (channel < 0 || null < 0 || dup2(null, 0) < 0) return 1;
  close(null);
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct vine_port port = {.receive = receive, .send = send_all, .owns_process = 1};
  int status = vine_serve(&port);
  fflush(NULL);
  return status;
}
