/* Functions that vine-mpi calls in a shared object: C, C++ (extern "C"), Fortran (bind(C), with
 * vine_function.f90), Rust (extern "C"), Swift (@_cdecl, linked with -static-stdlib).
 *
 *     #include <vine_function.h>
 *     int add(vine_call *call) {
 *       double a, b;
 *       if (sscanf(call->arguments, "[%lf,%lf]", &a, &b) != 2) return vine_fail(call, "two numbers, please");
 *       return vine_printf(call, "%.17g", a + b);
 *     }
 *
 * A function reads the text of a JSON array, its arguments, and leaves the text of one JSON value, its
 * result. It returns 0, or another number if it failed. Whatever the call points to belongs to the
 * host and lasts until the function returns.
 *
 * NAME_setup, if exported, is called once before NAME is called first, with no arguments; what it
 * leaves in call->context is there in each call of NAME. NAME_teardown(context), if exported, is
 * called when the instance ends in order. The context function of the library is called before all
 * of them, with the arguments that the workflow gives it; the context that it leaves is that of all
 * functions without a set-up of their own.
 *
 * A parallel function of a gang has the ranks' communicator as its first argument:
 *
 *     int solve(MPI_Comm communicator, vine_call *call);
 *
 * Its result is the one of rank 0 of the communicator.
 *
 * Include <stdio.h> first for vine_printf and vine_fail with values in their texts. */
#ifndef VINE_FUNCTION_H
#define VINE_FUNCTION_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define VINE_FUNCTION_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vine_call {
  uint32_t version;         /* VINE_FUNCTION_VERSION of the host */
  uint32_t is_bytes;        /* set to 1 by the function: the result is not JSON, but bytes, which
                               others see as {"$bytes": BASE64} */
  void *context;            /* see above */
  const char *arguments;    /* a JSON array; a NUL is behind it */
  size_t argument_count;    /* its bytes, without the NUL */
  char *result;             /* to be written */
  size_t result_count;      /* bytes written; 0 stands for null */
  size_t result_room;       /* bytes that fit; at least 4096 */
  char *error;              /* text of a failure, ended by NUL */
  size_t error_room;        /* bytes that fit, the NUL too; at least 1024 */
  const char *directory;    /* where the files of the call are; NULL without files */
  /* Makes room for `room` bytes at `result`, keeps what is there; NULL if there is no memory. */
  char *(*reserve)(struct vine_call *call, size_t room);
  void *host;               /* the host's own */
} vine_call;

/* Appends `count` bytes to the result; 0, or -1 with an error. */
static inline int vine_put(vine_call *call, const void *bytes, size_t count) {
  if (count > call->result_room - call->result_count &&
      !call->reserve(call, call->result_count + count)) {
    snprintf(call->error, call->error_room, "no memory for a result of %zu bytes", call->result_count + count);
    return -1;
  }
  memcpy(call->result + call->result_count, bytes, count);
  call->result_count += count;
  return 0;
}

/* Appends to the result as printf(3) does; 0, or -1 with an error. */
#ifdef __GNUC__
__attribute__((format(printf, 2, 3)))
#endif
static inline int vine_printf(vine_call *call, const char *format, ...) {
  for (;;) {
    size_t room = call->result_room - call->result_count;
    va_list values;
    va_start(values, format);
    int count = vsnprintf(call->result + call->result_count, room, format, values);
    va_end(values);
    if (count < 0) break;
    if ((size_t)count < room) {
      call->result_count += (size_t)count;
      return 0;
    }
    if (!call->reserve(call, call->result_count + (size_t)count + 1)) break;
  }
  snprintf(call->error, call->error_room, "cannot write the result");
  return -1;
}

/* The error text, as printf(3) writes it; returns 1, for `return vine_fail(...)`. */
#ifdef __GNUC__
__attribute__((format(printf, 2, 3)))
#endif
static inline int vine_fail(vine_call *call, const char *format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(call->error, call->error_room, format, values);
  va_end(values);
  return 1;
}

#ifdef __cplusplus
}
#endif
#endif
