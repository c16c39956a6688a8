/* A growing run of bytes with a ceiling. The owner of the struct owns the bytes.
 * data is never NULL once something was appended and always has a NUL behind the
 * last byte, so it can be read as a C string too (it may hold NULs of its own).
 *
 * Appending past the ceiling, or when no memory is left, leaves the bytes as they
 * were and marks the buffer as failed; everything after that is refused as well.
 * So a run of appends may be written without checks and be asked once, at its
 * end, with buf_check(). */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *data;
	size_t size;     /* bytes in use */
	size_t capacity; /* bytes allocated, without the NUL */
	size_t max;      /* ceiling for size */
	int failed;      /* 0, ERR_LIMIT or ERR_MEMORY */
};

#define BUF_INIT(max_bytes) ((struct buf){.max = (max_bytes)})

void buf_init(struct buf *buf, size_t max_bytes);
/* Frees the bytes; the buffer is then empty and may be used again. */
void buf_release(struct buf *buf);
/* Empties it and forgets a failure; the memory stays for the next use. */
void buf_reset(struct buf *buf);
/* Keeps the first size bytes (size <= buf->size). */
void buf_truncate(struct buf *buf, size_t size);
/* Drops the first count bytes (count <= buf->size). */
void buf_consume(struct buf *buf, size_t count);

/* These return 0 or the failure, which also stays in buf->failed. */
int buf_append(struct buf *buf, const void *bytes, size_t count);
int buf_append_str(struct buf *buf, const char *text);
int buf_append_char(struct buf *buf, char byte);
int buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
int buf_vprintf(struct buf *buf, const char *format, va_list args) PRINTF_LIKE(2, 0);
/* Room for count more bytes at data + size; the caller writes and then adds to size. */
int buf_reserve(struct buf *buf, size_t count);

/* The bytes as a C string; "" for an empty buffer. Valid until the next change. */
const char *buf_str(const struct buf *buf);
/* 0, or the failure with "<what>: larger than N bytes" or "… out of memory" in err. */
NODISCARD int buf_check(const struct buf *buf, const char *what, struct error *err);
/* Gives the bytes (never NULL, NUL behind them) to the caller, who frees them. */
char *buf_detach(struct buf *buf, size_t *size);
/* Overwrites the bytes before releasing them: for plaintext and secrets. */
void buf_wipe(struct buf *buf);

#endif
