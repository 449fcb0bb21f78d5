#define _GNU_SOURCE
#include "clinux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// ---- This process ------------------------------------------------------------------------------

int clinux_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0 ? 0 : -errno; }
int clinux_set_timer_slack(unsigned long nanoseconds) {
  return prctl(PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0) == 0 ? 0 : -errno;
}

int clinux_processor_count(void) {
  uint64_t bits[1024] = {0};  // 65,536 processors
  long bytes = syscall(SYS_sched_getaffinity, 0, sizeof bits, bits);
  int count = 0;
  for (long word = 0; word < bytes / 8; word++) count += __builtin_popcountll(bits[word]);
  return count;
}

static void to_set(uint64_t signals, sigset_t *set) {
  sigemptyset(set);
  for (int n = 1; n <= 64; n++)
    if (signals & 1ULL << (n - 1)) sigaddset(set, n);
}

int clinux_signal_descriptor(uint64_t signals) {
  sigset_t set;
  to_set(signals, &set);
  int error = pthread_sigmask(SIG_BLOCK, &set, NULL);
  if (error) return -error;
  int descriptor = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  return descriptor < 0 ? -errno : descriptor;
}

int clinux_next_signal(int descriptor, int *sender) {
  struct signalfd_siginfo info;
  ssize_t count = read(descriptor, &info, sizeof info);
  if (count != sizeof info) return 0;
  *sender = (int)info.ssi_pid;
  return (int)info.ssi_signo;
}

