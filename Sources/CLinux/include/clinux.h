// Linux calls that glibc wraps badly for us or that must run between clone and exec. Every call
// returns a result >= 0, or -errno.
#ifndef CLINUX_H
#define CLINUX_H

#include <stddef.h>
#include <stdint.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/types.h>

enum {
  CLINUX_STACK_SIZE = 16384,
  CLINUX_EXEC_PATIENCE = 1000 * 1000,    // ns
  CLINUX_EXEC_LIMIT = 20 * 1000 * 1000,  // ns
};

struct clinux_spawn {
  const char *const *programs; // paths to try in turn, NULL-ended
  char **argv;                 // a free place, then the arguments, NULL-ended
  char *const *envp;           // NULL-ended
  int directory;               // descriptor of the working directory
  int input, output, error;    // become descriptors 0, 1, 2
  const uint64_t *cpus;        // operating system indices as bits
  size_t cpu_words;            // 0: not bound
  mode_t umask;
  void *stack;                 // CLINUX_STACK_SIZE bytes
  int waits;                   // for execve(2), however long it takes
  int stays;                   // this thread may stay bound to `cpus`: others will start there soon
  pid_t parent;                // set by clinux_spawn, as is what follows
  int is_bound;                // whether it starts on `cpus`
  uint32_t is_sharing;         // until it has executed its program or ended
  int is_quick;                // whether it had done so when clinux_spawn returned, soon
  int failure;                 // once the process was reaped: why the program did not start, or 0
};  // every other descriptor is closed: MPI's sockets are not the task's

// Starts a process in a group of its own that dies with this thread, and returns its id, or -errno.
// Does not copy page tables (CLONE_VM), so that its cost does not grow with the caller's heap, and
// waits, unless told otherwise, at most CLINUX_EXEC_PATIENCE for execve(2), which may take seconds
// where the program lies on a slow file system: until the process was reaped, it may use the request
// and all that it points to. The descriptors may be closed at once.
int clinux_spawn(struct clinux_spawn *request);

// Lets this process have at least `count` descriptors, as far as its hard limit goes (setrlimit(2)).
// What clinux_spawn starts has the limit of before: programs that use select(2) rely on it.
void clinux_need_descriptors(unsigned long count);

// Lets this thread, if clinux_spawn left it bound, go where it likes again.
void clinux_move_home(void);
// For a thread whose creator might have been bound.
void clinux_start_at_home(void);

// Starts the watcher of this process and returns the descriptor that it listens to: NUL-ended
// texts. The first four without a sign say what is this rank's: the beginning of the environment
// variable that marks its processes, the run's directory, the rank's sandboxes, its output file.
// "!" says that all is in order. When the descriptor closes without it, the watcher kills the
// processes and removes the files. "@PROCESS START GRACE" names a launcher that will not end by
// itself once this process has ended: after GRACE milliseconds it gets SIGTERM, five seconds later
// SIGKILL, as long as it is the process that was started at START. The watcher is a fork: to be
// called before MPI and any thread.
int clinux_start_watcher(void);

// This process inherits the orphans of its descendants (prctl(2), PR_SET_CHILD_SUBREAPER).
int clinux_become_subreaper(void);
// Wakes up to 1 us instead of 50 us late (prctl(2), PR_SET_TIMERSLACK).
int clinux_set_timer_slack(unsigned long nanoseconds);
// How many processors this thread may use (sched_getaffinity(2)); 0 if that is unknown.
int clinux_processor_count(void);

// A descriptor that reports the signals of the bitmask `signals` (bit n-1 is signal n), which get
// blocked in this thread and in all started later.
int clinux_signal_descriptor(uint64_t signals);
// The next signal that waits in such a descriptor, with its sender; 0 when there is none.
int clinux_next_signal(int descriptor, int *sender);
// Whether this process was started with `signal` ignored.
int clinux_is_ignored(int signal);

struct clinux_exit {
  pid_t pid;
  int is_signaled;             // whether `status` is a signal or an exit status
  int status;
  int64_t cpu_microseconds;
  int64_t max_resident_kb;
};
// Reaps one child that has ended: 1 and `result`, or 0 when none has.
int clinux_reap(struct clinux_exit *result);

// A descriptor of a process that becomes readable when it ends (pidfd_open(2), Linux 5.3).
int clinux_open_process(pid_t process);
// Signals the process behind such a descriptor, and never another one of its number.
int clinux_kill_process(int descriptor, int signal);

// Waits up to `nanoseconds` for `descriptor` to become readable.
int clinux_wait_readable(int descriptor, int64_t nanoseconds);

// Atomically exchanges two paths (renameat2(2), RENAME_EXCHANGE).
int clinux_exchange(const char *one, const char *other);
// Copies `count` bytes between descriptors at their own offsets, by reflink or in the kernel where
// possible. Returns the bytes copied, less than `count` only at the end of the input.
int64_t clinux_copy(int from, int to, int64_t count);

// Reads `count` bytes at `at`, if that waits for no device: 0, else -EAGAIN, with a part read or none.
// Data in the page cache (preadv2(2), RWF_NOWAIT, of file systems that have it) and files in memory,
// as long as nothing of them was swapped out, wait for none.
int clinux_read_at_once(int descriptor, void *bytes, size_t count, off_t at);
// Whether the file is in memory: tmpfs(5), ramfs.
int clinux_is_in_memory(int descriptor);
// How many processes and threads of this machine run or are ready to (proc(5), /proc/loadavg), by a
// descriptor of that file; -errno if that is unknown.
int clinux_running_count(int descriptor);

// Opens the directory that `path` lies in, below `directory`, one name at a time and through no
// symbolic link: -ELOOP where one stands in the way. With `is_made`, absent directories are made.
// `last` becomes the last name of `path`.
int clinux_open_parent(int directory, const char *path, int is_made, const char **last);

// Removes `path` and all below it, whatever its names, permissions and depth; follows no symbolic
// link. Nothing there is no error.
int clinux_remove_tree(const char *path);

// Whether the directory behind `descriptor` has no entries: 1, 0 or -errno.
int clinux_is_empty(int descriptor);
// Magic number of the file system of `path` (statfs(2)).
int64_t clinux_file_system(const char *path);
// The processing units this process may run on, as bits; returns the number of words used.
int clinux_affinity(uint64_t *cpus, size_t words);

// Variadic in C, so out of reach for Swift.
int clinux_open_at(int directory, const char *name, int flags, mode_t mode);
// A pipe closed at exec, whose read end does not block.
int clinux_pipe(int ends[2]);
// Clears the flags of a pipe's write end; 1 if the pipe then is as clinux_pipe made it, and empty.
int clinux_renew_pipe(int read_end, int write_end);

#endif
