#include "agent/answer.h"

#include "agent/limits.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/envelope.h"

#include <stdlib.h>
#include <string.h>

/* Escaping makes at most six bytes of one, sealing four of three. What does not fit is
 * answered as too large, never cut. */
static const size_t ANSWER_MAX_BYTES = 2048 * LIMIT_MIB;

const char *answer_status_name(enum answer_status status)
{
	static const char *const names[] = {"SUCCESS", "FAILURE", "REJECTED"};
	return names[status];
}

void answer_init(struct answer *answer)
{
	*answer = (struct answer){.status = ANSWER_FAILURE};
	spool_init(&answer->json, SPOOL_KEPT, NULL, ANSWER_MAX_BYTES);
}

void answer_release(struct answer *answer)
{
	spool_release(&answer->json);
}

/* A short answer, as it is or sealed. */
static void set_json(struct answer *answer, struct buf *plain, struct aead *seal)
{
	struct error err;
	struct buf sealed = BUF_INIT(ANSWER_MAX_BYTES);
	answer->ended_at_ms = clock_now_ms();
	if (seal == NULL) {
		spool_take(&answer->json, plain);
		return;
	}
	if (envelope_seal(seal, plain->data, plain->size, &sealed, &err) != 0)
		log_error("cannot seal an answer: %s", err.message);
	spool_take(&answer->json, &sealed);
}

static void set_object(struct answer *answer, struct json_object *object, struct aead *seal)
{
	struct buf plain = BUF_INIT(ANSWER_MAX_BYTES);
	json_write(&plain, object);
	json_object_put(object);
	set_json(answer, &plain, seal);
	buf_wipe(&plain);
}

static struct json_object *explanation(const char *message, const char *code)
{
	struct json_object *object = json_new_object();
	json_set_text(object, "message", message);
	json_set_text(object, "code", code);
	return object;
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