int clinux_is_ignored(int number) {
  struct sigaction action;
  return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

int clinux_reap(struct clinux_exit *result) {
  struct rusage usage;
  int status;
  pid_t pid = wait4(-1, &status, WNOHANG, &usage);
  if (pid <= 0) return 0;
  result->pid = pid;
  result->is_signaled = WIFSIGNALED(status);
  result->status = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
  result->cpu_microseconds = (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                             usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
  result->max_resident_kb = usage.ru_maxrss;
  return 1;
}

// Numbers are the same on all architectures (since Linux 5.1); older headers lack them.
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

int clinux_open_process(pid_t process) {
  // The descriptor is closed at exec without being asked.
  int descriptor = (int)syscall(SYS_pidfd_open, process, 0);
  return descriptor < 0 ? -errno : descriptor;
}

int clinux_kill_process(int descriptor, int signal) {
  return syscall(SYS_pidfd_send_signal, descriptor, signal, NULL, 0) == 0 ? 0 : -errno;
}

int clinux_wait_readable(int descriptor, int64_t nanoseconds) {
  struct pollfd entry = {descriptor, POLLIN, 0};
  struct timespec timeout = {nanoseconds / 1000000000, nanoseconds % 1000000000};
  int count = ppoll(&entry, 1, &timeout, NULL);
  return count < 0 ? (errno == EINTR ? 0 : -errno) : count;
}

// ---- Removing a tree ---------------------------------------------------------------------------

// A directory on the way down. Only the lowest one is open, so that neither the stack nor the
// number of descriptors bounds the depth.
struct level {
  struct level *up;
  dev_t device;
  ino_t inode;
  char name[];  // in the directory above
};

// Opens a directory for reading, with permissions that let its entries go.
static int open_for_removal(int parent, const char *name, struct stat *info) {
  int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  int descriptor = openat(parent, name, flags);
  if (descriptor < 0 && errno == EACCES) {
    // fchmodat(2) would follow a link put in its place.
    int held = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (held < 0) return -errno;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", held);
    chmod(path, 0700);
    close(held);
    descriptor = openat(parent, name, flags);
  }
  if (descriptor < 0) return -errno;
  if (fstat(descriptor, info) != 0) {
    int error = errno;
    close(descriptor);
    return -error;
  }
  if ((info->st_mode & 0700) != 0700) fchmod(descriptor, 0700);
  return descriptor;
}

static int push_level(struct level **top, const char *name, const struct stat *info) {
  size_t length = strlen(name) + 1;
  struct level *level = malloc(sizeof *level + length);
  if (!level) return -ENOMEM;
  level->up = *top;
  level->device = info->st_dev;
  level->inode = info->st_ino;
  memcpy(level->name, name, length);
  *top = level;
  return 0;
}

// Removes an entry that is no directory with entries: 0, 1 for one that is, or -errno.
static int remove_entry(int directory, const char *name, unsigned char type) {
  if (type != DT_DIR) {
    if (unlinkat(directory, name, 0) == 0 || errno == ENOENT) return 0;
    if (errno != EISDIR && errno != EPERM) return -errno;
  }
  int error = errno;
  if (unlinkat(directory, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
  if (errno == ENOTDIR && type != DT_DIR) return -error;
  return errno == ENOTEMPTY || errno == EEXIST ? 1 : -errno;
}

// Removes entries until one is a directory with entries, whose name goes to `inner` (1), or none is
// left (0).
static int remove_entries(int directory, char *buffer, size_t size, char *inner) {
  for (int is_found = 1; is_found;) {
    // Removing may move entries that were not read yet: only a pass that finds none is the last.
    is_found = 0;
    if (lseek(directory, 0, SEEK_SET) < 0) return -errno;
    long count;
    while ((count = syscall(SYS_getdents64, directory, buffer, size)) > 0) {
      for (long at = 0; at < count;) {
        // As in clinux_is_empty; the type is at 18.
        unsigned short length;
        memcpy(&length, buffer + at + 16, sizeof length);
        const char *name = buffer + at + 19;
        unsigned char type = (unsigned char)buffer[at + 18];
        at += length;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        is_found = 1;
        int result = remove_entry(directory, name, type);
        if (result > 0) memcpy(inner, name, strlen(name) + 1);
        if (result != 0) return result;
      }
    }
    if (count < 0) return -errno;
  }
  return 0;
}

// Goes up from an emptied directory, which it removes: the descriptor of the one above.
static int leave_level(int directory, struct level **top) {
  struct level *level = *top;
  int above = openat(directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int error = above < 0 ? errno : 0;
  close(directory);
  struct stat info;
  if (!error && fstat(above, &info) != 0) error = errno;
  // Somebody moved it: what lies above now is not ours.
  if (!error && (info.st_dev != level->up->device || info.st_ino != level->up->inode)) error = ESTALE;
  if (!error && unlinkat(above, level->name, AT_REMOVEDIR) != 0 && errno != ENOENT) error = errno;
  *top = level->up;
  free(level);
  if (!error) return above;
  if (above >= 0) close(above);
  return -error;
}

// Empties the directory `top` stands for; closes its descriptor.
static int remove_below(int directory, struct level *top) {
  enum { size = 1 << 15 };
  char inner[NAME_MAX + 1];
  char *buffer = malloc(size);
  int result = buffer ? 0 : -ENOMEM;
  while (result == 0) {
    result = remove_entries(directory, buffer, size, inner);
    if (result > 0) {
      struct stat info;
      int next = open_for_removal(directory, inner, &info);
      result = next < 0 ? next : push_level(&top, inner, &info);
      if (next >= 0) {
        close(directory);
        directory = next;
      }
    } else if (result == 0) {
      if (!top->up) break;
      directory = leave_level(directory, &top);
      if (directory < 0) result = directory;
    }
  }
  if (directory >= 0) close(directory);
  while (top) {
    struct level *level = top;
    top = top->up;
    free(level);
  }
  free(buffer);
  return result;
}

int clinux_remove_tree(const char *path) {
  if (unlink(path) == 0 || errno == ENOENT) return 0;
  int error = errno;
  if (error != EISDIR && error != EPERM) return -error;
  struct stat info;
  int directory = open_for_removal(AT_FDCWD, path, &info);
  if (directory < 0) return directory == -ENOTDIR || directory == -ELOOP ? -error : directory;
  struct level *top = NULL;
  int result = push_level(&top, "", &info);
  if (result < 0) close(directory);
  else result = remove_below(directory, top);
  if (result < 0) return result;
  return rmdir(path) == 0 || errno == ENOENT ? 0 : -errno;
}

// ---- Files -------------------------------------------------------------------------------------

int clinux_exchange(const char *one, const char *other) {
  return syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2 /* RENAME_EXCHANGE */) == 0 ? 0 : -errno;
}

// read(2) and write(2), where the kernel cannot copy between these two file systems.
static int64_t copy_by_hand(int from, int to, int64_t count) {
  enum { room = 1 << 20 };
  char *buffer = malloc(room);
  if (!buffer) return -ENOMEM;
  int64_t done = 0;
  while (done < count) {
    ssize_t got = read(from, buffer, count - done < room ? (size_t)(count - done) : room);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      if (got < 0) done = -errno;
      break;
    }
    for (ssize_t put = 0; put < got;) {
      ssize_t n = write(to, buffer + put, (size_t)(got - put));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        free(buffer);
        return -errno;
      }
      put += n;
    }
    done += got;
  }
  free(buffer);
  return done;
}

// Shares the blocks of a whole file where the file system can (xfs, btrfs); 0 where it cannot.
static int64_t clone_whole(int from, int to, int64_t count) {
  struct stat info;
  if (lseek(from, 0, SEEK_CUR) != 0 || lseek(to, 0, SEEK_CUR) != 0) return 0;
  if (fstat(from, &info) || info.st_size == 0 || info.st_size != count) return 0;
  if (ioctl(to, FICLONE, from)) return 0;
  lseek(to, info.st_size, SEEK_SET);
  return info.st_size;
}

int64_t clinux_copy(int from, int to, int64_t count) {
  int64_t done = clone_whole(from, to, count);
  while (done < count) {
    int64_t rest = count - done;
    ssize_t n = copy_file_range(from, NULL, to, NULL, rest < (1 << 30) ? (size_t)rest : 1 << 30, 0);
    if (n > 0) {
      done += n;
      continue;
    }
    if (n == 0) {
      // Some file systems report 0 for files they cannot splice (proc, some FUSE); read to be sure.
      int64_t more = copy_by_hand(from, to, rest);
      return more < 0 ? more : done + more;
    }
    if (errno == EINTR) continue;
    if (errno == EXDEV || errno == ENOSYS || errno == EINVAL || errno == EOPNOTSUPP || errno == EPERM) {
      int64_t more = copy_by_hand(from, to, rest);
      return more < 0 ? more : done + more;
    }
    return -errno;
  }
  return done;
}

static int open_directory(int parent, const char *name) {
  int descriptor = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor >= 0) return descriptor;
  int error = errno;
  struct stat info;
  // A link is ENOTDIR, too; the caller wants to tell it from a file.
  if (error == ENOTDIR && fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode))
    error = ELOOP;
  return -error;
}

