/* Randomness from OpenSSL's generator, which reseeds after fork. A generator that fails
 * ends the process: nothing that needs randomness may go on without it. */
#ifndef CRYPTO_RANDOM_H
#define CRYPTO_RANDOM_H

#include <stddef.h>
#include <stdint.h>

enum { UUID_TEXT_SIZE = 37 };

void random_bytes(void *out, size_t size);
/* Uniform in 0 … limit - 1; limit >= 1. */
uint64_t random_below(uint64_t limit);
/* A random UUID (RFC 9562, version 4), lower case. A name, no secret: its bytes are drawn with those
 * of others, so a fork would have the same ones. */
void random_uuid(char text[UUID_TEXT_SIZE]);

#endif
