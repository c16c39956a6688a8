#include "agent/http_headers.h"

#include "base/mem.h"
#include "base/str.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { GROWTH = 8 };

void http_headers_add(struct http_headers *headers, const char *name, const char *value)
{
	assert(str_is_token(name, strlen(name)));
	assert(str_is_header_value(value, strlen(value)));
	if (headers->count % GROWTH == 0)
		headers->items = mem_realloc_array(headers->items, headers->count + GROWTH,
						   sizeof headers->items[0]);
	size_t name_size = strlen(name) + 1;
	size_t value_size = strlen(value) + 1;
	struct http_header *header = &headers->items[headers->count++];
	header->name = mem_realloc_array(NULL, name_size + value_size, 1);
	header->value = header->name + name_size;
	memcpy(header->name, name, name_size);
	memcpy(header->value, value, value_size);
}

const char *http_headers_get(const struct http_headers *headers, const char *name)
{
	for (size_t i = 0; i < headers->count; i++) {
		if (str_equal_nocase(headers->items[i].name, name))
			return headers->items[i].value;
	}
	return NULL;
}

void http_headers_remove(struct http_headers *headers, const char *name)
{
	size_t kept = 0;
	for (size_t i = 0; i < headers->count; i++) {
		if (str_equal_nocase(headers->items[i].name, name)) {
			free(headers->items[i].name);
		} else {
			headers->items[kept++] = headers->items[i];
		}
	}
	headers->count = kept;
}

void http_headers_copy(const struct http_headers *from, struct http_headers *to)
{
	for (size_t i = 0; i < from->count; i++)
		http_headers_add(to, from->items[i].name, from->items[i].value);
}

void http_headers_release(struct http_headers *headers)
{
	for (size_t i = 0; i < headers->count; i++)
		free(headers->items[i].name);
	free(headers->items);
	*headers = (struct http_headers){0};
}
