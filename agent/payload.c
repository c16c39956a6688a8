#include "agent/payload.h"

#include "agent/limits.h"
#include "agent/payload_headers.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/base64.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const METHODS[] = {"GET",    "POST", "PUT",     "PATCH",
				      "DELETE", "HEAD", "OPTIONS", NULL};

/* A string member without NULs; absent or wrong ones become a problem. */
static const char *require_text(struct json_object *object, const char *key, const char *path,
				struct problems *problems)
{
	struct json_object *value = json_member(object, key);
	if (value == NULL)
		problems_add(problems, "%s%s: missing", path, key);
	else if (!json_object_is_type(value, json_type_string))
		problems_add(problems, "%s%s: must be a string, not %s", path, key,
			     json_type_name(value));
	else if (strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value))
		problems_add(problems, "%s%s: holds a NUL character", path, key);
	else
		return json_object_get_string(value);
	return NULL;
}

static void parse_method(struct json_object *json, struct payload *payload,
			 struct problems *problems)
{
	const char *text = require_text(json, "method", "", problems);
	if (text == NULL)
		return;
	for (const char *const *method = METHODS; *method != NULL; method++) {
		if (str_equal_nocase(text, *method)) {
			payload->method = mem_strdup(*method);
			return;
		}
	}
	problems_add(problems,
		     "method: \"%s\" is not one of GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS",
		     text);
}

static void parse_url(struct json_object *json, struct payload *payload, struct problems *problems)
{
	struct error err;
	const char *text = require_text(json, "url", "", problems);
	if (text != NULL && url_parse(text, &payload->url, &err) != 0)
		problems_add(problems, "url: %s", err.message);
}

/* A number member of at least 0, cut to max; fallback where it is absent. */
static int64_t parse_number(struct json_object *json, const char *key, int64_t fallback,
			    int64_t max, struct problems *problems)
{
	struct json_object *value = json_member(json, key);
	if (value == NULL)
		return fallback;
	if (!json_object_is_type(value, json_type_int) &&
	    !json_object_is_type(value, json_type_double)) {
		problems_add(problems, "%s: must be a number, not %s", key, json_type_name(value));
		return fallback;
	}
	double number = json_object_get_double(value);
	if (isnan(number) || number < 0) {
		problems_add(problems, "%s: must not be negative", key);
		return fallback;
	}
	/* Up, so that half a millisecond does not become "no limit". */
	return number >= (double)max ? max : (int64_t)ceil(number);
}

static bool parse_flag(struct json_object *object, const char *key, const char *path,
		       struct problems *problems)
{
	struct json_object *value = json_member(object, key);
	if (value == NULL)
		return false;
	if (!json_object_is_type(value, json_type_boolean)) {
		problems_add(problems, "%s%s: must be true or false, not %s", path, key,
			     json_type_name(value));
		return false;
	}
	return json_object_get_boolean(value);
}

static void parse_limits(struct json_object *json, const struct payload_limits *limits,
			 struct payload *payload, struct problems *problems)
{
	int64_t timeout_ms = parse_number(json, "timeout", limits->default_timeout_ms,
					  limits->max_timeout_ms, problems);
	if (!limits->is_timeout_honoured)
		timeout_ms = limits->default_timeout_ms;
	payload->timeout_ms = timeout_ms > 0 ? timeout_ms : limits->max_timeout_ms;
	payload->max_redirects = (int)parse_number(json, "max_redirects", limits->default_redirects,
						   LIMIT_REDIRECTS, problems);
	payload->ignore_tls_certificate = parse_flag(json, "ignore_tls_certificate", "", problems);
}

static void default_content_type(struct payload *payload, const char *content_type)
{
	if (http_headers_get(&payload->headers, "Content-Type") == NULL)
		http_headers_add(&payload->headers, "Content-Type", content_type);
}

/* Strings as they are, everything else as JSON. Takes what fits into out. */
static void append_value(struct buf *out, struct json_object *value)
{
	if (json_object_is_type(value, json_type_string))
		buf_append(out, json_object_get_string(value),
			   (size_t)json_object_get_string_len(value));
	else
		json_write(out, value);
}

static void parse_raw(struct json_object *body, struct payload *payload, struct problems *problems)
{
	struct json_object *raw = json_member(body, "raw");
	if (raw == NULL) {
		problems_add(problems, "body.raw: missing");
		return;
	}
	if (!json_object_is_type(raw, json_type_string) &&
	    !json_object_is_type(raw, json_type_object) &&
	    !json_object_is_type(raw, json_type_array)) {
		problems_add(problems, "body.raw: must be a string, object or array, not %s",
			     json_type_name(raw));
		return;
	}
	payload->body_kind = HTTP_BODY_BYTES;
	if (json_object_is_type(raw, json_type_string))
		payload->raw = json_object_get(raw);
	else
		json_write(&payload->body, raw);
	if (http_headers_get(&payload->headers, "Content-Type") != NULL)
		return; /* a look at a large body takes its time */
	size_t size;
	const char *bytes = payload_body(payload, &size);
	bool is_json = json_check(bytes, size, NULL) == 0;
	default_content_type(payload, is_json ? "application/json" : "text/plain; charset=utf-8");
}

