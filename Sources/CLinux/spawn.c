// Starting a process that shares our memory until it executes its program.
#define _GNU_SOURCE
#include "clinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// The child runs beside us in our memory until it executes its program, and errno is one for both:
// so it makes its system calls without glibc, whose functions set errno, and calls nothing else of
// glibc either. The result is -errno.
#if defined(__x86_64__)
static long raw(long number, long a, long b, long c, long d) {
  register long fourth __asm__("r10") = d;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                   : "rcx", "r11", "memory");
  return result;
}
enum { clone_flags = CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD };
#elif defined(__aarch64__)
static long raw(long number, long a, long b, long c, long d) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}
enum { clone_flags = CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD };
#else
// Elsewhere we wait until it is done with our memory.
static long raw(long number, long a, long b, long c, long d) {
  long result = syscall(number, a, b, c, d);
  return result < 0 ? -errno : result;
}
enum { clone_flags = CLONE_VM | CLONE_CHILD_CLEARTID | CLONE_VFORK | SIGCHLD };
#endif

static long raw_execve(const char *file, char *const *argv, char *const *envp) {
  return raw(SYS_execve, (long)file, (long)argv, (long)envp, 0);
}

// Returns the error why `file` was not executed.
static int child_exec(const struct clinux_spawn *request, const char *file) {
  long error = 0;
  // A program that another process still has open for writing is tried again for 100 ms: a
  // sibling on its way to execve may hold the descriptor of a file just copied.
  for (int tries = 0; tries < 20; tries++) {
    error = raw_execve(file, request->argv + 1, request->envp);
    if (error != -ETXTBSY) break;
    struct timespec pause = {0, 5 * 1000 * 1000};
    raw(SYS_nanosleep, (long)&pause, 0, 0, 0);
  }
  if (error == -ENOEXEC) {  // as execvp(3): a script without "#!" is the shell's
    char *name = request->argv[1];
    request->argv[0] = (char *)"/bin/sh";
    request->argv[1] = (char *)file;
    error = raw_execve("/bin/sh", request->argv, request->envp);
    request->argv[1] = name;
  }
  return (int)-error;
}

// As execvp(3): an entry of PATH where there is nothing, or nothing for us, is passed over.
static int child_search(const struct clinux_spawn *request) {
  int seen = ENOENT;
  for (const char *const *file = request->programs; *file; file++) {
    int error = child_exec(request, *file);
    if (error == EACCES) seen = EACCES;
    else if (error != ENOENT && error != ENOTDIR) return error;
  }
  return seen;
}

static unsigned long descriptors_needed = 1024;
static struct rlimit limit_before;

void clinux_need_descriptors(unsigned long count) {
  struct rlimit limit;
  if (count <= descriptors_needed || getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  descriptors_needed = count;
  if (limit.rlim_cur >= count) return;
  struct rlimit more = {count < limit.rlim_max ? count : limit.rlim_max, limit.rlim_max};
  if (setrlimit(RLIMIT_NOFILE, &more) == 0) limit_before = limit;
}

// MPI's sockets, opened when it likes and without O_CLOEXEC, must not reach the task.
static void close_others(void) {
#ifdef SYS_close_range
  if (raw(SYS_close_range, 3, ~0U, 0, 0) == 0) return;
#endif
  for (unsigned long descriptor = 3; descriptor < descriptors_needed; descriptor++)  // before Linux 5.9
    raw(SYS_close, (long)descriptor, 0, 0, 0);
}

static long become(int from, int to) {
  return from == to ? raw(SYS_fcntl, from, F_SETFD, 0, 0) : raw(SYS_dup3, from, to, 0, 0);
}

// Signals that this process handles or ignores of its own accord; the new process must not. A
// handler would run in our memory.
static uint64_t signals_to_reset;

static void reset_signals(void) {
  static const unsigned long default_action[8];  // the kernel's struct sigaction, SIG_DFL
  const size_t set_size = 8;
  for (int number = 1; number <= 64; number++)
    if (signals_to_reset & 1ULL << (number - 1))
      raw(SYS_rt_sigaction, number, (long)default_action, 0, (long)set_size);
  uint64_t none = 0;
  raw(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, (long)set_size);
}

static int child_main(void *argument) {
  struct clinux_spawn *request = argument;
  raw(SYS_setpgid, 0, 0, 0, 0);
  raw(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
  long error = 0;
  if (raw(SYS_getppid, 0, 0, 0, 0) == request->parent) {  // else it died before the line above
    if (request->cpu_words > 0 && !request->is_bound)
      raw(SYS_sched_setaffinity, 0, (long)(request->cpu_words * 8), (long)request->cpus, 0);
    raw(SYS_umask, request->umask, 0, 0, 0);
    reset_signals();
    error = raw(SYS_fchdir, request->directory, 0, 0, 0);
    if (error >= 0) error = become(request->input, 0);
    if (error >= 0) error = become(request->output, 1);
    if (error >= 0) error = become(request->error, 2);
    if (error >= 0) {
      close_others();
      if (limit_before.rlim_cur > 0) raw(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)&limit_before, 0);
      error = -child_search(request);
    }
    *(volatile int *)&request->failure = (int)-error;
  }
  for (;;) raw(SYS_exit_group, 127, 0, 0, 0);
  return 0;  // not reached
}

static uint64_t handled_signals(void) {
  uint64_t handled = 1ULL << (SIGPIPE - 1);  // ignored by us alone
  for (int number = 1; number <= 64; number++) {
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN)
      handled |= 1ULL << (number - 1);
  }
  return handled;
}

