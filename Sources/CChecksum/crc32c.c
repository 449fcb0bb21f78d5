// CRC-32C, reflected polynomial 0x82F63B78 (RFC 3720, appendix B.4), by the processor's
// instruction where there is one.
#include "cchecksum.h"

#include <pthread.h>
#include <string.h>

// The instruction gives its result after three cycles and can be begun in each: three blocks side by
// side take the time of one.
enum { LANE = 1024, LANES = 3 };

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static void by_lanes(uint32_t states[LANES], const uint8_t *bytes) {
  uint64_t a = states[0], b = states[1], c = states[2];
  for (size_t at = 0; at < LANE; at += 8) {
    uint64_t words[LANES];
    memcpy(&words[0], bytes + at, 8);
    memcpy(&words[1], bytes + LANE + at, 8);
    memcpy(&words[2], bytes + 2 * LANE + at, 8);
    a = _mm_crc32_u64(a, words[0]);
    b = _mm_crc32_u64(b, words[1]);
    c = _mm_crc32_u64(c, words[2]);
  }
  states[0] = (uint32_t)a, states[1] = (uint32_t)b, states[2] = (uint32_t)c;
}

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
static uint32_t by_word(uint32_t crc, const uint8_t *bytes) {
  uint64_t word;
  memcpy(&word, bytes, 8);
  __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
  return crc;
}

static void by_lanes(uint32_t states[LANES], const uint8_t *bytes) {
  for (size_t at = 0; at < LANE; at += 8)
    for (int lane = 0; lane < LANES; lane++) states[lane] = by_word(states[lane], bytes + lane * LANE + at);
}

static uint32_t by_instruction(uint32_t crc, const uint8_t *bytes, size_t count) {
  for (; count >= 8; count -= 8, bytes += 8) crc = by_word(crc, bytes);
  for (; count > 0; count--, bytes++)
    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)*bytes));
  return crc;
}
// HWCAP_CRC32 of arch/arm64/include/uapi/asm/hwcap.h.
static int has_instruction(void) { return (getauxval(AT_HWCAP) & (1ul << 7)) != 0; }
#else
static void by_lanes(uint32_t states[LANES], const uint8_t *bytes) {
  (void)states;
  (void)bytes;
}
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

// What a state becomes by LANE bytes of zero, for each value of each of its four bytes. The sum is
// linear over GF(2): these add up by exclusive or, and so do the sums of adjoining blocks.
static uint32_t shifted[4][256];
static pthread_once_t shifted_once = PTHREAD_ONCE_INIT;

static void fill_shifted(void) {
  static const uint8_t zeros[LANE];
  for (int place = 0; place < 4; place++)
    for (uint32_t value = 1; value < 256; value++) {
      uint32_t lowest = value & -value;
      shifted[place][value] = value == lowest ? by_instruction(value << (8 * place), zeros, LANE)
                                              : shifted[place][lowest] ^ shifted[place][value ^ lowest];
    }
}

static uint32_t shift(uint32_t state) {
  return shifted[0][state & 255] ^ shifted[1][state >> 8 & 255] ^ shifted[2][state >> 16 & 255] ^
         shifted[3][state >> 24];
}

static uint32_t fast(uint32_t crc, const uint8_t *bytes, size_t count) {
  if (count >= LANES * LANE) pthread_once(&shifted_once, fill_shifted);
  for (; count >= LANES * LANE; count -= LANES * LANE, bytes += LANES * LANE) {
    uint32_t states[LANES] = {crc, 0, 0};
    by_lanes(states, bytes);
    crc = shift(shift(states[0]) ^ states[1]) ^ states[2];
  }
  return by_instruction(crc, bytes, count);
}

uint32_t cchecksum_crc32c(uint32_t crc, const void *bytes, size_t count) {
  crc = ~crc;
  crc = has_instruction() ? fast(crc, bytes, count) : by_bits(crc, bytes, count);
  return ~crc;
}
