#include "agent/answer.h"

#include "agent/limits.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/base64.h"
#include "crypto/envelope.h"

#include <stdlib.h>
#include <string.h>

/* Two GiB: escaping makes at most six bytes of one, sealing four of three. What does not
 * fit is answered as too large, never cut. */
static const size_t ANSWER_MAX_BYTES = 2048 * LIMIT_MIB;

const char *answer_status_name(enum answer_status status)
{
	static const char *const names[] = {"SUCCESS", "FAILURE", "REJECTED"};
	return names[status];
}

void answer_init(struct answer *answer)
{
	*answer = (struct answer){.status = ANSWER_FAILURE, .json = BUF_INIT(ANSWER_MAX_BYTES)};
}

void answer_release(struct answer *answer)
{
	buf_release(&answer->json);
}

/* Puts plain in as it is, or sealed; a failure leaves answer->json empty. */
static int set_json(struct answer *answer, struct buf *plain, struct aead *seal, struct error *err)
{
	answer->ended_at_ms = clock_now_ms();
	buf_reset(&answer->json);
	if (buf_check(plain, "answer", err) != 0)
		return err->code;
	if (seal != NULL)
		return envelope_seal(seal, plain->data, plain->size, &answer->json, err);
	buf_release(&answer->json);
	answer->json = *plain;
	*plain = BUF_INIT(ANSWER_MAX_BYTES);
	return 0;
}

static void set_object(struct answer *answer, struct json_object *object, struct aead *seal)
{
	struct error err;
	struct buf plain = BUF_INIT(ANSWER_MAX_BYTES);
	json_write(&plain, object);
	json_object_put(object);
	if (set_json(answer, &plain, seal, &err) != 0)
		log_error("cannot build an answer: %s", err.message);
	buf_wipe(&plain);
}

static struct json_object *explanation(const char *message, const char *code)
{
	struct json_object *object = json_new_object();
	json_set_text(object, "message", message);
	json_set_text(object, "code", code);
	return object;
}

/* Header values are bytes; those that are no UTF-8 are Latin-1, as browsers read them. */
static struct json_object *header_text(const char *value)
{
	size_t size = strlen(value);
	/* libcurl leaves the line's end on a header without a value. */
	while (size > 0 && strchr(" \t\r\n", value[size - 1]) != NULL)
		size--;
	if (str_is_utf8(value, size))
		return json_new_string(value, size);
	struct buf text = BUF_INIT(2 * size + 1);
	for (size_t i = 0; i < size; i++) {
		unsigned char byte = (unsigned char)value[i];
		if (byte < 0x80) {
			buf_append_char(&text, (char)byte);
		} else {
			buf_append_char(&text, (char)(0xC0 | byte >> 6));
			buf_append_char(&text, (char)(0x80 | (byte & 0x3F)));
		}
	}
	struct json_object *string = json_new_string(buf_str(&text), text.size);
	buf_release(&text);
	return string;
}

/* A value that came before is joined with the new one; set-cookie never is, because its
 * values hold commas. */
static struct json_object *joined(struct json_object *before, struct json_object *value)
{
	const char *first = json_object_get_string(before);
	const char *second = json_object_get_string(value);
	char *text = mem_printf("%s, %s", first, second);
	struct json_object *both = json_new_string(text, strlen(text));
	free(text);
	json_object_put(value);
	return both;
}

static void add_header(struct json_object *by_name, const char *name, const char *raw_value)
{
	struct json_object *value = header_text(raw_value);
	struct json_object *before = json_member(by_name, name);
	if (strcmp(name, "set-cookie") == 0) {
		if (before == NULL) {
			before = json_new_array();
			json_set(by_name, name, before);
		}
		json_append(before, value);
	} else {
		json_set(by_name, name, before == NULL ? value : joined(before, value));
	}
}

/* [{"name": value}, …] in order of arrival. */
static struct json_object *headers_json(const struct http_response *response)
{
	struct json_object *by_name = json_new_object(); /* json-c keeps the order */
	void *position = NULL;
	const char *name;
	const char *value;
	while (http_next_header(response, &position, &name, &value)) {
		char *lower = mem_strdup(name);
		str_lower(lower);
		bool is_stale = response->is_decoded && (strcmp(lower, "content-encoding") == 0 ||
							 strcmp(lower, "content-length") == 0);
		struct json_object *text = header_text(lower);
		if (!is_stale)
			add_header(by_name, json_object_get_string(text), value);
		json_object_put(text);
		free(lower);
	}
	struct json_object *list = json_new_array();
	json_object_object_foreach(by_name, key, member)
	{
		struct json_object *item = json_new_object();
		json_set(item, key, json_object_get(member));
		json_append(list, item);
	}
	json_object_put(by_name);
	return list;
}

void answer_from_target(struct answer *answer, struct http_response *response, struct aead *seal)
{
	struct buf plain = BUF_INIT(ANSWER_MAX_BYTES);
	struct buf *body = response->body;
	bool is_text = str_is_utf8(body->data, body->size);
	buf_append_str(&plain, "{\"body\":\"");
	if (is_text)
		json_write_escaped(&plain, buf_str(body), body->size);
	else
		base64_encode(&plain, body->data, body->size);
	buf_append_str(&plain, "\",");
	buf_release(body);

	struct json_object *rest = json_new_object();
	if (!is_text)
		json_set_text(rest, "bodyEncoding", "base64");
	json_set_int64(rest, "statusCode", response->status);
	json_set(rest, "headers", headers_json(response));
	struct buf rest_text = BUF_INIT(ANSWER_MAX_BYTES);
	json_write(&rest_text, rest);
	json_object_put(rest);
	/* One object of the two: without the opening brace of the second. */
	buf_append(&plain, buf_str(&rest_text) + 1, rest_text.size - 1);
	buf_release(&rest_text);

	answer->status = response->status < 400 ? ANSWER_SUCCESS : ANSWER_FAILURE;
	answer->http_status = response->status;
	struct error err;
	if (set_json(answer, &plain, seal, &err) != 0)
		answer_no_response(answer, "RESPONSE_TOO_LARGE", err.message, seal);
	buf_wipe(&plain);
}

void answer_fail(struct answer *answer, const char *code, struct aead *seal, const char *format,
		 ...)
{
	struct buf message = BUF_INIT(64 * 1024);
	buf_append_str(&message, "An error occurred while handling the command: ");
	va_list args;
	va_start(args, format);
	buf_vprintf(&message, format, args);
	va_end(args);

	struct json_object *inner = explanation(buf_str(&message), code);
	struct buf text = BUF_INIT(ANSWER_MAX_BYTES);
	json_write(&text, inner);
	struct json_object *outer = json_new_object();
	json_set_text(outer, "body", buf_str(&text));
	answer->status = ANSWER_FAILURE;
	answer->code = code;
	answer->http_status = 0;
	set_object(answer, outer, seal);
	json_object_put(inner);
	buf_release(&text);
	buf_release(&message);
}

void answer_no_response(struct answer *answer, const char *code, const char *detail,
			struct aead *seal)
{
	answer_fail(
	    answer, code, seal,
	    "Error making request: The request was made by the HTTP Relay but no response was "
	    "received. Additional info: %s",
	    detail);
}

void answer_reject(struct answer *answer, const char *code, struct aead *seal, const char *message)
{
	answer->status = ANSWER_REJECTED;
	answer->code = code;
	answer->http_status = 0;
	set_object(answer, explanation(message, code), seal);
}
