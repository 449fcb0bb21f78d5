print("vine-mpi")
