/* The answer of a target, from the bytes that it sent to the JSON that the requestor gets. */
#include "agent/answer.h"
#include "agent/answer_headers.h"
#include "agent/limits.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "crypto/base64.h"
#include "crypto/envelope.h"

#include <stdlib.h>
#include <string.h>

/* One piece at its worst: each byte as \u00XX, sealed and in base64. */
static const size_t PIECE_MAX_BYTES = 8 * LIMIT_MIB;

enum {
	USUAL_REST_BYTES = 512, /* status and headers of most answers */
	SEAL_BYTES = 128,       /* of an envelope, at most, beside the text that it holds */
};

struct answer_build {
	struct answer *answer;
	struct spool *body;
	struct aead *seal; /* NULL: the answer stays plain */
	struct envelope_writer writer;
	bool is_text;
	struct buf piece; /* of a body that is in a file */
	struct buf rest;  /* what stands behind the body's text */
	struct buf plain;
	struct buf out;
	struct loop *loop;
	struct loop_task next;
	void (*on_done)(void *context);
	void *context;
};

/* What stands behind the body's text: its closing quote and the other members. */
static void write_rest(struct answer_build *build, const struct http_response *response)
{
	struct buf *out = &build->rest;
	(void)buf_reserve(out, USUAL_REST_BYTES); /* else it grows */
	buf_append_str(out, build->is_text ? "\"," : "\",\"bodyEncoding\":\"base64\",");
	buf_printf(out, "\"statusCode\":%d,\"headers\":", response->status);
	answer_write_headers(out, response);
	buf_append_char(out, '}');
}

static void seal(struct answer_build *build, bool is_last)
{
	const struct buf *plain = &build->plain;
	(void)buf_reserve(&build->out, plain->size / 3 * 4 + SEAL_BYTES); /* else it grows */
	envelope_writer_update(&build->writer, plain->data, plain->size, &build->out);
	if (is_last)
		envelope_writer_finish(&build->writer, &build->out);
}

/* What was gathered in plain goes on to the answer. What is sealed in one piece is the answer. */
static int put_plain(struct answer_build *build, bool is_last, struct error *err)
{
	struct buf *from = &build->plain;
	struct spool *json = &build->answer->json;
	int rc = 0;
	if (buf_check(from, "a piece of an answer", err) != 0)
		return ERR_LIMIT;
	if (build->seal != NULL) {
		seal(build, is_last);
		from = &build->out;
	}
	if (buf_check(from, "a piece of an answer", err) != 0)
		return ERR_LIMIT;
	if (is_last && from == &build->out && json->size == 0 && from->size <= SPOOL_MEMORY_BYTES)
		spool_take(json, from);
	else
		rc = spool_append(json, buf_str(from), from->size, err);
	buf_reset(&build->plain);
	buf_reset(&build->out);
	return rc;
}

static void begin(struct answer_build *build)
{
	size_t first =
	    build->body->size < SPOOL_PIECE_BYTES ? build->body->size : SPOOL_PIECE_BYTES;
	(void)buf_reserve(&build->plain, 2 * first + USUAL_REST_BYTES); /* else it grows */
	spool_rewind(build->body);
	spool_reset(&build->answer->json);
	build->answer->json.folder = build->body->folder;
	if (build->seal != NULL)
		envelope_writer_begin(&build->writer, build->seal, &build->out);
	buf_append_str(&build->plain, "{\"body\":\"");
}

/* The next piece of the body; *is_last when there is none behind it. */
static int put_piece(struct answer_build *build, bool *is_last, struct error *err)
{
	const char *bytes;
	size_t count;
	if (spool_next(build->body, &build->piece, &bytes, &count, err) != 0)
		return ERR_SYSTEM;
	*is_last = count < SPOOL_PIECE_BYTES;
	if (build->is_text)
		json_write_escaped(&build->plain, bytes, count);
	else
		(void)base64_encode(&build->plain, bytes, count); /* put_plain looks */
	if (*is_last)
		buf_append(&build->plain, build->rest.data, build->rest.size);
	return put_plain(build, *is_last, err);
}

static void build_free(struct answer_build *build)
{
	if (build->seal != NULL)
		envelope_writer_release(&build->writer);
	buf_wipe(&build->piece);
	buf_wipe(&build->rest);
	buf_wipe(&build->plain);
	buf_release(&build->out);
	loop_cancel(build->loop, &build->next);
	free(build);
}

/* The answer stands, or another one that says why it does not. */
static void end(struct answer_build *build, int rc, const struct error *err)
{
	struct answer *answer = build->answer;
	answer->ended_at_ms = clock_now_ms();
	if (rc == ERR_LIMIT)
		answer_no_response(answer, "RESPONSE_TOO_LARGE", err->message, build->seal);
	else if (rc != 0)
		answer_fail(answer, "AGENT_ERROR", build->seal,
			    "The target answered with HTTP status %d, but its answer was lost: %s",
			    answer->http_status, err->message);
}

/* One piece a turn: an answer of any size holds up nobody for long. */
static void on_next(void *context)
{
	struct answer_build *build = context;
	struct error err;
	bool is_last = false;
	int rc = put_piece(build, &is_last, &err);
	if (rc == 0 && !is_last) {
		loop_next_turn(build->loop, &build->next);
		return;
	}
	end(build, rc, &err);
	build->on_done(build->context);
	build_free(build);
}

struct answer_build *answer_from_target(struct answer *answer, struct loop *loop,
					const struct http_response *response, struct spool *body,
					struct aead *seal, void (*on_done)(void *context),
					void *context)
{
	struct answer_build *build = mem_new(struct answer_build);
	*build = (struct answer_build){.answer = answer,
				       .body = body,
				       .seal = seal,
				       .loop = loop,
				       .next = {.run = on_next, .context = build},
				       .is_text = spool_is_utf8(body),
				       .piece = BUF_INIT(SPOOL_PIECE_BYTES),
				       .rest = BUF_INIT(PIECE_MAX_BYTES),
				       .plain = BUF_INIT(PIECE_MAX_BYTES),
				       .out = BUF_INIT(PIECE_MAX_BYTES),
				       .on_done = on_done,
				       .context = context};
	answer->status = response->status < 400 ? ANSWER_SUCCESS : ANSWER_FAILURE;
	answer->code = NULL;
	answer->http_status = response->status;
	write_rest(build, response);
	struct error err;
	bool is_last = false;
	begin(build);
	int rc = put_piece(build, &is_last, &err);
	if (rc == 0 && !is_last) {
		loop_next_turn(build->loop, &build->next);
		return build;
	}
	end(build, rc, &err);
	build_free(build);
	on_done(context);
	return NULL;
}

void answer_build_cancel(struct answer_build *build)
{
	build_free(build);
}