int clinux_open_parent(int directory, const char *path, int is_made, const char **last) {
  int at = fcntl(directory, F_DUPFD_CLOEXEC, 0);
  if (at < 0) return -errno;
  for (;;) {
    const char *slash = strchr(path, '/');
    if (!slash) break;
    char name[NAME_MAX + 1];
    size_t length = (size_t)(slash - path);
    int next = length > NAME_MAX ? -ENAMETOOLONG : -EINVAL;
    if (length > 0 && length <= NAME_MAX) {
      memcpy(name, path, length);
      name[length] = 0;
      if (strcmp(name, "..") != 0) {
        if (is_made) mkdirat(at, name, 0777);
        next = open_directory(at, name);
      }
    }
    close(at);
    if (next < 0) return next;
    at = next;
    path = slash + 1;
  }
  *last = path;
  return at;
}

int clinux_is_empty(int descriptor) {
  char buffer[512];
  if (lseek(descriptor, 0, SEEK_SET) < 0) return -errno;
  for (;;) {
    long count = syscall(SYS_getdents64, descriptor, buffer, sizeof buffer);
    if (count < 0) return -errno;
    if (count == 0) return 1;
    for (long at = 0; at < count;) {
      // struct linux_dirent64: inode, offset, length (u16 at 16), type, name (at 19).
      unsigned short length;
      memcpy(&length, buffer + at + 16, sizeof length);
      const char *name = buffer + at + 19;
      if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) return 0;
      at += length;
    }
  }
}

int clinux_is_in_memory(int descriptor) {
  struct statfs info;
  return fstatfs(descriptor, &info) == 0 && (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC);
}

int clinux_read_at_once(int descriptor, void *bytes, size_t count, off_t at) {
  struct iovec piece = {bytes, count};
  ssize_t done = preadv2(descriptor, &piece, 1, at, RWF_NOWAIT);
  if (done < 0 && errno != EAGAIN && clinux_is_in_memory(descriptor)) done = pread(descriptor, bytes, count, at);
  return done == (ssize_t)count ? 0 : -EAGAIN;
}

int clinux_running_count(int descriptor) {
  char text[128];
  ssize_t size = pread(descriptor, text, sizeof text - 1, 0);
  if (size < 0) return -errno;
  text[size] = 0;
  int running;  // behind three averages: "0.20 0.18 0.12 1/80 11206"
  return sscanf(text, "%*s %*s %*s %d/", &running) == 1 ? running : -EINVAL;
}

int64_t clinux_file_system(const char *path) {
  struct statfs info;
  return statfs(path, &info) == 0 ? (int64_t)(uint64_t)info.f_type & 0xFFFFFFFF : -errno;
}

int clinux_affinity(uint64_t *cpus, size_t words) {
  long bytes = syscall(SYS_sched_getaffinity, 0, words * 8, cpus);
  return bytes < 0 ? -errno : (int)(bytes / 8);
}

int clinux_open_at(int directory, const char *name, int flags, mode_t mode) {
  int descriptor = openat(directory, name, flags | O_CLOEXEC, mode);
  return descriptor < 0 ? -errno : descriptor;
}
int clinux_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) return -errno;
  // One call instead of two: the flags of a new pipe's end are known.
  return fcntl(ends[0], F_SETFL, O_RDONLY | O_NONBLOCK) == 0 ? 0 : -errno;
}
int clinux_renew_pipe(int read_end, int write_end) {
  static int usual_size;
  struct stat info;
  int waiting = 0, size = fcntl(write_end, F_GETPIPE_SZ);
  if (usual_size == 0) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return 0;
    usual_size = fcntl(ends[1], F_GETPIPE_SZ);
    close(ends[0]);
    close(ends[1]);
  }
  return fcntl(write_end, F_SETFL, O_WRONLY) == 0 && size == usual_size && fstat(write_end, &info) == 0 &&
         (info.st_mode & 07777) == 0600 && ioctl(read_end, FIONREAD, &waiting) == 0 && waiting == 0;
}