/* application/x-www-form-urlencoded percent-encoding by the WHATWG URL standard. */
static void append_urlencoded(struct buf *out, const char *bytes, size_t size)
{
	static const char DIGITS[] = "0123456789ABCDEF";
	if (size > SIZE_MAX / 3 || buf_reserve(out, 3 * size) != 0)
		return; /* whoever has the buffer asks it */
	char *at = out->data + out->size;
	for (size_t i = 0; i < size; i++) {
		unsigned char byte = (unsigned char)bytes[i];
		bool is_plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
				(byte >= 'a' && byte <= 'z') || byte == '*' || byte == '-' ||
				byte == '.' || byte == '_';
		if (is_plain || byte == ' ') {
			*at++ = is_plain ? (char)byte : '+';
			continue;
		}
		*at++ = '%';
		*at++ = DIGITS[byte >> 4];
		*at++ = DIGITS[byte & 15];
	}
	*at = '\0';
	out->size = (size_t)(at - out->data);
}

static void add_urlencoded_row(struct payload *payload, const char *path, struct json_object *row,
			       struct problems *problems)
{
	struct json_object *key = json_member(row, "key");
	struct json_object *value = NULL;
	if (key == NULL || !json_object_is_type(key, json_type_string))
		problems_add(problems, key == NULL ? "%s.key: missing" : "%s.key: must be a string",
			     path);
	else if (!json_object_object_get_ex(row, "value", &value))
		problems_add(problems, "%s.value: missing", path);
	else {
		struct buf text = BUF_INIT(payload->body.max);
		append_value(&text, value);
		if (payload->body.size > 0)
			buf_append_char(&payload->body, '&');
		append_urlencoded(&payload->body, json_object_get_string(key),
				  (size_t)json_object_get_string_len(key));
		buf_append_char(&payload->body, '=');
		append_urlencoded(&payload->body, buf_str(&text), text.size);
		buf_release(&text);
	}
}

/* Keeps a copy of the bytes for as long as the payload lives. */
static const char *keep_text(struct payload *payload, const char *bytes, size_t size)
{
	char *copy = mem_strndup(bytes, size);
	payload->form_texts[payload->form_text_count++] = copy;
	return copy;
}

/* A text that stands in a part's header: what would break out of it is refused. */
static const char *parse_part_text(struct payload *payload, struct json_object *row,
				   const char *key, const char *path, bool is_required,
				   struct problems *problems)
{
	struct json_object *value = json_member(row, key);
	if (value == NULL) {
		if (is_required)
			problems_add(problems, "%s.%s: missing", path, key);
		return NULL;
	}
	if (!json_object_is_type(value, json_type_string)) {
		problems_add(problems, "%s.%s: must be a string, not %s", path, key,
			     json_type_name(value));
		return NULL;
	}
	const char *text = json_object_get_string(value);
	size_t size = (size_t)json_object_get_string_len(value);
	if (!str_is_header_value(text, size)) {
		problems_add(problems, "%s.%s: holds CR, LF or NUL", path, key);
		return NULL;
	}
	return keep_text(payload, text, size);
}

static void parse_part_value(struct payload *payload, struct json_object *row, const char *path,
			     struct http_part *part, struct problems *problems)
{
	struct json_object *value = NULL;
	if (!json_object_object_get_ex(row, "value", &value)) {
		problems_add(problems, "%s.value: missing", path);
		return;
	}
	struct json_object *encoding = json_member(row, "encoding");
	bool is_base64 = encoding != NULL && json_object_is_type(encoding, json_type_string) &&
			 strcmp(json_object_get_string(encoding), "base64") == 0;
	if (encoding != NULL && !is_base64) {
		problems_add(problems, "%s.encoding: must be \"base64\"", path);
		return;
	}
	struct buf text = BUF_INIT(payload->body.max);
	struct error err;
	append_value(&text, value);
	if (is_base64) {
		struct buf bytes = BUF_INIT(payload->body.max);
		if (base64_decode(&bytes, buf_str(&text), text.size, &err) != 0)
			problems_add(problems, "%s.value: %s", path, err.message);
		buf_release(&text);
		text = bytes;
	}
	char *bytes = buf_detach(&text, &part->size);
	payload->form_texts[payload->form_text_count++] = bytes;
	part->value = bytes;
}

static void add_form_row(struct payload *payload, const char *path, struct json_object *row,
			 struct problems *problems)
{
	struct http_part part = {0};
	part.name = parse_part_text(payload, row, "key", path, true, problems);
	part.filename = parse_part_text(payload, row, "filename", path, false, problems);
	part.content_type = parse_part_text(payload, row, "contentType", path, false, problems);
	parse_part_value(payload, row, path, &part, problems);
	payload->parts[payload->part_count++] = part;
}

