/* XXH3 (xxHash, 64 bits): finds what changed by accident and spreads keys, at the speed of memory.
 * No protection from anybody who means it: that is crypto/digest.h. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *bytes, size_t size, uint64_t seed);

#endif
