// The function thread of a rank: calls of one library beside the loop, in the rank's own memory.
#define _GNU_SOURCE
#include "cvinehost.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct vine_thread {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t has_input;
  struct vine_bytes in, out;   // from and to the loop
  size_t in_taken, out_taken;
  int is_waiting, has_ended;
  int has_more;                // input, seen without the lock
  int event;
  int64_t looking;
  uint64_t number;             // of the call that runs,
  int64_t since;               // if this is not 0
  struct vine_port port;
};

static size_t take(struct vine_bytes *bytes, size_t *taken, char *to, size_t room) {
  size_t count = bytes->count - *taken;
  if (count > room) count = room;
  memcpy(to, bytes->at + *taken, count);
  *taken += count;
  if (*taken == bytes->count) {
    bytes->count = *taken = 0;
    if (bytes->room > 4 << 20) {
      free(bytes->at);
      *bytes = (struct vine_bytes){0};
    }
  }
  return count;
}

// Libraries are not made for several threads: those of one rank take turns.
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static long receive(void *owner, char *bytes, size_t room, int waits) {
  struct vine_thread *thread = owner;
  if (waits) {
    pthread_mutex_unlock(&turn);
    int64_t until = vine_now() + thread->looking;
    while (__atomic_load_n(&thread->has_more, __ATOMIC_RELAXED) == 0 && vine_now() < until) sched_yield();
  }
  pthread_mutex_lock(&thread->lock);
  while (thread->in.count == 0 && waits) {
    thread->is_waiting = 1;
    pthread_cond_wait(&thread->has_input, &thread->lock);
    thread->is_waiting = 0;
  }
  long count = thread->in.count == 0 ? -1 : (long)take(&thread->in, &thread->in_taken, bytes, room);
  __atomic_store_n(&thread->has_more, thread->in.count > 0, __ATOMIC_RELAXED);
  pthread_mutex_unlock(&thread->lock);
  if (waits) pthread_mutex_lock(&turn);
  return count;
}

static int send_all(void *owner, const char *bytes, size_t count) {
  struct vine_thread *thread = owner;
  pthread_mutex_lock(&thread->lock);
  int was_empty = thread->out.count == 0;
  int error = vine_bytes_add(&thread->out, bytes, count);
  pthread_mutex_unlock(&thread->lock);
  uint64_t one = 1;
  if (was_empty) (void)!write(thread->event, &one, sizeof one);
  return error;
}

static void tell_running(void *owner, uint64_t number, int64_t since) {
  struct vine_thread *thread = owner;
  __atomic_store_n(&thread->number, number, __ATOMIC_RELAXED);
  __atomic_store_n(&thread->since, since, __ATOMIC_RELEASE);
}

static void *body(void *argument) {
  struct vine_thread *thread = argument;
  pthread_mutex_lock(&turn);
  vine_serve(&thread->port);
  pthread_mutex_unlock(&turn);
  pthread_mutex_lock(&thread->lock);
  thread->has_ended = 1;
  pthread_mutex_unlock(&thread->lock);
  uint64_t one = 1;
  (void)!write(thread->event, &one, sizeof one);
  return NULL;
}

struct vine_thread *vine_thread_start(int event, int64_t looking,
                                      int (*run_gang)(void *, vine_call *, const int *, int, int, char *)) {
  struct vine_thread *thread = calloc(1, sizeof *thread);
  if (!thread) return NULL;
  pthread_mutex_init(&thread->lock, NULL);
  pthread_cond_init(&thread->has_input, NULL);
  thread->event = event;
  thread->looking = looking;
  thread->port = (struct vine_port){
      .owner = thread, .receive = receive, .send = send_all, .run_gang = run_gang, .tell_running = tell_running};
  // Signals are the loop's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  // Fortran likes large automatic arrays.
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 20);
  int error = pthread_create(&thread->thread, &attributes, body, thread);
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0) return thread;
  free(thread);
  return NULL;
}

int vine_thread_send(struct vine_thread *thread, const char *bytes, size_t count) {
  pthread_mutex_lock(&thread->lock);
  int error = vine_bytes_add(&thread->in, bytes, count);
  __atomic_store_n(&thread->has_more, 1, __ATOMIC_RELAXED);
  if (thread->is_waiting) pthread_cond_signal(&thread->has_input);
  pthread_mutex_unlock(&thread->lock);
  return error;
}

long vine_thread_take(struct vine_thread *thread, char *bytes, size_t room) {
  pthread_mutex_lock(&thread->lock);
  long count = (long)take(&thread->out, &thread->out_taken, bytes, room);
  if (count == 0 && thread->has_ended) count = -1;
  pthread_mutex_unlock(&thread->lock);
  return count;
}

int vine_thread_running(struct vine_thread *thread, uint64_t *number, int64_t *since) {
  *since = __atomic_load_n(&thread->since, __ATOMIC_ACQUIRE);
  *number = __atomic_load_n(&thread->number, __ATOMIC_RELAXED);
  return *since != 0;
}

int vine_thread_join(struct vine_thread *thread, int milliseconds) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += milliseconds / 1000;
  until.tv_nsec += (long)(milliseconds % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  if (pthread_timedjoin_np(thread->thread, NULL, &until) != 0) return -1;
  free(thread->in.at);
  free(thread->out.at);
  pthread_mutex_destroy(&thread->lock);
  pthread_cond_destroy(&thread->has_input);
  free(thread);
  return 0;
}
