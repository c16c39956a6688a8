#include "agent/arrivals.h"

#include "agent/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { PIECE_BYTES = 256 * 1024 };

/* A text, and what is large in it. */
struct arrival {
	struct buf text;
	struct json_span *spans;
	size_t count;
	size_t next;
	STAILQ_ENTRY(arrival) link;
};

struct arrivals {
	struct loop *loop;
	const char *folder;
	struct arrivals_events events;
	STAILQ_HEAD(, arrival) list;
	size_t bytes;
	struct loop_task work;
	/* Of the first command of the first arrival: */
	struct json_parser *parser;  /* NULL: not begun, or done */
	struct json_object *command; /* NULL: not parsed yet */
	struct error problem;        /* code 0: none; why only its scalar members are read */
	struct spool kept;           /* its text, as far as it is in a file */
};

/* False: it is parsed, or cannot be. */
static bool parse_piece(struct arrivals *arrivals, const struct json_span *text)
{
	struct error err;
	if (arrivals->parser == NULL) {
		arrivals->parser = json_parser_new(text->text, text->size, NULL);
		json_parser_limit(arrivals->parser, LIMIT_PARSED_BYTES);
	}
	int rc = json_parser_step(arrivals->parser, PIECE_BYTES, &arrivals->command, &err);
	if (rc == JSON_MORE)
		return true;
	json_parser_free(arrivals->parser);
	arrivals->parser = NULL;
	if (rc == ERR_LIMIT) {
		arrivals->problem = err;
		rc = json_skim(text->text, text->size, &arrivals->command, &err);
	}
	if (rc != 0) /* for want of memory, or what is too deep is no object */
		log_error("a command of %zu bytes is left to its source: %s", text->size,
			  err.message);
	return false;
}

/* False: it is in its file. When it cannot be, the journal tries itself. */
static bool keep_piece(struct arrivals *arrivals, const struct json_span *text)
{
	struct error err;
	struct spool *kept = &arrivals->kept;
	if (kept->max_bytes == 0)
		spool_init(kept, SPOOL_KEPT, arrivals->folder, SIZE_MAX / 2);
	size_t left = text->size - kept->size;
	size_t piece = left < PIECE_BYTES ? left : PIECE_BYTES;
	return spool_append(kept, text->text + kept->size, piece, &err) == 0 &&
	       kept->size < text->size;
}

static void forget_command(struct arrivals *arrivals)
{
	json_parser_free(arrivals->parser);
	arrivals->parser = NULL;
	json_object_put(arrivals->command);
	arrivals->command = NULL;
	arrivals->problem.code = 0;
	spool_release(&arrivals->kept);
	arrivals->kept = (struct spool){0};
}

/* False: this command has been handed over. */
static bool do_piece(struct arrivals *arrivals, const struct json_span *text)
{
	if (arrivals->command == NULL && parse_piece(arrivals, text))
		return true;
	if (arrivals->command != NULL && keep_piece(arrivals, text))
		return true;
	if (arrivals->command != NULL)
		arrivals->events.on_command(
		    arrivals->events.context, arrivals->command, text,
		    arrivals->kept.size == text->size ? &arrivals->kept : NULL,
		    arrivals->problem.code != 0 ? arrivals->problem.message : NULL);
	forget_command(arrivals);
	return false;
}

static void remove_first(struct arrivals *arrivals)
{
	struct arrival *arrival = STAILQ_FIRST(&arrivals->list);
	STAILQ_REMOVE_HEAD(&arrivals->list, link);
	arrivals->bytes -= arrival->text.size;
	buf_release(&arrival->text);
	free(arrival->spans);
	free(arrival);
}

/* There is an arrival. */
static void work_on(struct arrivals *arrivals)
{
	struct arrival *arrival = STAILQ_FIRST(&arrivals->list);
	if (do_piece(arrivals, &arrival->spans[arrival->next]))
		return;
	if (++arrival->next < arrival->count)
		return;
	remove_first(arrivals);
	arrivals->events.on_done(arrivals->events.context);
}

static void work(void *context)
{
	struct arrivals *arrivals = context;
	work_on(arrivals);
	if (!STAILQ_EMPTY(&arrivals->list))
		loop_next_turn(arrivals->loop, &arrivals->work);
}

struct arrivals *arrivals_new(struct loop *loop, const char *folder,
			      const struct arrivals_events *events)
{
	struct arrivals *arrivals = mem_new(struct arrivals);
	arrivals->loop = loop;
	arrivals->folder = folder;
	arrivals->events = *events;
	arrivals->work = (struct loop_task){.run = work, .context = arrivals};
	STAILQ_INIT(&arrivals->list);
	return arrivals;
}

void arrivals_add(struct arrivals *arrivals, struct buf *text, const struct json_span *spans,
		  size_t count)
{
	struct arrival *arrival = mem_new(struct arrival);
	arrival->text = *text;
	*text = BUF_INIT(0);
	arrival->spans = mem_realloc_array(NULL, count, sizeof spans[0]);
	memcpy(arrival->spans, spans, count * sizeof spans[0]);
	arrival->count = count;
	STAILQ_INSERT_TAIL(&arrivals->list, arrival, link);
	arrivals->bytes += arrival->text.size;
	loop_next_turn(arrivals->loop, &arrivals->work);
}

size_t arrivals_bytes(const struct arrivals *arrivals)
{
	return arrivals->bytes;
}

void arrivals_hurry(struct arrivals *arrivals)
{
	while (!STAILQ_EMPTY(&arrivals->list))
		work_on(arrivals);
	loop_cancel(arrivals->loop, &arrivals->work);
}

void arrivals_free(struct arrivals *arrivals)
{
	if (arrivals == NULL)
		return;
	forget_command(arrivals);
	while (!STAILQ_EMPTY(&arrivals->list))
		remove_first(arrivals);
	loop_cancel(arrivals->loop, &arrivals->work);
	free(arrivals);
}
