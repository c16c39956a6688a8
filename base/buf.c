#include "base/buf.h"

#include "base/mem.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN = 63 };

void buf_init(struct buf *buf, size_t max_bytes)
{
	*buf = BUF_INIT(max_bytes);
}

void buf_release(struct buf *buf)
{
	free(buf->data);
	*buf = BUF_INIT(buf->max);
}

void buf_reset(struct buf *buf)
{
	buf_truncate(buf, 0);
	buf->failed = 0;
}

void buf_truncate(struct buf *buf, size_t size)
{
	assert(size <= buf->size);
	buf->size = size;
	if (buf->data)
		buf->data[size] = '\0';
}

void buf_consume(struct buf *buf, size_t count)
{
	assert(count <= buf->size);
	if (count == 0)
		return;
	memmove(buf->data, buf->data + count, buf->size - count);
	buf_truncate(buf, buf->size - count);
}

static int grow(struct buf *buf, size_t needed)
{
	size_t capacity = buf->capacity <= SIZE_MAX / 2 ? buf->capacity * 2 : SIZE_MAX;
	char *data;

	if (capacity < CAPACITY_MIN)
		capacity = CAPACITY_MIN;
	if (capacity > buf->max)
		capacity = buf->max;
	if (capacity < needed)
		capacity = needed;
	if (capacity == SIZE_MAX || !(data = realloc(buf->data, capacity + 1)))
		return buf->failed = ERR_MEMORY;
	buf->data = data;
	buf->capacity = capacity;
	data[buf->size] = '\0';
	return 0;
}

int buf_reserve(struct buf *buf, size_t count)
{
	if (buf->failed)
		return buf->failed;
	/* size may stand above max when the owner lowered max later. */
	if (buf->size > buf->max || count > buf->max - buf->size)
		return buf->failed = ERR_LIMIT;
	if (buf->data && count <= buf->capacity - buf->size)
		return 0;
	return grow(buf, buf->size + count);
}

int buf_append(struct buf *buf, const void *bytes, size_t count)
{
	int code = buf_reserve(buf, count);

	if (code)
		return code;
	if (count)
		memcpy(buf->data + buf->size, bytes, count);
	buf->size += count;
	buf->data[buf->size] = '\0';
	return 0;
}

int buf_append_str(struct buf *buf, const char *text)
{
	return buf_append(buf, text, strlen(text));
}

int buf_append_char(struct buf *buf, char byte)
{
	if (buf->failed || buf->size >= buf->capacity || buf->size >= buf->max)
		return buf_append(buf, &byte, 1);
	buf->data[buf->size++] = byte;
	buf->data[buf->size] = '\0';
	return 0;
}

int buf_vprintf(struct buf *buf, const char *format, va_list args)
{
	va_list again;
	int size, code;

	if (buf->failed)
		return buf->failed;
	va_copy(again, args);
	size = vsnprintf(NULL, 0, format, args);
	code = size < 0 ? (buf->failed = ERR_MEMORY) : buf_reserve(buf, (size_t)size);
	if (code == 0) {
		(void)vsnprintf(buf->data + buf->size, (size_t)size + 1, format, again);
		buf->size += (size_t)size;
	}
	va_end(again);
	return code;
}

int buf_printf(struct buf *buf, const char *format, ...)
{
	va_list args;
	int code;

	va_start(args, format);
	code = buf_vprintf(buf, format, args);
	va_end(args);
	return code;
}

const char *buf_str(const struct buf *buf)
{
	return buf->data ? buf->data : "";
}

int buf_check(const struct buf *buf, const char *what, struct error *err)
{
	if (buf->failed == ERR_LIMIT)
		return error_set(err, ERR_LIMIT, "%s: larger than %zu bytes", what, buf->max);
	if (buf->failed)
		return error_set(err, buf->failed, "%s: out of memory", what);
	return 0;
}

char *buf_detach(struct buf *buf, size_t *size)
{
	char *data = buf->data ? buf->data : mem_calloc(1, 1);

	if (size)
		*size = buf->size;
	*buf = BUF_INIT(buf->max);
	return data;
}

void buf_wipe(struct buf *buf)
{
	if (buf->data)
		explicit_bzero(buf->data, buf->capacity + 1);
	buf_release(buf);
}
