// Serving calls of a shared object: the frames of HostFrames.swift in, reports out. Used by the
// program vine-host and, inside a rank, by its function thread.
#ifndef CVINEHOST_H
#define CVINEHOST_H

#include <stddef.h>
#include <stdint.h>

#include "vine_function.h"

// ---- JSON texts (json.c) ----

enum { VINE_JSON_DEPTH_MAX = 1024 };

// The end of the value that begins at `at`, behind white space; 0 where there is none. A value is
// checked whole: syntax, numbers, escapes, UTF-8, depth.
size_t vine_json_value_end(const char *text, size_t count, size_t at);
// Whether the text is one value, with white space around it at most.
int vine_json_is_value(const char *text, size_t count);
// Where the next element of an array begins and ends: 1 and `start`, `end`; 0 behind the last one; -1
// if the text is no array. `*at` is 0 at first and moves on.
int vine_json_next_element(const char *text, size_t count, size_t *at, size_t *start, size_t *end);
// Finds the texts of "args" and "kwargs" in the arguments of a call; 0 or -1.
int vine_json_find_arguments(const char *text, size_t count, size_t *args, size_t *args_end, size_t *kwargs,
                             size_t *kwargs_end);

// A template with places for an item.
struct vine_template {
  const char *text;  // the caller's
  size_t count;
  size_t *holes;     // start and end of each
  size_t hole_count;
};
// Finds each {"$item": true}; 0, or -1 if the text is no value or there is no memory.
int vine_template_parse(struct vine_template *result, const char *text, size_t count);
void vine_template_free(struct vine_template *);

// ---- Bytes that grow (json.c) ----

struct vine_bytes {
  char *at;
  size_t count, room;
};
// Makes room for `more` bytes; 0, or -1 without memory.
int vine_bytes_reserve(struct vine_bytes *, size_t more);
int vine_bytes_add(struct vine_bytes *, const void *bytes, size_t count);
// Replaces the content by the template with `item` in its holes.
int vine_template_fill(const struct vine_template *, const char *item, size_t item_count, struct vine_bytes *result);

// ---- Serving (serve.c) ----

// CLOCK_MONOTONIC in nanoseconds.
int64_t vine_now(void);

// The way to the rank.
struct vine_port {
  void *owner;
  // Reads up to `room` bytes, waiting for some or not; 0: no more will come; -1: nothing there yet.
  long (*receive)(void *owner, char *bytes, size_t room, int waits);
  // Sends all; not 0: nobody is left to serve.
  int (*send)(void *owner, const char *bytes, size_t count);
  // Runs a function of a gang over a communicator of `ranks`; `error` has room for 1024 bytes. NULL
  // where there is no MPI.
  int (*run_gang)(void *function, vine_call *call, const int *ranks, int count, int tag, char *error);
  // Says which call begins, CLOCK_MONOTONIC in nanoseconds; a time of 0: it has ended. May be NULL.
  void (*tell_running)(void *owner, uint64_t number, int64_t since);
  // Whether this process is the library's alone: then calls with files run in their directory.
  int owns_process;
};
// Serves one library until it is told to stop; the program's exit status.
int vine_serve(const struct vine_port *port);

// ---- The function thread of a rank (thread.c) ----

struct vine_thread;
// Starts it; `event` (eventfd(2)) becomes readable with reports. NULL without memory or thread.
// When it has served calls, it looks for more for `looking` nanoseconds before it sleeps: to be woken
// takes longer than a short call.
struct vine_thread *vine_thread_start(int event, int64_t looking,
                                      int (*run_gang)(void *, vine_call *, const int *, int, int, char *));
// Hands bytes of frames over; 0, or -1 without memory.
int vine_thread_send(struct vine_thread *, const char *bytes, size_t count);
// Takes reports that are there, up to `room` bytes; with none, 0, or -1 once the thread has ended.
long vine_thread_take(struct vine_thread *, char *bytes, size_t room);
// The number of the call that runs and since when, CLOCK_MONOTONIC in nanoseconds; 0 if none.
int vine_thread_running(struct vine_thread *, uint64_t *number, int64_t *since);
// Waits for the end of a thread that was told to stop, `milliseconds` at most, and frees it: 0, or -1
// when it is still busy; then it is left alone.
int vine_thread_join(struct vine_thread *, int milliseconds);

#endif
