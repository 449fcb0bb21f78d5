// Checksums: pure computation, so that the core may use them too.
#ifndef CCHECKSUM_H
#define CCHECKSUM_H

#include <stddef.h>
#include <stdint.h>

// CRC-32C (Castagnoli) of `count` bytes, continuing from `crc` (0 at first).
uint32_t cchecksum_crc32c(uint32_t crc, const void *bytes, size_t count);

#endif
