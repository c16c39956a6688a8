#include "agent/opening.h"

#include "agent/limits.h"
#include "base/json.h"
#include "base/mem.h"
#include "crypto/envelope.h"

#include <stdlib.h>

/* What is done in one turn: half a millisecond each. */
enum {
	OPEN_LETTERS = 512 * 1024, /* of base64 */
	PARSE_BYTES = 256 * 1024,
};

struct opening {
	struct loop *loop;
	struct loop_task next;
	struct json_object *envelope; /* NULL: it is open */
	struct aead *previous_key;    /* NULL: none that is still to be tried */
	struct envelope_reader reader;
	struct buf plain;
	struct json_parser *parser; /* of plain; NULL: that is not whole yet */
	struct opened opened;
	void (*on_done)(void *context, const struct opened *opened);
	void *context;
};

static void opening_free(struct opening *opening)
{
	loop_cancel(opening->loop, &opening->next);
	envelope_reader_release(&opening->reader);
	json_parser_free(opening->parser);
	buf_wipe(&opening->plain);
	json_object_put(opening->envelope);
	json_object_put(opening->opened.payload);
	free(opening);
}

static int try_key(struct opening *opening, struct aead *key)
{
	opening->opened.seal = key;
	envelope_reader_release(&opening->reader);
	return envelope_reader_begin(&opening->reader, key, opening->envelope, &opening->plain,
				     &opening->opened.err);
}

static void begin_parsing(struct opening *opening)
{
	opening->parser = json_parser_new(buf_str(&opening->plain), opening->plain.size, NULL);
	json_parser_limit(opening->parser, LIMIT_PARSED_BYTES);
}

static int open_piece(struct opening *opening)
{
	int rc = envelope_reader_step(&opening->reader, OPEN_LETTERS, &opening->opened.err);
	if (rc == ERR_AUTH && opening->previous_key != NULL) {
		rc = try_key(opening, opening->previous_key);
		opening->previous_key = NULL;
		if (rc == 0)
			return JSON_MORE;
	}
	if (rc < 0)
		opening->opened.seal = NULL;
	if (rc != 0)
		return rc;
	json_object_put(opening->envelope);
	opening->envelope = NULL;
	begin_parsing(opening);
	return JSON_MORE;
}

static int parse_piece(struct opening *opening)
{
	struct opened *opened = &opening->opened;
	int rc = json_parser_step(opening->parser, PARSE_BYTES, &opened->payload, &opened->err);
	if (rc != 0)
		return rc;
	/* What is made of the payload next is as large. */
	json_parser_free(opening->parser);
	opening->parser = NULL;
	buf_wipe(&opening->plain);
	return 0;
}

static void finish(struct opening *opening, int rc)
{
	opening->opened.code = rc;
	opening->on_done(opening->context, &opening->opened);
	opening_free(opening);
}

/* JSON_MORE when another turn is to follow. */
static int do_piece(struct opening *opening)
{
	return opening->parser == NULL ? open_piece(opening) : parse_piece(opening);
}

static void on_next(void *context)
{
	struct opening *opening = context;
	int rc = do_piece(opening);
	if (rc == JSON_MORE)
		loop_next_turn(opening->loop, &opening->next);
	else
		finish(opening, rc);
}

/* What is small is done here and now. */
static struct opening *go(struct opening *opening, size_t size)
{
	int rc = JSON_MORE;
	while (size <= PARSE_BYTES && rc == JSON_MORE)
		rc = do_piece(opening);
	if (rc == JSON_MORE) {
		loop_next_turn(opening->loop, &opening->next);
		return opening;
	}
	finish(opening, rc);
	return NULL;
}

static struct opening *opening_new(struct loop *loop,
				   void (*on_done)(void *context, const struct opened *opened),
				   void *context)
{
	struct opening *opening = mem_new(struct opening);
	opening->loop = loop;
	opening->next = (struct loop_task){.run = on_next, .context = opening};
	opening->plain = BUF_INIT(LIMIT_FETCHED_BODY_BYTES);
	opening->on_done = on_done;
	opening->context = context;
	return opening;
}

struct opening *opening_start(struct loop *loop, struct aead *key, struct aead *previous_key,
			      struct json_object *envelope,
			      void (*on_done)(void *context, const struct opened *opened),
			      void *context)
{
	struct opening *opening = opening_new(loop, on_done, context);
	opening->envelope = json_object_get(envelope);
	opening->previous_key = previous_key;
	int rc = try_key(opening, key);
	if (rc == 0)
		return go(opening, opening->reader.size);
	opening->opened.seal = NULL;
	finish(opening, rc);
	return NULL;
}

struct opening *opening_start_text(struct loop *loop, struct buf *text,
				   void (*on_done)(void *context, const struct opened *opened),
				   void *context)
{
	struct opening *opening = opening_new(loop, on_done, context);
	size_t size = text->size;
	opening->plain = *text;
	*text = BUF_INIT(0);
	begin_parsing(opening);
	return go(opening, size);
}

void opening_cancel(struct opening *opening)
{
	opening_free(opening);
}
