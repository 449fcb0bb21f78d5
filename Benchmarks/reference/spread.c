// spread FROM TO PIECE [HOW]: rank 0 reads the file FROM, every other rank gets it and writes it to
// TO; PIECE bytes at a time, each with its CRC-32C, which every receiver checks. HOW is "bcast"
// (MPI_Bcast, the default) or "send" (one receiver, four pieces on their way; before the time is taken,
// rank 0 makes a copy at TO and reads that, as who sends what a task has made does). Rank 0 prints
// the seconds from when all are ready to when all have written.
#define _GNU_SOURCE
#include <fcntl.h>
#include <mpi.h>
#include <nmmintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WINDOW = 4 };

__attribute__((target("sse4.2"))) static uint32_t sum(const uint8_t *bytes, size_t count) {
  uint64_t crc = 0xffffffff;
  for (; count >= 8; count -= 8, bytes += 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    crc = _mm_crc32_u64(crc, word);
  }
  while (count-- > 0) crc = _mm_crc32_u8((uint32_t)crc, *bytes++);
  return ~(uint32_t)crc;
}

static void fail(const char *what) {
  perror(what);
  MPI_Abort(MPI_COMM_WORLD, 1);
}

static void take(int file, uint8_t *piece, size_t count, off_t at) {
  if (pread(file, piece, count, at) != (ssize_t)count) fail("read");
  uint32_t crc = sum(piece, count);
  memcpy(piece + count, &crc, 4);
}

static void put(int file, const uint8_t *piece, size_t count, off_t at) {
  uint32_t crc;
  memcpy(&crc, piece + count, 4);
  if (crc != sum(piece, count)) fail("sum");
  if (pwrite(file, piece, count, at) != (ssize_t)count) fail("write");
}

// A copy of `from`, open for reading.
static int copy(const char *from, const char *to) {
  int source = open(from, O_RDONLY), target = open(to, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (source < 0 || target < 0) fail("open");
  static uint8_t bytes[1 << 20];
  ssize_t size;
  while ((size = read(source, bytes, sizeof bytes)) > 0)
    if (write(target, bytes, (size_t)size) != size) fail("copy");
  if (size < 0) fail("copy");
  close(source);
  return target;
}

int main(int count, char **words) {
  MPI_Init(&count, &words);
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (count < 4) return 2;
  size_t size = (size_t)atol(words[3]);
  int isSend = count > 4 && strcmp(words[4], "send") == 0;
  int file = rank > 0 ? open(words[2], O_RDWR | O_CREAT | O_TRUNC, 0600)
           : isSend   ? copy(words[1], words[2])
                      : open(words[1], O_RDONLY);
  if (file < 0) fail("open");
  struct stat info = {0};
  if (rank == 0 && fstat(file, &info)) fail("stat");
  int64_t total = info.st_size;
  MPI_Bcast(&total, 1, MPI_INT64_T, 0, MPI_COMM_WORLD);
  uint8_t *pieces[WINDOW];
  for (int i = 0; i < WINDOW; i++) pieces[i] = aligned_alloc(4096, size + 4096);
  MPI_Barrier(MPI_COMM_WORLD);
  double start = MPI_Wtime();
  int64_t number = (total + (int64_t)size - 1) / (int64_t)size;
  if (!isSend) {
    for (int64_t i = 0; i < number; i++) {
      int64_t at = i * (int64_t)size;
      size_t length = (size_t)(total - at < (int64_t)size ? total - at : (int64_t)size);
      if (rank == 0) take(file, pieces[0], length, at);
      MPI_Bcast(pieces[0], (int)length + 4, MPI_BYTE, 0, MPI_COMM_WORLD);
      if (rank != 0) put(file, pieces[0], length, at);
    }
  } else {
    MPI_Request requests[WINDOW];
    for (int64_t i = 0; i < number + WINDOW; i++) {
      int slot = (int)(i % WINDOW);
      if (i >= WINDOW && i - WINDOW < number) {
        MPI_Wait(&requests[slot], MPI_STATUS_IGNORE);
        int64_t at = (i - WINDOW) * (int64_t)size;
        if (rank == 1) put(file, pieces[slot], (size_t)(total - at < (int64_t)size ? total - at : (int64_t)size), at);
      }
      if (i >= number) continue;
      int64_t at = i * (int64_t)size;
      size_t length = (size_t)(total - at < (int64_t)size ? total - at : (int64_t)size);
      if (rank == 0) take(file, pieces[slot], length, at);
      if (rank == 0) MPI_Isend(pieces[slot], (int)length + 4, MPI_BYTE, 1, 0, MPI_COMM_WORLD, &requests[slot]);
      if (rank == 1) MPI_Irecv(pieces[slot], (int)length + 4, MPI_BYTE, 0, 0, MPI_COMM_WORLD, &requests[slot]);
    }
  }
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 0) printf("%.6f\n", MPI_Wtime() - start);
  if (rank != 0 || isSend) unlink(words[2]);
  MPI_Finalize();
  return 0;
}
