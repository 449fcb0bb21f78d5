// What Swift cannot see of MPI: its handles are macros, and their types differ between libraries
// (pointers in Open MPI, integers in MPICH). One-member structs hide that; calls return MPI's
// error code. MPI 3.1 is the floor.
#ifndef CMPI_H
#define CMPI_H

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef OPEN_MPI
#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif
#endif

typedef struct { MPI_Comm handle; } cmpi_comm;
typedef struct { MPI_Request handle; } cmpi_request;

static inline int cmpi_success(void) { return MPI_SUCCESS; }
static inline cmpi_comm cmpi_world(void) { return (cmpi_comm){MPI_COMM_WORLD}; }
static inline cmpi_request cmpi_request_null(void) { return (cmpi_request){MPI_REQUEST_NULL}; }

// Only the loop thread of a rank calls MPI (MPI_THREAD_FUNNELED, MPI 3.1 section 12.4), unless
// functions that use MPI are to run beside it (MPI_THREAD_MULTIPLE): `are_threads_many`, which
// then tells whether this MPI allows it.
static inline int cmpi_init(int *are_threads_many) {
  int wanted = *are_threads_many ? MPI_THREAD_MULTIPLE : MPI_THREAD_FUNNELED, provided = 0;
  int code = MPI_Init_thread(NULL, NULL, wanted, &provided);
  *are_threads_many = wanted == MPI_THREAD_MULTIPLE && provided >= MPI_THREAD_MULTIPLE;
  return code;
}
static inline int cmpi_finalize(void) { return MPI_Finalize(); }

static inline int cmpi_rank(cmpi_comm comm) { int rank = -1; MPI_Comm_rank(comm.handle, &rank); return rank; }
static inline int cmpi_size(cmpi_comm comm) { int size = 0; MPI_Comm_size(comm.handle, &size); return size; }

// An error is an event for us, never the end of the job.
static inline int cmpi_return_errors(cmpi_comm comm) {
  return MPI_Comm_set_errhandler(comm.handle, MPI_ERRORS_RETURN);
}
static inline int cmpi_dup(cmpi_comm comm, cmpi_comm *copy) { return MPI_Comm_dup(comm.handle, &copy->handle); }