static void parse_rows(struct json_object *body, const char *mode, struct payload *payload,
		       void (*add_row)(struct payload *payload, const char *path,
				       struct json_object *row, struct problems *problems),
		       struct problems *problems)
{
	struct json_object *rows = json_member(body, mode);
	if (rows == NULL || !json_object_is_type(rows, json_type_array)) {
		problems_add(problems,
			     rows == NULL ? "body.%s: missing" : "body.%s: must be an array", mode);
		return;
	}
	size_t count = json_object_array_length(rows);
	if (count > LIMIT_FORM_PARTS) {
		problems_add(problems, "body.%s: more than %d rows", mode, LIMIT_FORM_PARTS);
		return;
	}
	enum { TEXTS_PER_ROW = 4 }; /* key, filename, contentType, value */
	payload->parts = mem_calloc(count + 1, sizeof payload->parts[0]);
	payload->form_texts = mem_calloc(TEXTS_PER_ROW * count + 1, sizeof payload->form_texts[0]);
	for (size_t i = 0; i < count; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		char *path = mem_printf("body.%s[%zu]", mode, i);
		char *prefix = mem_printf("%s.", path);
		if (!json_object_is_type(row, json_type_object))
			problems_add(problems, "%s: must be an object, not %s", path,
				     json_type_name(row));
		else if (!parse_flag(row, "disabled", prefix, problems))
			add_row(payload, path, row, problems);
		free(prefix);
		free(path);
	}
}

static void parse_body(struct json_object *json, struct payload *payload, struct problems *problems)
{
	struct json_object *body = json_member(json, "body");
	if (body == NULL)
		return;
	if (!json_object_is_type(body, json_type_object)) {
		problems_add(problems, "body: must be an object or null, not %s",
			     json_type_name(body));
		return;
	}
	const char *mode = require_text(body, "mode", "body.", problems);
	if (mode == NULL)
		return;
	if (strcmp(mode, "raw") == 0) {
		parse_raw(body, payload, problems);
	} else if (strcmp(mode, "urlencoded") == 0) {
		payload->body_kind = HTTP_BODY_BYTES;
		parse_rows(body, mode, payload, add_urlencoded_row, problems);
		default_content_type(payload, "application/x-www-form-urlencoded");
	} else if (strcmp(mode, "formdata") == 0) {
		payload->body_kind = HTTP_BODY_FORM;
		/* The type names the boundary between the parts, which is ours. */
		http_headers_remove(&payload->headers, "Content-Type");
		parse_rows(body, mode, payload, add_form_row, problems);
	} else {
		problems_add(problems, "body.mode: \"%s\" is not one of raw, formdata, urlencoded",
			     mode);
	}
}

int payload_parse(struct json_object *json, const struct payload_limits *limits,
		  struct payload *payload, struct problems *problems)
{
	*payload = (struct payload){.body_kind = HTTP_BODY_NONE};
	buf_init(&payload->body, 3 * LIMIT_FETCHED_BODY_BYTES); /* %XX is three bytes for one */
	if (!json_object_is_type(json, json_type_object)) {
		problems_add(problems, "the payload must be an object, not %s",
			     json_type_name(json));
		return ERR_INVALID;
	}
	size_t before = problems->count;
	parse_method(json, payload, problems);
	parse_url(json, payload, problems);
	payload_parse_headers(&payload->headers, json_member(json, "headers"), problems);
	parse_limits(json, limits, payload, problems);
	parse_body(json, payload, problems);
	if (payload->body.failed != 0)
		problems_add(problems, "body: larger than %zu bytes", payload->body.max);
	if (problems->count == before)
		return 0;
	payload_release(payload);
	return ERR_INVALID;
}

const char *payload_body(const struct payload *payload, size_t *size)
{
	if (payload->raw == NULL) {
		*size = payload->body.size;
		return buf_str(&payload->body);
	}
	*size = (size_t)json_object_get_string_len(payload->raw);
	return json_object_get_string(payload->raw);
}

size_t payload_body_size(const struct payload *payload)
{
	size_t size;
	(void)payload_body(payload, &size);
	return size;
}

static size_t url_memory_size(const struct url *url)
{
	return mem_size(url->text) + mem_size(url->scheme) + mem_size(url->host) +
	       mem_size(url->path) + mem_size(url->query) + mem_size(url->user) +
	       mem_size(url->password);
}

static size_t headers_memory_size(const struct http_headers *headers)
{
	size_t size = mem_size(headers->items);
	for (size_t i = 0; i < headers->count; i++)
		size += mem_size(headers->items[i].name);
	return size;
}

size_t payload_memory_size(const struct payload *payload)
{
	size_t size = url_memory_size(&payload->url) + headers_memory_size(&payload->headers) +
		      mem_size(payload->body.data) + mem_size(payload->parts) +
		      mem_size(payload->form_texts);
	for (size_t i = 0; i < payload->form_text_count; i++)
		size += mem_size(payload->form_texts[i]);
	return size;
}

void payload_release(struct payload *payload)
{
	free(payload->method);
	url_release(&payload->url);
	http_headers_release(&payload->headers);
	json_object_put(payload->raw);
	buf_release(&payload->body);
	free(payload->parts);
	for (size_t i = 0; i < payload->form_text_count; i++)
		free(payload->form_texts[i]);
	free(payload->form_texts);
	*payload = (struct payload){.body_kind = HTTP_BODY_NONE};
}
