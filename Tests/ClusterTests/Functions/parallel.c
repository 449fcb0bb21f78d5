// Parallel functions: each rank of the gang calls them with the communicator.
#include <mpi.h>
#include <stdlib.h>
#include <vine_function.h>

// sum(x): place by place in the communicator, x + place from each; all get the sum.
int sum(MPI_Comm communicator, vine_call *call) {
  int rank, size, mine, all = 0;
  MPI_Comm_rank(communicator, &rank);
  MPI_Comm_size(communicator, &size);
  mine = atoi(call->arguments + 1) + rank;
  if (MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_SUM, communicator) != MPI_SUCCESS)
    return vine_fail(call, "no sum");
  return vine_printf(call, "[%d,%d,%d]", rank, size, all);
}

// odd(): fails on the second rank of the communicator.
int odd(MPI_Comm communicator, vine_call *call) {
  int rank;
  MPI_Comm_rank(communicator, &rank);
  MPI_Barrier(communicator);
  if (rank == 1) return vine_fail(call, "rank %d has had enough", rank);
  return vine_printf(call, "%d", rank);
}
