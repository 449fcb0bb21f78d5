// CRC-32C, reflected polynomial 0x82F63B78 (RFC 3720, appendix B.4), by the processor's
// instruction where there is one.
#include "cchecksum.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *bytes, size_t count) {
  uint64_t state = crc;
  for (; count >= 8; count -= 8, bytes += 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    state = _mm_crc32_u64(state, word);
  }
  crc = (uint32_t)state;
  for (; count > 0; count--) crc = _mm_crc32_u8(crc, *bytes++);
  return crc;
}
static int has_instruction(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

// Written out, since compilers know the instruction only where all code may use it.
static uint32_t by_instruction(uint32_t crc, const uint8_t *bytes, size_t count) {
  for (; count >= 8; count -= 8, bytes += 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
  }
  for (; count > 0; count--, bytes++)
    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)*bytes));
  return crc;
}
// HWCAP_CRC32 of arch/arm64/include/uapi/asm/hwcap.h.
static int has_instruction(void) { return (getauxval(AT_HWCAP) & (1ul << 7)) != 0; }
#else
static uint32_t by_instruction(uint32_t crc, const uint8_t *bytes, size_t count) {
  (void)bytes;
  (void)count;
  return crc;
}
static int has_instruction(void) { return 0; }
#endif

static uint32_t by_bits(uint32_t crc, const uint8_t *bytes, size_t count) {
  for (; count > 0; count--) {
    crc ^= *bytes++;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
  }
  return crc;
}

uint32_t cchecksum_crc32c(uint32_t crc, const void *bytes, size_t count) {
  crc = ~crc;
  crc = has_instruction() ? by_instruction(crc, bytes, count) : by_bits(crc, bytes, count);
  return ~crc;
}
