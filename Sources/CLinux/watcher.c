// The watcher of a rank: a small process that outlives it by a moment. MPI libraries end a rank
// without asking when their launcher is gone, and SIGKILL asks nobody; then processes that had
// detached themselves from their task would go on for ever, and scratch would stay full.
//
// It is forked before MPI starts, while the rank is small and has one thread, and runs only the C
// code below. It learns through a pipe what to look after, and that the rank is gone by its end.
#define _GNU_SOURCE
#include "clinux.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int holds(const char *bytes, size_t count, const char *needle) {
  const char *found = memmem(bytes, count, needle, strlen(needle));
  return found && (found == bytes || found[-1] == 0);
}

// Kills every process of this user whose environment has a variable that begins with `mark`;
// returns how many there were.
static int kill_marked(const char *mark) {
  DIR *processes = opendir("/proc");
  if (!processes) return 0;
  static char environment[1 << 18];
  int count = 0;
  for (struct dirent *entry; (entry = readdir(processes));) {
    if (!isdigit((unsigned char)entry->d_name[0])) continue;
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/environ", entry->d_name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    size_t have = 0;
    for (ssize_t got; have < sizeof environment && (got = read(file, environment + have, sizeof environment - have)) > 0;)
      have += (size_t)got;
    close(file);
    if (!holds(environment, have, mark)) continue;
    kill((pid_t)atoi(entry->d_name), SIGKILL);
    count++;
  }
  closedir(processes);
  return count;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place) {
  (void)info;
  (void)place;
  if (kind == FTW_DNR) chmod(path, 0700);
  if (kind == FTW_DP || kind == FTW_DNR) rmdir(path); else unlink(path);
  return 0;
}

static void remove_tree(const char *path) { nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS); }

static void clean_up(const char *mark, const char *directory, const char *mine, const char *output, int is_kept) {
  struct timespec pause = {0, 10 * 1000 * 1000};
  // A process may be in the midst of starting another: look until nothing is found any more.
  for (int round = 0; round < 500 && kill_marked(mark) > 0; round++) nanosleep(&pause, NULL);
  remove_tree(mine);
  unlink(output);
  if (is_kept) return;
  char lock_path[4200];
  snprintf(lock_path, sizeof lock_path, "%s/lock", directory);
  int lock = open(lock_path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  // Other ranks of the node may live on: the last one takes the directory along.
  if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0) remove_tree(directory);
}

// When `process` was started (proc(5), field 22 of stat); 0 when it is gone.
static unsigned long long start_time(int process) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", process);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t count = read(file, text, sizeof text - 1);
  close(file);
  if (count <= 0) return 0;
  text[count] = 0;
  char *at = strrchr(text, ')');  // the name may hold anything
  if (!at || at[1] == 0 || at[2] == 'Z') return 0;
  for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
  return at ? strtoull(at, NULL, 10) : 0;
}

static int is_there(int process, unsigned long long started) { return start_time(process) == started; }

// Waits until the process is gone, `milliseconds` at most.
static int outlives(int process, unsigned long long started, int milliseconds) {
  struct timespec pause = {0, 20 * 1000 * 1000};
  for (int waited = 0; waited < milliseconds && is_there(process, started); waited += 20)
    nanosleep(&pause, NULL);
  return is_there(process, started);
}

// A launcher that counts a lost rank as running waits for it for ever.
static void end_launcher(const char *text) {
  int process = 0, grace = 0;
  unsigned long long started = 0;
  if (sscanf(text, "%d %llu %d", &process, &started, &grace) != 3 || process <= 1 || started == 0) return;
  if (!outlives(process, started, grace)) return;
  kill(process, SIGTERM);
  if (outlives(process, started, 5000)) kill(process, SIGKILL);
}

static void watch(int pipe_end) {
  static char text[4 * 4200 + 256], overflow[256];
  size_t have = 0;
  for (;;) {
    size_t room = sizeof text - have;
    ssize_t got = read(pipe_end, room ? text + have : overflow, room ? room : sizeof overflow);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    if (room) have += (size_t)got;
  }
  const char *parts[4], *launcher = NULL;
  int count = 0, is_dismissed = 0, is_kept = 0;
  size_t start = 0;
  for (size_t i = 0; i < have; i++) {
    if (text[i] != 0) continue;
    const char *part = text + start;
    if (part[0] == '!') is_dismissed = 1;
    else if (part[0] == '@') launcher = part + 1;
    else if (part[0] == '+') is_kept = 1;
    else if (part[0] == '-') is_kept = 0;
    else if (count < 4) parts[count++] = part;
    start = i + 1;
  }
  if (!is_dismissed && count == 4) clean_up(parts[0], parts[1], parts[2], parts[3], is_kept);
  if (launcher) end_launcher(launcher);
}

int clinux_start_watcher(void) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return -errno;
  pid_t pid = fork();
  if (pid < 0) {
    int error = errno;
    close(ends[0]);
    close(ends[1]);
    return -error;
  }
  if (pid == 0) {
    // Forked twice: the watcher must be no child of the rank, which kills children it does not know.
    if (fork() != 0) _exit(0);
    // Out of the launcher's process group, and holding none of its pipes: it waits for their end.
    setsid();
    prctl(PR_SET_NAME, "vine-watch");
    int keep = fcntl(ends[0], F_DUPFD, 3);
    for (int descriptor = 0; descriptor < 1024; descriptor++)
      if (descriptor != keep) close(descriptor);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    watch(keep);
    _exit(0);
  }
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
  close(ends[0]);
  return ends[1];
}