// The ranks of `comm` that share memory with the caller, ascending; `ranks` has room for `room`.
static inline int cmpi_ranks_of_node(cmpi_comm comm, int *ranks, int room, int *count) {
  MPI_Comm node;
  int code = MPI_Comm_split_type(comm.handle, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  if (code != MPI_SUCCESS) return code;
  MPI_Group here, all;
  MPI_Comm_group(node, &here);
  MPI_Comm_group(comm.handle, &all);
  int size = 0;
  MPI_Comm_size(node, &size);
  *count = size < room ? size : room;
  int *local = malloc(sizeof(int) * (size_t)size);
  if (!local) return MPI_ERR_NO_MEM;
  for (int i = 0; i < size; i++) local[i] = i;
  code = MPI_Group_translate_ranks(here, *count, local, all, ranks);
  free(local);
  MPI_Group_free(&here);
  MPI_Group_free(&all);
  MPI_Comm_free(&node);
  return code;
}

// `source` -1 receives from anybody.
static inline int cmpi_irecv(void *buffer, int count, int source, int tag, cmpi_comm comm, cmpi_request *request) {
  return MPI_Irecv(buffer, count, MPI_BYTE, source < 0 ? MPI_ANY_SOURCE : source, tag, comm.handle, &request->handle);
}
static inline int cmpi_isend(const void *buffer, int count, int destination, int tag, cmpi_comm comm, cmpi_request *request) {
  return MPI_Isend(buffer, count, MPI_BYTE, destination, tag, comm.handle, &request->handle);
}
// `flag` tells whether it completed; then `source` and `count` say what came.
static inline int cmpi_test(cmpi_request *request, int *flag, int *source, int *count) {
  MPI_Status status;
  int code = MPI_Test(&request->handle, flag, &status);
  if (code == MPI_SUCCESS && *flag) {
    *source = status.MPI_SOURCE;
    MPI_Get_count(&status, MPI_BYTE, count);
  }
  return code;
}
// ---- Lost peers, where the MPI tells (ULFM) ----

// Open MPI 5 alone: MPICH declares the same calls, but its ch4 devices stop the process in them.
#if defined(OMPI_HAVE_MPI_EXT_FTMPI) && defined(MPIX_ERR_PROC_FAILED)
#define CMPI_HAS_ULFM 1
#endif

// Whether a receive from anybody met a lost peer, yet is still posted and may match another.
static inline int cmpi_is_still_posted(int code) {
#ifdef CMPI_HAS_ULFM
  int class = MPI_SUCCESS;
  MPI_Error_class(code, &class);
  return class == MPIX_ERR_PROC_FAILED_PENDING;
#else
  (void)code;
  return 0;
#endif
}
// Takes note of all peers that MPI knows to be lost, so that receives from anybody work again;
// writes their ranks and returns how many there are.
static inline int cmpi_acknowledge_lost(cmpi_comm comm, int *ranks, int room) {
#ifdef CMPI_HAS_ULFM
  MPI_Group lost, all;
  if (MPIX_Comm_failure_ack(comm.handle) != MPI_SUCCESS) return 0;
  if (MPIX_Comm_failure_get_acked(comm.handle, &lost) != MPI_SUCCESS) return 0;
  MPI_Comm_group(comm.handle, &all);
  int count = 0;
  MPI_Group_size(lost, &count);
  if (count > room) count = room;
  for (int i = 0; i < count; i++) MPI_Group_translate_ranks(lost, 1, &i, all, &ranks[i]);
  MPI_Group_free(&lost);
  MPI_Group_free(&all);
  return count;
#else
  (void)comm;
  (void)ranks;
  (void)room;
  return 0;
#endif
}
// Gives up a receive that nothing will match.
static inline void cmpi_abandon(cmpi_request *request) {
  MPI_Cancel(&request->handle);
  MPI_Request_free(&request->handle);
}
// Takes back a posted receive before MPI_Finalize, which wants none left (MPI 3.1 section 8.7).
static inline void cmpi_withdraw(cmpi_request *request) {
  MPI_Cancel(&request->handle);
  MPI_Wait(&request->handle, MPI_STATUS_IGNORE);
}
static inline int cmpi_tag_max(cmpi_comm comm) {
  void *value = NULL;
  int flag = 0;
  MPI_Comm_get_attr(comm.handle, MPI_TAG_UB, &value, &flag);
  return flag && value ? *(int *)value : 32767;  // the least that MPI 3.1 section 8.1.2 allows
}
// ---- Parallel functions ----

// Calls `function`, an int(MPI_Comm, void *), with a communicator of `ranks` of MPI_COMM_WORLD, which
// all call this with the same ranks and tag; its status, or 1 with an error.
static inline int cmpi_run_gang(void *function, void *call, const int *ranks, int count, int tag, char *error) {
  MPI_Group all, some;
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_group(MPI_COMM_WORLD, &all);
  int code = MPI_Group_incl(all, count, ranks, &some);
  MPI_Group_free(&all);
  if (code == MPI_SUCCESS) {
    code = MPI_Comm_create_group(MPI_COMM_WORLD, some, tag, &comm);
    MPI_Group_free(&some);
  }
  if (code != MPI_SUCCESS || comm == MPI_COMM_NULL) {
    static const char text[] = "cannot make the communicator of the gang: ";
    char reason[MPI_MAX_ERROR_STRING] = "this rank is not in it";
    int length = 0;
    if (code != MPI_SUCCESS) MPI_Error_string(code, reason, &length);
    snprintf(error, 1024, "%s%s", text, reason);
    return 1;
  }
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
  int status = ((int (*)(MPI_Comm, void *))function)(comm, call);
  MPI_Comm_free(&comm);
  return status;
}
// Text of an error code; `text` has room for `cmpi_error_room()` bytes.
static inline int cmpi_error_room(void) { return MPI_MAX_ERROR_STRING; }
static inline void cmpi_error_text(int code, char *text) {
  int length = 0;
  MPI_Error_string(code, text, &length);
  text[length < MPI_MAX_ERROR_STRING ? length : MPI_MAX_ERROR_STRING - 1] = 0;
}
static inline int cmpi_library_room(void) { return MPI_MAX_LIBRARY_VERSION_STRING; }
static inline void cmpi_library_version(char *text) {
  int length = 0;
  MPI_Get_library_version(text, &length);
}

#endif