// ---- Where this thread is ----

enum { home_room = 1024 };  // 65,536 processors
static uint64_t home[home_room];
static long home_words;
static __thread uint64_t place[home_room];
static __thread size_t place_words;  // 0: at home

// To be called at home. It is asked for each time: the site may change it.
static int find_home(void) {
  long bytes = syscall(SYS_sched_getaffinity, 0, sizeof home, home);
  if (bytes > 0) home_words = bytes / 8;
  return bytes > 0;
}

void clinux_start_at_home(void) {
  if (home_words > 0) syscall(SYS_sched_setaffinity, 0, (size_t)home_words * 8, home);
}

void clinux_move_home(void) {
  if (place_words == 0) return;
  clinux_start_at_home();
  place_words = 0;
}

// Linux puts a new process where it likes among the processors of its creator: on the wrong one it
// has to wait for its turn there, only to move. Where this thread already is on a processor of the
// request, it binds itself while it makes the process, which moves nothing. Returns whether it did.
static int bind_here(const struct clinux_spawn *request) {
  size_t words = request->cpu_words;
  if (words > 0 && words == place_words && memcmp(request->cpus, place, words * 8) == 0) return 1;
  clinux_move_home();
  int here = sched_getcpu();
  if (here < 0 || (size_t)here / 64 >= words || words > home_room) return 0;
  if (!(request->cpus[here / 64] >> (here % 64) & 1) || !find_home()) return 0;
  if (syscall(SYS_sched_setaffinity, 0, words * 8, request->cpus) != 0) return 0;
  memcpy(place, request->cpus, words * 8);
  place_words = words;
  return 1;
}

// ---- Starting ----

static int64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

// clone(2), and then until the program is executed. The new process comes first on this processor:
// we would wait there, ready, until it has ended, while another processor has nothing to do, since
// Linux finds a place for who wakes up, rarely for who waits. With CLONE_VFORK we sleep at once,
// but without a limit; else until the kernel says that the memory is no longer shared
// (CLONE_CHILD_CLEARTID), if we get so far before the new process takes our place.
static pid_t make_process(struct clinux_spawn *request) {
  char *top = (char *)request->stack + (CLINUX_STACK_SIZE & ~(size_t)15);
  int flags = clone_flags | (request->waits ? CLONE_VFORK : 0);
  request->is_sharing = 1;
  int64_t start = nanoseconds();
  pid_t pid = clone(child_main, top, flags, request, NULL, NULL, &request->is_sharing);
  if (pid < 0) return -errno;
  struct timespec patience = {0, CLINUX_EXEC_PATIENCE};
  // Not a private futex: the kernel does not wake those.
  if (!request->waits) syscall(SYS_futex, &request->is_sharing, FUTEX_WAIT, 1, &patience, NULL, 0);
  // What did not wait for a file waited for processors, and that at most some time slices.
  int is_over = __atomic_load_n(&request->is_sharing, __ATOMIC_ACQUIRE) == 0;
  request->is_quick = is_over && nanoseconds() - start < CLINUX_EXEC_LIMIT;
  return pid;
}

int clinux_spawn(struct clinux_spawn *request) {
  // MPI has its handlers by the time of the first task.
  if (!signals_to_reset) signals_to_reset = handled_signals();
  request->parent = getpid();
  request->failure = 0;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  request->is_bound = bind_here(request);
  pid_t result = make_process(request);
  if (!request->stays) clinux_move_home();
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return result;
}
