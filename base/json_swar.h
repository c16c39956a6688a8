/* Looking for bytes of a JSON text eight at a time, in plain C. A find marks the top bit of each
 * byte that is what is looked for; above a marked byte the subtraction may have borrowed and
 * marked one without reason, so only the lowest mark counts. Nobody but json_*.c includes this. */
#ifndef BASE_JSON_SWAR_H
#define BASE_JSON_SWAR_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define JSON_SWAR_ONES UINT64_C(0x0101010101010101)
#define JSON_SWAR_TOPS UINT64_C(0x8080808080808080)

/* The first byte is the lowest. */
static inline uint64_t json_swar_load(const char *at)
{
	uint64_t word;
	memcpy(&word, at, sizeof word);
	return le64toh(word);
}

static inline uint64_t json_swar_find(uint64_t word, char c)
{
	uint64_t zeros = word ^ (JSON_SWAR_ONES * (unsigned char)c);
	return (zeros - JSON_SWAR_ONES) & ~zeros & JSON_SWAR_TOPS;
}

/* marks is not 0. */
static inline size_t json_swar_first(uint64_t marks)
{
	return (size_t)__builtin_ctzll(marks) / 8;
}

#endif
