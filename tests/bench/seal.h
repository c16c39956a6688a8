/* V2 as `floor` does it: base64 of crypto/, AES-256-GCM of OpenSSL with two contexts that are
 * keyed once. Failures end the process. */
#ifndef BENCH_SEAL_H
#define BENCH_SEAL_H

#include "base/buf.h"

#include <json-c/json.h>
#include <stddef.h>

struct seal;

struct seal *seal_new(const char *key_text);
void seal_free(struct seal *seal);
/* Appends the plaintext of an envelope. */
void seal_open(struct seal *seal, struct json_object *envelope, struct buf *out);
/* Appends {"nonce":…,"ciphertext":…,"tag":…}. */
void seal_close(struct seal *seal, const char *plain, size_t size, struct buf *out);

#endif
