/* The plain payload of a command: which request to make. Parsed once, with every problem
 * found named by its path, then read only. */
#ifndef AGENT_PAYLOAD_H
#define AGENT_PAYLOAD_H

#include "agent/http.h"
#include "base/problems.h"
#include "base/url.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

struct payload_limits {
	int64_t default_timeout_ms;
	int64_t max_timeout_ms;
	int64_t default_redirects;
	bool is_timeout_honoured; /* the legacy action has no timeout of its own */
};

struct payload {
	char *method; /* upper case */
	struct url url;
	struct http_headers headers; /* as they go out, Content-Type included */
	int64_t timeout_ms;
	bool ignore_tls_certificate;
	int max_redirects;
	enum http_body_kind body_kind;
	struct json_object *raw; /* HTTP_BODY_BYTES: a string of json, which may be large … */
	struct buf body;         /* … or NULL, and the bytes are here */
	struct http_part *parts; /* HTTP_BODY_FORM; their texts are in form_texts */
	size_t part_count;
	char **form_texts;
	size_t form_text_count;
};

/* Fills payload from json (any value), of which it may keep a part. With problems found it is empty. */
NODISCARD int payload_parse(struct json_object *json, const struct payload_limits *limits,
			    struct payload *payload, struct problems *problems);
/* The bytes of HTTP_BODY_BYTES; as long as payload lives. */
const char *payload_body(const struct payload *payload, size_t *size);
size_t payload_body_size(const struct payload *payload);
/* The memory that it takes, beside a raw body that it shares with the JSON it was parsed from. */
size_t payload_memory_size(const struct payload *payload);
void payload_release(struct payload *payload);

#endif
